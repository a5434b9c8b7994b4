// CUDA's functions for threads that work together: barriers, warp collectives, fences, atomics.
#pragma once
#include "cudasim_runtime.hpp"

#define CUDASIM_SITE ::cudasim::Site at = ::cudasim::Site::here()

inline void __syncthreads(CUDASIM_SITE) { cudasim::barrier(0, 0, false, at); }
inline int __syncthreads_or(int p, CUDASIM_SITE) { return cudasim::barrier_reduce(cudasim::Reduction::Or, p, at); }
inline int __syncthreads_and(int p, CUDASIM_SITE) { return cudasim::barrier_reduce(cudasim::Reduction::And, p, at); }
inline int __syncthreads_count(int p, CUDASIM_SITE) {
    return cudasim::barrier_reduce(cudasim::Reduction::Count, p, at);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CUDASIM_SITE) { cudasim::warp_barrier(mask, at); }

inline unsigned __ballot_sync(unsigned mask, int p, CUDASIM_SITE) {
    return cudasim::vote(mask, cudasim::Vote::Ballot, p, at);
}
inline int __any_sync(unsigned mask, int p, CUDASIM_SITE) {
    return (int)cudasim::vote(mask, cudasim::Vote::Any, p, at);
}
inline int __all_sync(unsigned mask, int p, CUDASIM_SITE) {
    return (int)cudasim::vote(mask, cudasim::Vote::All, p, at);
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned v, CUDASIM_SITE) {
    return cudasim::warp_reduce(mask, cudasim::Redux::Add, v, at);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned v, CUDASIM_SITE) {
    return cudasim::warp_reduce(mask, cudasim::Redux::Max, v, at);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned v, CUDASIM_SITE) {
    return cudasim::warp_reduce(mask, cudasim::Redux::Min, v, at);
}

namespace cudasim {
template <class T> inline T shuffle_value(unsigned mask, T value, Shuffle mode, int operand, int width, Site at) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = shuffle(mask, bits, mode, operand, width, at);
    memcpy(&value, &bits, sizeof(T));
    return value;
}
}  // namespace cudasim
#define CUDASIM_SHUFFLE(NAME, MODE) \
    template <class T> inline T NAME(unsigned mask, T value, int operand, int width = 32, CUDASIM_SITE) { \
        return cudasim::shuffle_value(mask, value, cudasim::Shuffle::MODE, operand, width, at); \
    }
CUDASIM_SHUFFLE(__shfl_sync, Index)
CUDASIM_SHUFFLE(__shfl_up_sync, Up)
CUDASIM_SHUFFLE(__shfl_down_sync, Down)
CUDASIM_SHUFFLE(__shfl_xor_sync, Xor)
#undef CUDASIM_SHUFFLE

inline unsigned __activemask() { return cudasim::active_mask(); }
[[noreturn]] inline void __trap(CUDASIM_SITE) { cudasim::trap(at); }
inline size_t __cvta_generic_to_shared(const void* p, CUDASIM_SITE) { return cudasim::shared_address(p, at); }
// Threads switch only inside the functions of this file, so memory is always consistent between them; the checker asks
// for fences between blocks all the same.
inline void __threadfence(CUDASIM_SITE) { cudasim::thread_fence(at); }
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) { cudasim::yield_thread(); }

#define CUDASIM_ATOMIC(NAME, AFTER) \
    template <class T> inline T NAME(T* address, std::type_identity_t<T> value, CUDASIM_SITE) { \
        return cudasim::atomic_update(address, [value]([[maybe_unused]] T before) -> T { return AFTER; }, at); \
    }
CUDASIM_ATOMIC(atomicAdd, (T)(before + value))
CUDASIM_ATOMIC(atomicSub, (T)(before - value))
CUDASIM_ATOMIC(atomicMax, before > value ? before : value)
CUDASIM_ATOMIC(atomicMin, before < value ? before : value)
CUDASIM_ATOMIC(atomicExch, value)
CUDASIM_ATOMIC(atomicAnd, (T)(before & value))
CUDASIM_ATOMIC(atomicOr, (T)(before | value))
CUDASIM_ATOMIC(atomicXor, (T)(before ^ value))
#undef CUDASIM_ATOMIC
inline unsigned atomicInc(unsigned* address, unsigned limit, CUDASIM_SITE) {
    return cudasim::atomic_update(address, [limit](unsigned before) { return before >= limit ? 0u : before + 1; }, at);
}
template <class T>
inline T atomicCAS(T* address, std::type_identity_t<T> compare, std::type_identity_t<T> value, CUDASIM_SITE) {
    return cudasim::atomic_update(address, [=](T before) { return before == compare ? value : before; }, at);
}
