// cp.async: copies that are visible only behind a wait. The settings decide the time at which they take effect; with
// `lazy` it is the wait, so that a kernel without one reads poison.
#include "../include/cudasim_ptx.hpp"
#include "engine.hpp"
#include <cstring>

namespace cudasim {

static void land(AsyncCopy& copy) {
    if (copy.landed) return;
    unsigned char* destination = engine->window + copy.destination;
    if (copy.source_bytes) memcpy(destination, copy.source, copy.source_bytes);
    memset(destination + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
    copy.landed = true;
}

void cp_async(uint32_t destination, const void* source, uint32_t bytes, uint32_t source_bytes, Site at) {
    Thread* me = current();
    const bool misplaced = destination % bytes || (source_bytes && (uintptr_t)source % bytes);
    if (misplaced) report(at, "cp.async: source %p or shared %u is not aligned to %u", source, destination, bytes);
    if (source_bytes > bytes) report(at, "cp.async: src-size %u is more than cp-size %u", source_bytes, bytes);
    if (misplaced || source_bytes > bytes || outside_shared(destination, bytes, "cp.async", at)) abandon_block();
    if (engine->count) {
        const uint64_t from = source_bytes ? global_memory.offset_of(source) : 0;
        engine->counter.note(me->linear, Counted::AsyncCopy, at, from, source_bytes);
        engine->counter.note(me->linear, Counted::SharedCopy, at, destination, bytes);
    }
    if (engine->check) {
        if (source_bytes) engine->global.access(me, source, source_bytes, Access::Read, at);
        engine->shared.begin_copy(me, destination, bytes, Writer::CpAsync, at);
    }
    me->copies.push_back({destination, source, (uint8_t)bytes, (uint8_t)source_bytes, me->copy_group, false, at});
    const Asynchrony asynchrony = engine->launch->settings.asynchrony;
    if (asynchrony == Asynchrony::Eager || (asynchrony == Asynchrony::Random && engine->random.below(2)))
        land(me->copies.back());
}

void cp_async_commit() { current()->copy_group++; }

void cp_async_wait(unsigned pending_groups, Site at) {
    Thread* me = current();
    if (engine->count) {
        uint64_t in_flight = 0;
        for (const AsyncCopy& copy : me->copies) in_flight += copy.source_bytes;
        engine->counter.add(Counted::Wait, at, 1, 0, in_flight);
    }
    size_t done = 0;
    for (; done < me->copies.size() && me->copies[done].group + pending_groups < me->copy_group; done++) {
        AsyncCopy& copy = me->copies[done];
        land(copy);
        if (engine->check)
            engine->shared.land_copy(copy.destination, copy.bytes, Writer::CpAsync, me->linear, me->clock);
    }
    me->copies.erase(me->copies.begin(), me->copies.begin() + done);
}

void finish_copies_at_exit(Thread* me) {
    if (!me->copies.empty()) {
        report(me->copies[0].at, "the thread exits without having waited for its cp.async");
        for (AsyncCopy& copy : me->copies) land(copy);
        me->copies.clear();
    }
    if (!me->bulk_stores.empty()) {
        report(me->bulk_stores[0].at, "the thread exits without having waited for its bulk store");
        me->bulk_stores.clear();
    }
}

}  // namespace cudasim
