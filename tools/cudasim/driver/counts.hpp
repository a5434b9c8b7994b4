// How many objects of each kind there are, for tests that nothing leaks.
#pragma once
#include <cstddef>

namespace cudasim {

size_t event_count();
size_t graph_count();
size_t graph_exec_count();  // graphs that can be launched
size_t module_count();
size_t pinned_count();  // allocations of pinned host memory

}  // namespace cudasim
