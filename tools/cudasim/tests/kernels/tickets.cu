// "The last block by ticket": every block leaves a partial sum, and the block that draws the last ticket adds them up.
// ok_* order the blocks by fences and atomics; in each bug_* one part of that is missing, and the lines marked HERE
// must be reported. tests/check/tickets.rs launches them.
#include "ptx.cuh"

constexpr int THREADS = 64, PARTIALS = 1024;

// The ways to draw a ticket, each with the fences around the atomic.
enum Order { ACQUIRE_RELEASE, TWO_FENCES, NO_RELEASE, NO_ACQUIRE, RELAXED };

template <Order ORDER> PTX_DEV unsigned draw(unsigned* ticket) {
    if (ORDER == ACQUIRE_RELEASE) return atomic_add_acq_rel(ticket, 1);
    if (ORDER == TWO_FENCES || ORDER == NO_ACQUIRE) __threadfence();
    const unsigned number = atomicAdd(ticket, 1u);
    if (ORDER == TWO_FENCES || ORDER == NO_RELEASE) __threadfence();
    return number;
}

struct Mistakes {
    bool no_barrier_before = false, no_barrier_after = false, late_write = false, fence_before_barrier = false;
};

// out: PARTIALS partial sums, the ticket, and from 2 * PARTIALS - THREADS on the sums.
template <Order ORDER, Mistakes MISTAKES = Mistakes{}> PTX_DEV void last_block(float* out) {
    STATIC_SMEM(unsigned, number, [1]);
    unsigned* const ticket = reinterpret_cast<unsigned*>(out + PARTIALS);
    const int t = threadIdx.x, block = blockIdx.x;
    out[block * THREADS + t] = float(block + t);  // HERE
    if (MISTAKES.fence_before_barrier) __threadfence();
    if (!MISTAKES.no_barrier_before) __syncthreads();
    if (t == 0) {
        if (MISTAKES.late_write) {
            __threadfence();
            out[block * THREADS] = 1.0f;
        }
        number[0] = draw<ORDER>(ticket);
    }
    if (MISTAKES.no_barrier_after) {
        // The first or the last block is the last to run, in most orders; its other threads have acquired nothing.
        if (block != 0 && block != int(gridDim.x) - 1) return;
    } else {
        __syncthreads();
        if (number[0] != gridDim.x - 1) return;
    }
    float sum = 0.0f;
    for (unsigned b = 0; b < gridDim.x; b++) sum += out[b * THREADS + t];  // HERE
    out[2 * PARTIALS - THREADS + t] = sum;  // HERE
}

#define LAST_BLOCK(name, ...) \
    extern "C" __global__ void name(float* out) { last_block<__VA_ARGS__>(out); } \
    REGISTER_KERNEL(name)

LAST_BLOCK(ok_ticket, ACQUIRE_RELEASE);
LAST_BLOCK(ok_ticket_two_fences, TWO_FENCES);
// As in the programming guide: each thread fences what it wrote before the block meets.
LAST_BLOCK(ok_ticket_fence_before_barrier, NO_RELEASE, Mistakes{.fence_before_barrier = true});
LAST_BLOCK(bug_ticket_no_release, NO_RELEASE);
LAST_BLOCK(bug_ticket_no_acquire, NO_ACQUIRE);
LAST_BLOCK(bug_ticket_relaxed, RELAXED);
LAST_BLOCK(bug_ticket_no_barrier_before, ACQUIRE_RELEASE, Mistakes{.no_barrier_before = true});
LAST_BLOCK(bug_ticket_no_barrier_after, ACQUIRE_RELEASE, Mistakes{.no_barrier_after = true});
LAST_BLOCK(bug_ticket_late_write, RELAXED, Mistakes{.late_write = true});

// Block 0 writes and releases at one ticket; block 1 acquires that and releases at another; block 2 acquires the other
// and reads what block 0 wrote. Run in this order of blocks only.
template <bool ACQUIRES> PTX_DEV void chain(float* out) {
    unsigned* const tickets = reinterpret_cast<unsigned*>(out + PARTIALS);
    if (threadIdx.x != 0) return;
    if (blockIdx.x == 0) {
        out[0] = 3.0f;
        __threadfence();
        atomicAdd(tickets, 1u);
    } else if (blockIdx.x == 1) {
        atomicAdd(tickets, 1u);
        if (ACQUIRES) __threadfence();
        atomicAdd(tickets + 1, 1u);
    } else {
        atomicAdd(tickets + 1, 1u);
        __threadfence();
        out[1] = out[0];  // HERE
    }
}

extern "C" __global__ void ok_ticket_chain(float* out) { chain<true>(out); }
REGISTER_KERNEL(ok_ticket_chain);
extern "C" __global__ void bug_ticket_broken_chain(float* out) { chain<false>(out); }
REGISTER_KERNEL(bug_ticket_broken_chain);
