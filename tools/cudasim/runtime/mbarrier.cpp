#include "mbarrier.hpp"
#include "../include/cudasim_ptx.hpp"
#include <cstring>

namespace cudasim {

constexpr uint64_t MARKER = 1ull << 63;
constexpr int64_t BYTES_BIAS = 1 << 21, MOST_BYTES = (1 << 20) - 1;

static void store(uint32_t address, const MbarrierWord& word) {
    const uint64_t bits = (uint64_t)word.phase | (uint64_t)word.pending << 1 | (uint64_t)word.expected << 21 |
                          (uint64_t)(word.bytes + BYTES_BIAS) << 41 | MARKER;
    memcpy(engine->window + address, &bits, 8);
}

MbarrierWord load_mbarrier(uint32_t address, const char* what, Site at) {
    if (address % 8) report(at, "%s: mbarrier address %u is not 8-byte aligned", what, address);
    if (address % 8 || outside_shared(address, 8, what, at)) abandon_block();
    uint64_t bits;
    memcpy(&bits, engine->window + address, 8);
    if (!(bits & MARKER) || !engine->mbarriers.count(address)) {
        report(at, "%s: there is no initialised mbarrier at shared address %u", what, address);
        abandon_block();
    }
    return {(uint32_t)(bits & 1), (uint32_t)(bits >> 1 & 0xfffff), (uint32_t)(bits >> 21 & 0xfffff),
            (int64_t)(bits >> 41 & 0x3fffff) - BYTES_BIAS};
}

void update_mbarrier(uint32_t address, MbarrierWord word) {
    if (word.pending == 0 && word.bytes == 0) {
        word.phase ^= 1;
        word.pending = word.expected;
        Mbarrier& barrier = engine->mbarriers[address];
        if (engine->check) join(barrier.completed, barrier.arriving);
        make_ready_if(0, engine->thread_count,
                      [address](Thread* t) { return t->state == State::AtMbarrier && t->waits_for == address; });
    }
    store(address, word);
}

void mbarrier_init(uint32_t address, uint32_t arrivals, Site at) {
    if (address % 8) report(at, "mbarrier.init: address %u is not 8-byte aligned", address);
    if (address % 8 || outside_shared(address, 8, "mbarrier.init", at)) abandon_block();
    if (!arrivals || arrivals >= 1 << 20) report(at, "mbarrier.init: count %u is out of range", arrivals);
    if (engine->mbarriers.count(address)) report(at, "mbarrier.init of an mbarrier that is in use");
    engine->mbarriers[address] = Mbarrier{false, current()->linear, {}, {}};
    if (engine->check) {
        engine->shared.write(current(), address, 8, at);
        engine->shared.keep_all_readers();
    }
    store(address, {0, arrivals, arrivals, 0});
}

void fence_mbarrier_init() {
    for (auto& [address, barrier] : engine->mbarriers)
        if (barrier.initialised_by == current()->linear) barrier.fenced = true;
}

void fence_proxy_async() {
    current()->proxy_fence = current()->clock++;
    current()->segment = 0;
    fence_mbarrier_init();
}

// An mbarrier may be used once its initialisation happened before.
static void check_initialised(uint32_t address, Site at) {
    if (engine->check) engine->shared.read(current(), address, 8, false, at);
}

static MbarrierWord expect(uint32_t address, uint32_t bytes, const char* what, Site at) {
    MbarrierWord word = load_mbarrier(address, what, at);
    check_initialised(address, at);
    word.bytes += bytes;
    if (word.bytes > MOST_BYTES) report(at, "%s: the transaction count %ld is too large", what, (long)word.bytes);
    return word;
}

void mbarrier_expect_bytes(uint32_t address, uint32_t bytes, Site at) {
    store(address, expect(address, bytes, "mbarrier.expect_tx", at));
}

void mbarrier_arrive(uint32_t address, uint32_t expected_bytes, Site at) {
    MbarrierWord word = expect(address, expected_bytes, "mbarrier.arrive", at);
    if (word.pending == 0) {
        report(at, "mbarrier.arrive: more arrivals than the count of %u", word.expected);
        abandon_block();
    }
    word.pending--;
    if (engine->check) publish(current(), engine->mbarriers[address].arriving);
    update_mbarrier(address, word);
}

// Loads are those of the whole block, so each of its threads counts its share.
static void count_wait(uint32_t address, uint32_t parity, Site at) {
    if (load_mbarrier(address, "mbarrier.try_wait", at).phase != parity) return;
    uint64_t in_flight = 0;
    for (const TmaLoad& load : engine->tma_loads) in_flight += load.bytes;
    engine->counter.add(Counted::Wait, at, 1, 0, in_flight / engine->thread_count);
}

void mbarrier_wait(uint32_t address, uint32_t parity, Site at) {
    Thread* me = current();
    if (parity > 1) report(at, "mbarrier wait: parity %u is neither 0 nor 1", parity);
    const char* what = "mbarrier.try_wait";
    if (engine->launch->settings.schedule == Schedule::Random && engine->random.below(8) == 0) yield_thread();
    load_mbarrier(address, what, at);
    check_initialised(address, at);
    if (engine->count) count_wait(address, parity, at);
    while (load_mbarrier(address, what, at).phase == parity) {
        me->state = State::AtMbarrier;
        me->waits_for = address;
        me->waits_at = at;
        wait_for_others(me);
    }
    if (engine->check) acquire(me, engine->mbarriers[address].completed);
}

// The instruction may block, so it does, except now and then: a deadlock is found, and a loop around it is needed.
bool mbarrier_try_wait(uint32_t address, uint32_t parity, Site at) {
    if (engine->launch->settings.schedule == Schedule::Random && engine->random.below(4) == 0 &&
        load_mbarrier(address, "mbarrier.try_wait", at).phase == parity) {
        yield_thread();
        return false;
    }
    mbarrier_wait(address, parity, at);
    return true;
}

}  // namespace cudasim
