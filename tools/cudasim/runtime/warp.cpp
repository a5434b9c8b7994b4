// Warp collectives: __syncwarp, shuffles, votes, reductions.
#include "collective.hpp"

namespace cudasim {

const char* const collective_names[] = {"__syncwarp", "a shuffle", "a vote", "a reduction", "ldmatrix", "mma", "wgmma",
                                        "wgmma.fence", "wgmma.commit_group", "wgmma.wait_group"};

static const char* name_of(Collective operation) { return collective_names[(int)operation]; }

Gathering& join_gathering(Collective operation, uint32_t mask, int variant, Site at) {
    Thread* me = current();
    Warp& warp = engine->warps[me->warp];
    if (!(mask >> me->lane & 1)) {
        report(at, "%s: the thread is not in its own mask %08x", name_of(operation), mask);
        abandon_block();
    }
    Gathering *found = nullptr, *free = nullptr;
    for (Gathering& gathering : warp.gatherings) {
        if (gathering.active && (gathering.mask & mask)) found = &gathering;
        if (!gathering.active && !free) free = &gathering;
    }
    if (!found && !free) {
        report(at, "%s: more than four groups of lanes of one warp wait in collectives", name_of(operation));
        abandon_block();
    }
    if (!found) {
        found = free;
        *found = {true, operation, mask, 0, variant, at};
    } else if (found->operation != operation || found->mask != mask || found->variant != variant) {
        report(at, "diverged warp: this thread executes %s (mask %08x), lanes %08x execute %s (mask %08x) at line %d",
               name_of(operation), mask, found->arrived, name_of(found->operation), found->mask, found->at.line);
        abandon_block();
    }
    if (operation >= Collective::LoadMatrix && (mask & warp.live) != ALL_LANES) {
        report(at, "%s with exited or missing lanes (live lanes %08x)", name_of(operation), warp.live);
        abandon_block();
    }
    found->arrived |= 1u << me->lane;
    return *found;
}

// Lanes that have exited need not take part, except where all 32 must: the last one missing may have been this one.
void leave_collectives(Thread* me) {
    const Warp& warp = engine->warps[me->warp];
    for (const Gathering& gathering : warp.gatherings) {
        if (!gathering.active || !(gathering.mask >> me->lane & 1)) continue;
        if (gathering.operation >= Collective::LoadMatrix) {
            report(gathering.at, "lane %u exited while lanes %08x of its warp wait in %s", me->lane, gathering.arrived,
                   name_of(gathering.operation));
            abandon_block();
        }
        if (gathering.arrived != (gathering.mask & warp.live)) continue;
        Thread* finisher = lane_thread(__builtin_ctz(gathering.arrived));
        finisher->finishes_collective = true;
        make_ready(finisher);
    }
}

static void order_lanes(uint32_t lanes) {
    VectorClock clock;
    for_each_lane(lanes, [&](int lane) { publish(lane_thread(lane), clock); });
    for_each_lane(lanes, [&](int lane) { acquire(lane_thread(lane), clock); });
}

void warp_barrier(unsigned mask, Site at) {
    collective(Collective::WarpBarrier, mask, 0, nullptr, at, [](Warp&, uint32_t lanes) {
        if (engine->check) order_lanes(lanes);
    });
}

struct LaneValue {
    uint64_t value, result;
    int operand;
};
static LaneValue& lane_value(Warp& warp, int lane) { return *(LaneValue*)warp.arguments[lane]; }

static int source_lane(Shuffle mode, int lane, int operand, int width) {
    const int first = lane & ~(width - 1), last = first + width - 1;
    switch (mode) {
        case Shuffle::Index: return first + (operand & (width - 1));
        case Shuffle::Up: return lane - operand < first ? lane : lane - operand;
        case Shuffle::Down: return lane + operand > last ? lane : lane + operand;
        case Shuffle::Xor: return (lane ^ operand) > last ? lane : lane ^ operand;
    }
    return lane;
}

uint64_t shuffle(unsigned mask, uint64_t value, Shuffle mode, int operand, int width, Site at) {
    LaneValue mine{value, value, operand};
    collective(Collective::Shuffle, mask, (int)mode * 64 + width, &mine, at, [=](Warp& warp, uint32_t lanes) {
        for_each_lane(lanes, [&](int lane) {
            LaneValue& own = lane_value(warp, lane);
            const int source = source_lane(mode, lane, own.operand, width);
            if (lanes >> source & 1) {
                own.result = lane_value(warp, source).value;
            } else {
                report(at, "shuffle: lane %d reads lane %d, which does not take part", lane, source);
                own.result = 0x7fc0dead7fc0deadull;
            }
        });
    });
    return mine.result;
}

uint32_t vote(unsigned mask, Vote mode, int predicate, Site at) {
    LaneValue mine{predicate != 0, 0, 0};
    collective(Collective::Vote, mask, (int)mode, &mine, at, [=](Warp& warp, uint32_t lanes) {
        uint32_t ballot = 0;
        for_each_lane(lanes, [&](int lane) { ballot |= (uint32_t)lane_value(warp, lane).value << lane; });
        const uint32_t result = mode == Vote::Ballot ? ballot : mode == Vote::Any ? ballot != 0 : ballot == lanes;
        for_each_lane(lanes, [&](int lane) { lane_value(warp, lane).result = result; });
    });
    return (uint32_t)mine.result;
}

uint32_t warp_reduce(unsigned mask, Redux operation, uint32_t value, Site at) {
    LaneValue mine{value, 0, 0};
    collective(Collective::Reduce, mask, (int)operation, &mine, at, [=](Warp& warp, uint32_t lanes) {
        uint32_t result = operation == Redux::Min ? ~0u : 0;
        for_each_lane(lanes, [&](int lane) {
            const uint32_t v = (uint32_t)lane_value(warp, lane).value;
            if (operation == Redux::Add) result += v;
            else result = operation == Redux::Max ? std::max(result, v) : std::min(result, v);
        });
        for_each_lane(lanes, [&](int lane) { lane_value(warp, lane).result = result; });
    });
    return (uint32_t)mine.result;
}

unsigned active_mask() { return engine->warps[current()->warp].live; }

}  // namespace cudasim
