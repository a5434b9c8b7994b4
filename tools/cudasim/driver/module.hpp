// Kernels that have been linked in, as the rest of the driver sees them.
#pragma once
#include "stream.hpp"

namespace cudasim {

size_t module_count();

}  // namespace cudasim
