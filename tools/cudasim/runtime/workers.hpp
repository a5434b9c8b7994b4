// Host threads that help with a grid.
#pragma once
#include <cstddef>
#include <functional>

namespace cudasim {

// Runs `work` on the calling thread and on up to `count` - 1 workers at once; returns when all of them are done.
// Workers that are busy with other grids do not delay it: work must be such that one thread can do all of it.
void run_on_workers(unsigned count, const std::function<void()>& work);

size_t engines_made();

}  // namespace cudasim
