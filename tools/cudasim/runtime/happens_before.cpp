#include "happens_before.hpp"
#include "engine.hpp"

namespace cudasim {

static uint32_t* row_of(const Thread* thread) {
    return &engine->vector_clocks[(size_t)thread->linear * (engine->thread_count + 1)];
}

void publish(Thread* thread, VectorClock& clock) {
    engine->shared.keep_all_readers();
    const size_t size = engine->thread_count + 1;
    if (clock.empty()) clock.assign(size, 0);
    if (thread->has_vector_clock) {
        const uint32_t* row = row_of(thread);
        for (size_t i = 0; i < size; i++) clock[i] = std::max(clock[i], row[i]);
    }
    clock[thread->linear] = std::max(clock[thread->linear], thread->clock);
    thread->clock++;
    thread->segment = 0;
}

void acquire(Thread* thread, const VectorClock& clock) {
    if (clock.empty()) return;
    const size_t size = engine->thread_count + 1;
    if (engine->vector_clocks.size() < size * engine->thread_count)
        engine->vector_clocks.resize(size * engine->thread_count);
    uint32_t* row = row_of(thread);
    if (!thread->has_vector_clock) std::fill(row, row + size, 0);
    thread->has_vector_clock = true;
    for (size_t i = 0; i < size; i++) row[i] = std::max(row[i], clock[i]);
}

bool happened_before(const Engine& engine, Moment moment, const Thread* thread) {
    if (moment.generation < engine.generation || moment.thread == thread->linear) return true;
    return thread->has_vector_clock && row_of(thread)[moment.thread] >= moment.clock;
}

}  // namespace cudasim
