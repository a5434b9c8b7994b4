// An engine runs one block at a time: every CUDA thread is a fiber, and a scheduler picks who runs until it waits.
// Engines are kept in a pool; a launch borrows as many as it uses host threads.
#pragma once
#include "counter.hpp"
#include "global_checker.hpp"
#include "launch.hpp"
#include "random.hpp"
#include "segments.hpp"
#include "shared_checker.hpp"
#include "tensor_map.hpp"
#include <memory>
#include <unordered_map>
#include <vector>

namespace cudasim {

constexpr uint32_t MOST_THREADS = 1024, ALL_LANES = 0xffffffffu;
constexpr size_t STACK_BYTES = 128 << 10;

// The window of shared addresses: the first KiB is reserved as on sm_90, dynamic memory follows (descriptors hold only
// 18 bits of an address), static memory has the upper half.
constexpr uint32_t WINDOW_BYTES = 512 << 10, DYNAMIC_START = 1024, STATIC_START = 256 << 10;
constexpr uint32_t MOST_STATIC_SHARED = 48 << 10, MOST_SHARED = 227 << 10;

enum class State : uint8_t { Ready, AtBarrier, InCollective, AtMbarrier, Exited };

struct AsyncCopy {
    uint32_t destination;
    const void* source;
    uint8_t bytes, source_bytes;
    uint32_t group;
    bool landed;
    Site at;
};

struct BulkStore {
    CUtensorMap map;
    uint32_t source, bytes;
    int coordinates[5];
    uint32_t group;
    Site at;
};

struct Thread : ThreadPosition {
    void* stack_pointer;
    int stack;  // -1 before the first instruction
    State state;
    bool finishes_collective;  // the lane that it waited for has exited
    uint32_t waits_for;  // the number of the barrier, or the address of the mbarrier
    Site waits_at;

    // The checker's view of time; see happens_before.hpp.
    uint32_t clock, proxy_fence;
    bool has_vector_clock;
    uint32_t segment, segment_generation;
    // The order with other blocks, since the block has met: what the next atomic releases, what earlier ones have read,
    // and of that what a fence has acquired.
    Segments fenced, seen, acquired;

    uint32_t copy_group, bulk_group;
    std::vector<AsyncCopy> copies;
    std::vector<BulkStore> bulk_stores;
};

enum class Collective : uint8_t {
    WarpBarrier, Shuffle, Vote, Reduce,
    // From here on all 32 lanes must take part.
    LoadMatrix, Mma, Wgmma, WgmmaFence, WgmmaCommit, WgmmaWait
};

// Lanes that have arrived at a collective and wait for the others.
struct Gathering {
    bool active;
    Collective operation;
    uint32_t mask, arrived;
    int variant;
    Site at;
};

struct WgmmaOperation {
    int n;
    bool transpose_a, transpose_b, accumulate;
    uint64_t a, b;
    uint32_t group;
    float* registers[32];
    Site at;
};

struct Warp {
    uint32_t live;
    Gathering gatherings[4];
    void* arguments[32];
    std::vector<WgmmaOperation> products;
    uint32_t product_group;
    bool fenced;
    std::unordered_map<float*, std::vector<float>> accumulators;  // while products are under way
};

struct Barrier {
    uint32_t expected, arrived;
    Site at;
    bool divergence_reported;
    VectorClock clock;
    int accumulated, result;
};

struct Mbarrier {
    bool fenced;
    uint32_t initialised_by;
    VectorClock arriving, completed;
};

struct TmaLoad {
    CUtensorMap map;
    uint32_t destination, barrier, bytes;
    int coordinates[5];
    uint16_t offsets[3];
    uint32_t clock;
    VectorClock issued;
    Site at;
};

struct StaticVariable {
    const void* key;
    uint32_t offset;
};

struct Engine {
    Engine();
    ~Engine();

    Launch* launch = nullptr;
    uint32_t block = 0;  // linear
    bool check = false, count = false;

    // Threads and who runs next
    uint32_t thread_count = 0, live = 0;
    Thread threads[MOST_THREADS];
    Warp warps[MOST_THREADS / 32];
    Barrier barriers[16];
    uint16_t ready[2 * MOST_THREADS];
    uint32_t ready_head = 0, ready_tail = 0;
    bool dead = false;
    Random random;
    void* host_stack_pointer = nullptr;
    char* stacks = nullptr;
    std::vector<int> free_stacks;
    int stacks_used = 0;

    // Shared memory
    unsigned char* window = nullptr;
    char* window_mapping = nullptr;
    uint32_t dynamic_base = 0, dynamic_bytes = 0, static_top = 0;
    std::vector<StaticVariable> statics;
    std::unordered_map<uint32_t, Mbarrier> mbarriers;
    std::vector<TmaLoad> tma_loads;
    uint32_t tma_clock = 0;

    // The checker
    uint32_t generation = 0;  // grows when the whole block has met at a barrier
    std::vector<uint32_t> vector_clocks;
    SharedChecker shared;
    GlobalChecker global;
    Counter counter;

    bool is_stack(const void* pointer) const {
        return (size_t)((const char*)pointer - stacks) < MOST_THREADS * STACK_BYTES;
    }
    uint32_t async_agent() const { return thread_count; }  // copies by TMA are made by a thread of their own
    bool in_shared_allocation(uint32_t offset, uint32_t bytes) const {
        return (offset >= dynamic_base && offset + bytes <= dynamic_base + dynamic_bytes) ||
               (offset >= STATIC_START && offset + bytes <= static_top);
    }
};

extern __thread Engine* engine __attribute__((tls_model("initial-exec")));
inline Thread* current() { return static_cast<Thread*>(executing.thread); }

// ---- fibers.cpp
void start_block_threads();
void run_fibers();
void make_ready(Thread* thread);
void wait_for_others(Thread* me);  // the caller has set its state or made itself ready again
[[noreturn]] void abandon_block();

// Makes those threads in [first, first + count) ready that `chosen` picks, in the order of the schedule.
template <class Chosen> inline void make_ready_if(uint32_t first, uint32_t count, Chosen chosen) {
    const bool reverse = engine->launch->settings.schedule == Schedule::Reverse;
    for (uint32_t i = 0; i < count; i++) {
        Thread* thread = &engine->threads[first + (reverse ? count - 1 - i : i)];
        if (chosen(thread)) make_ready(thread);
    }
}

// ---- what fibers.cpp needs of the others
void leave_barriers(Thread* me);
void leave_collectives(Thread* me);
void finish_copies_at_exit(Thread* me);
void complete_tma_load(size_t index);

// ---- shared_memory.cpp
// Complains when the bytes lie outside of what the block has allocated.
bool outside_shared(uint32_t offset, uint32_t bytes, const char* what, Site at);

}  // namespace cudasim
