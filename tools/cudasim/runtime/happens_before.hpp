// The happens-before relation of moments in a block. Two are ordered when both belong to one thread, when the whole
// block met at a barrier in between (the generation), or through vector clocks, which only those threads carry that
// used mbarriers, named barriers or __syncwarp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace cudasim {

struct Engine;
struct Thread;
typedef std::vector<uint32_t> VectorClock;  // empty, or one entry per thread and one for asynchronous copies

struct Moment {
    uint32_t thread, clock, generation;
};

inline void join(VectorClock& into, const VectorClock& other) {
    if (other.empty()) return;
    if (into.empty()) into.assign(other.size(), 0);
    for (size_t i = 0; i < into.size(); i++) into[i] = std::max(into[i], other[i]);
}

// Everything that `thread` has done so far happens before a later acquire of `clock`.
void publish(Thread* thread, VectorClock& clock);
void acquire(Thread* thread, const VectorClock& clock);
bool happened_before(const Engine& engine, Moment moment, const Thread* thread);

}  // namespace cudasim
