// Fibers and the scheduler. A thread runs until it waits; then the next one that is ready runs. A thread that exits
// hands its stack to the next one that has not begun, so a kernel without barriers is a loop without any switch.
#include "engine.hpp"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <sys/mman.h>

namespace cudasim {

__thread Executing executing;
__thread Engine* engine;

constexpr size_t GUARD_BYTES = 4096;

// Saves the registers that a function must keep, and returns into another stack.
extern "C" void cudasim_switch_stack(void** save, void* to);
asm(R"(
.text
.globl cudasim_switch_stack
.hidden cudasim_switch_stack
.type cudasim_switch_stack,@function
cudasim_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cudasim_switch_stack,.-cudasim_switch_stack
)");

static void* map_memory(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED) return memory;
    perror("cudasim: cannot map memory for an engine");
    abort();
}

Engine::Engine() {
    stacks = (char*)map_memory(MOST_THREADS * STACK_BYTES);
    window_mapping = (char*)map_memory(2 * WINDOW_BYTES);
    window = (unsigned char*)(((uintptr_t)window_mapping + WINDOW_BYTES - 1) / WINDOW_BYTES * WINDOW_BYTES);
}

Engine::~Engine() {
    munmap(stacks, MOST_THREADS * STACK_BYTES);
    munmap(window_mapping, 2 * WINDOW_BYTES);
}

// ---- the queue of threads that can run

void make_ready(Thread* thread) {
    thread->state = State::Ready;
    engine->ready[engine->ready_tail++ % (2 * MOST_THREADS)] = (uint16_t)thread->linear;
}

static Thread* next_ready() {
    Engine& e = *engine;
    uint16_t& head = e.ready[e.ready_head % (2 * MOST_THREADS)];
    if (e.launch->settings.schedule == Schedule::Random) {
        uint32_t count = e.ready_tail - e.ready_head;
        std::swap(head, e.ready[(e.ready_head + e.random.below(count)) % (2 * MOST_THREADS)]);
    }
    e.ready_head++;
    return &e.threads[head];
}

static void report_deadlock() {
    static const char* const doing[] = {"ready", "a barrier", "a warp collective", "an mbarrier", "exited"};
    std::map<std::string, int> waiting;
    const Thread* first = nullptr;
    for (uint32_t i = 0; i < engine->thread_count; i++) {
        const Thread& thread = engine->threads[i];
        if (thread.state == State::Exited) continue;
        if (!first) first = &thread;
        waiting[std::string(doing[(int)thread.state]) + " at line " + std::to_string(thread.waits_at.line)]++;
    }
    std::string summary;
    for (const auto& [site, count] : waiting)
        summary += (summary.empty() ? "" : ", ") + std::to_string(count) + " threads wait in " + site;
    executing.thread = const_cast<Thread*>(first);
    report(first->waits_at, "DEADLOCK: %s", summary.c_str());
}

// Called when no thread is ready: asynchronous work has to make progress, or the block is deadlocked.
static void wake_somebody() {
    Engine& e = *engine;
    const bool in_order = e.launch->settings.schedule == Schedule::Forward;
    while (e.ready_head == e.ready_tail && !e.tma_loads.empty())
        complete_tma_load(in_order ? 0 : e.random.below(e.tma_loads.size()));
    if (e.ready_head != e.ready_tail) return;
    report_deadlock();
    abandon_block();
}

static void maybe_complete_tma_load() {
    Engine& e = *engine;
    if (e.launch->settings.asynchrony == Asynchrony::Random && !e.tma_loads.empty() && e.random.below(4) == 0)
        complete_tma_load(e.random.below(e.tma_loads.size()));
}

// ---- running

static void fiber_main();

static void give_stack(Thread* thread) {
    Engine& e = *engine;
    if (e.free_stacks.empty()) {
        mprotect(e.stacks + e.stacks_used * STACK_BYTES, GUARD_BYTES, PROT_NONE);
        e.free_stacks.push_back(e.stacks_used++);
    }
    thread->stack = e.free_stacks.back();
    e.free_stacks.pop_back();
    // Staggered, because stacks that all begin at the same offset would compete for one set of the cache.
    char* top = e.stacks + (thread->stack + 1) * STACK_BYTES - thread->stack % 61 * 64;
    void** frame = (void**)((uintptr_t)top & ~15ull);
    *--frame = nullptr;
    *--frame = (void*)fiber_main;  // `ret` enters it with the stack aligned as after a call
    for (int saved_register = 0; saved_register < 6; saved_register++) *--frame = nullptr;
    thread->stack_pointer = frame;
}

static void switch_to(void** save, Thread* next) {
    if (next->stack < 0) give_stack(next);
    executing.thread = next;
    cudasim_switch_stack(save, next->stack_pointer);
}

void wait_for_others(Thread* me) {
    maybe_complete_tma_load();
    if (engine->ready_head == engine->ready_tail) wake_somebody();
    Thread* next = next_ready();
    if (next != me) switch_to(&me->stack_pointer, next);
}

[[noreturn]] static void return_to_host(Thread* me) {
    executing.thread = nullptr;
    cudasim_switch_stack(&me->stack_pointer, engine->host_stack_pointer);
    __builtin_unreachable();
}

void abandon_block() {
    engine->dead = true;
    engine->launch->abandoned = true;
    return_to_host(current());
}

// Ends the running thread. Returns when another one should begin on this stack.
static void exit_thread() {
    Thread* me = current();
    finish_copies_at_exit(me);
    me->state = State::Exited;
    engine->live--;
    engine->warps[me->warp].live &= ~(1u << me->lane);
    leave_collectives(me);
    leave_barriers(me);
    if (!engine->live) return_to_host(me);
    if (engine->ready_head == engine->ready_tail) wake_somebody();
    Thread* next = next_ready();
    if (next->stack < 0) {
        next->stack = me->stack;
        executing.thread = next;
        return;
    }
    engine->free_stacks.push_back(me->stack);
    switch_to(&me->stack_pointer, next);
    __builtin_unreachable();
}

static void fiber_main() {
    const Launch& launch = *engine->launch;
    for (;;) {
        launch.kernel->run(launch.parameters);
        exit_thread();
    }
}

void start_block_threads() {
    Engine& e = *engine;
    e.free_stacks.clear();
    for (int stack = e.stacks_used; stack-- > 0;) e.free_stacks.push_back(stack);
    e.ready_head = e.ready_tail = 0;
    make_ready_if(0, e.thread_count, [](Thread*) { return true; });
}

void run_fibers() { switch_to(&engine->host_stack_pointer, next_ready()); }

void yield_thread() {
    make_ready(current());
    wait_for_others(current());
}

void trap(Site at) {
    report(at, "__trap()");
    abandon_block();
}

}  // namespace cudasim
