// Warp collectives: lanes gather, and the last one to arrive executes for all of them.
#pragma once
#include "engine.hpp"

namespace cudasim {

extern const char* const collective_names[];

// The gathering this lane belongs to, with the lane counted as arrived; complains and gives up on divergence.
Gathering& join_gathering(Collective operation, uint32_t mask, int variant, Site at);

// Runs execute(warp, lanes) once for the lanes of `mask`; `argument` is this lane's own, for execute to find in
// warp.arguments. `variant` must be the same in all lanes.
template <class Execute>
inline void collective(Collective operation, uint32_t mask, int variant, void* argument, Site at, Execute execute) {
    Thread* me = current();
    Warp& warp = engine->warps[me->warp];
    Gathering& gathering = join_gathering(operation, mask, variant, at);
    warp.arguments[me->lane] = argument;
    if (gathering.arrived != (mask & warp.live)) {
        me->state = State::InCollective;
        me->waits_at = at;
        wait_for_others(me);
        if (!me->finishes_collective) return;
        me->finishes_collective = false;
    }
    const uint32_t lanes = gathering.arrived;
    gathering.active = false;
    execute(warp, lanes);
    const uint32_t others = lanes & ~(1u << me->lane);
    if (!others) return;
    make_ready_if(me->warp * 32, std::min(32u, engine->thread_count - me->warp * 32),
                  [others](Thread* thread) { return (others >> thread->lane & 1) != 0; });
    if (engine->launch->settings.schedule == Schedule::Forward) return;  // the last lane may go on at once
    make_ready(me);
    wait_for_others(me);
}

template <class Visit> inline void for_each_lane(uint32_t lanes, Visit visit) {
    for (; lanes; lanes &= lanes - 1) visit(__builtin_ctz(lanes));
}

inline Thread* lane_thread(int lane) { return &engine->threads[current()->warp * 32 + lane]; }

}  // namespace cudasim
