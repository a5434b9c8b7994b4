// Compiled once for each flavour; everything else of the runtime is the same in both.
#include "launch.hpp"

#ifndef CUDASIM_INSTRUMENTED
#error "define CUDASIM_INSTRUMENTED as 0 or 1"
#endif

const bool cudasim::instrumented = CUDASIM_INSTRUMENTED;
