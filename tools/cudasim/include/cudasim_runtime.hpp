// The runtime as a kernel on the CPU sees it: its position in the grid, its shared memory, and the entry points.
#pragma once
#include "cudasim_types.hpp"
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

namespace cudasim {

// A line of a kernel's source. As a default argument, `Site::here()` is the line of the outermost call.
struct Site {
    const char* file;
    int line;
    static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
};

// The part of a simulated thread that kernels read.
struct ThreadPosition {
    uint3 index;
    uint32_t linear, lane, warp;
};

// The simulated thread that this host thread is executing. Initial-exec, because every threadIdx reads it; kept tiny,
// because a library that is loaded late gets only a few bytes of such storage.
struct Executing {
    ThreadPosition* thread;
    uint3 block_index, block_dim, grid_dim;
};
extern __thread Executing executing __attribute__((tls_model("initial-exec")));

// Reads through asm are invisible to the compiler's instrumentation, which would report each one as a memory access.
// They are not volatile: a value that never changes for a thread may be kept in a register.
inline unsigned read_uninstrumented(const unsigned& source) {
    unsigned value;
    asm("movl %1, %0" : "=r"(value) : "m"(source));
    return value;
}
inline ThreadPosition* current_thread() {
    ThreadPosition* thread;
    asm("movq %1, %0" : "=r"(thread) : "m"(executing.thread));
    return thread;
}
inline uint3 read_uninstrumented(const uint3& source) {
    return {read_uninstrumented(source.x), read_uninstrumented(source.y), read_uninstrumented(source.z)};
}
inline uint3 thread_index() { return read_uninstrumented(current_thread()->index); }

// ---- shared memory
void* dynamic_shared(uint32_t alignment, Site at);
void* static_shared(const void* variable, uint32_t bytes, uint32_t alignment, Site at);
uint32_t shared_address(const void* pointer, Site at);

// ---- barriers of a block; `threads` = 0 means all of it
enum class Reduction { Or, And, Count };
void barrier(unsigned id, unsigned threads, bool arrive_only, Site at);
int barrier_reduce(Reduction reduction, int predicate, Site at);
[[noreturn]] void trap(Site at);
void yield_thread();

// ---- warp collectives
enum class Shuffle { Index, Up, Down, Xor };
enum class Vote { Ballot, Any, All };
enum class Redux { Add, Max, Min };
void warp_barrier(unsigned mask, Site at);
uint64_t shuffle(unsigned mask, uint64_t value, Shuffle mode, int operand, int width, Site at);
uint32_t vote(unsigned mask, Vote mode, int predicate, Site at);
uint32_t warp_reduce(unsigned mask, Redux operation, uint32_t value, Site at);
unsigned active_mask();

void thread_fence(Site at);

// ---- atomics: out of line and in a file without instrumentation, so that they never look like plain accesses
uint64_t atomic_load(const void* address, unsigned bytes, Site at);
bool atomic_exchange_if_equal(void* address, unsigned bytes, uint64_t* expected, uint64_t desired);

template <class T, class Update> inline T atomic_update(T* address, Update update, Site at) {
    uint64_t bits = atomic_load(address, sizeof(T), at);
    for (;;) {
        T before;
        memcpy(&before, &bits, sizeof(T));
        T after = update(before);
        uint64_t desired = 0;
        memcpy(&desired, &after, sizeof(T));
        if (atomic_exchange_if_equal(address, sizeof(T), &bits, desired)) return before;
    }
}

// ---- registration of kernels by name
typedef void (*Trampoline)(void** parameters);
struct KernelDefinition {
    const char* name;
    Trampoline run;
    unsigned parameter_count;
    const uint32_t* parameter_sizes;
};
void register_kernel(const KernelDefinition& kernel);
void register_launch_bounds(const char* kernel, unsigned max_threads_per_block);

template <auto Kernel, class Signature> struct Registration;
template <auto Kernel, class... Parameters> struct Registration<Kernel, void (*)(Parameters...)> {
    static constexpr uint32_t sizes[sizeof...(Parameters) + 1] = {(uint32_t)sizeof(Parameters)..., 0};

    // The parameters lie in the host's memory: reading them is the driver's doing, not an access of the kernel.
    template <size_t... I>
    __attribute__((no_sanitize("thread"))) static void call(void** parameters, std::index_sequence<I...>) {
        Kernel(*reinterpret_cast<std::remove_cv_t<Parameters>*>(parameters[I])...);
    }
    __attribute__((no_sanitize("thread"))) static void run(void** parameters) {
        call(parameters, std::index_sequence_for<Parameters...>{});
    }
    explicit Registration(const char* name) {
        register_kernel({name, &run, (unsigned)sizeof...(Parameters), sizes});
    }
};

// Written by the build behind each source file: what `__launch_bounds__` said about a kernel.
struct LaunchBounds {
    LaunchBounds(const char* kernel, unsigned max_threads_per_block) {
        register_launch_bounds(kernel, max_threads_per_block);
    }
};

}  // namespace cudasim
