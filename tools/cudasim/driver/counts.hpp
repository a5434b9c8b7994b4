// Counts that tests ask for: how many objects of each kind there are, so that nothing leaks, and what kernels take.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cudasim {

size_t event_count();
size_t graph_count();
size_t graph_exec_count();  // graphs that can be launched
size_t module_count();
size_t pinned_count();  // allocations of pinned host memory
int64_t parameter_bytes(const char* kernel);  // of its one parameter; -1 when it has not one, or is not known

}  // namespace cudasim
