// __syncthreads and named barriers.
#include "engine.hpp"

namespace cudasim {

static void release(uint32_t id) {
    Barrier& barrier = engine->barriers[id];
    const auto waits_here = [id](Thread* t) { return t->state == State::AtBarrier && t->waits_for == id; };
    if (engine->count && id == 0 && barrier.expected == engine->live) engine->counter.block_met();
    if (engine->check) {
        if (id == 0 && barrier.expected == engine->live) {
            engine->generation++;
            engine->global.meet();
        } else {
            for (uint32_t i = 0; i < engine->thread_count; i++)
                if (waits_here(&engine->threads[i])) acquire(&engine->threads[i], barrier.clock);
        }
        barrier.clock.clear();
    }
    barrier.arrived = 0;
    barrier.divergence_reported = false;
    barrier.result = barrier.accumulated;
    make_ready_if(0, engine->thread_count, waits_here);
}

void barrier(unsigned id, unsigned threads, bool arrive_only, Site at) {
    Thread* me = current();
    if (id > 15) {
        report(at, "there is no barrier %u: they are numbered 0 to 15", id);
        abandon_block();
    }
    Barrier& barrier = engine->barriers[id];
    const uint32_t expected = threads ? threads : engine->live;
    if (threads % 32) report(at, "bar.sync: thread count %u is not a multiple of 32", threads);
    if (barrier.arrived == 0) {
        barrier.expected = expected;
        barrier.at = at;
    } else if (threads && barrier.expected != expected) {
        report(at, "barrier %u: thread count %u differs from the %u of others", id, threads, barrier.expected);
    } else if (!threads && (barrier.at.file != at.file || barrier.at.line != at.line) && !barrier.divergence_reported) {
        barrier.divergence_reported = true;
        report(at, "divergent __syncthreads: others of the block wait at line %d", barrier.at.line);
    }
    barrier.arrived++;
    if (engine->count && barrier.arrived == 1) engine->counter.add(Counted::Barrier, at, expected);
    if (engine->check && (id || threads)) publish(me, barrier.clock);
    if (arrive_only) {
        if (barrier.arrived == barrier.expected) release(id);
        return;
    }
    me->state = State::AtBarrier;
    me->waits_for = id;
    me->waits_at = at;
    if (!threads) barrier.expected = engine->live;
    if (barrier.arrived >= barrier.expected) release(id);
    wait_for_others(me);
}

int barrier_reduce(Reduction reduction, int predicate, Site at) {
    Barrier& zero = engine->barriers[0];
    if (zero.arrived == 0) zero.accumulated = reduction == Reduction::And;
    if (reduction == Reduction::Or) zero.accumulated |= predicate != 0;
    else if (reduction == Reduction::And) zero.accumulated &= predicate != 0;
    else zero.accumulated += predicate != 0;
    barrier(0, 0, false, at);
    return zero.result;
}

// __syncthreads counts the threads that are left.
void leave_barriers(Thread*) {
    Barrier& zero = engine->barriers[0];
    if (!engine->live || !zero.arrived || zero.arrived < engine->live || zero.expected <= engine->live) return;
    zero.expected = engine->live;
    release(0);
}

}  // namespace cudasim
