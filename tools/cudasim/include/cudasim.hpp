// CUDA C++ for a host compiler: the slice of the language that kernels use. `prelude.cuh` includes this file when nvcc
// is not the compiler; the functions it declares are in `runtime/`.
#pragma once
#include "cudasim_half.hpp"
#include "cudasim_math.hpp"
#include "cudasim_runtime.hpp"
#include "cudasim_threads.hpp"
#include "cudasim_types.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) alignas(n)
#define __shared__ static_assert_use_STATIC_SMEM_or_DYN_SMEM_instead_of___shared__

#define threadIdx (::cudasim::thread_index())
#define blockIdx (::cudasim::read_uninstrumented(::cudasim::executing.block_index))
#define blockDim (::cudasim::read_uninstrumented(::cudasim::executing.block_dim))
#define gridDim (::cudasim::read_uninstrumented(::cudasim::executing.grid_dim))
#define warpSize 32

// A kernel that the driver can find by name.
#define REGISTER_KERNEL(name) static const ::cudasim::Registration<&name, decltype(&name)> cudasim_kernel_##name(#name)

// The kernel's __launch_bounds__, of which a compiler for the CPU sees nothing.
#define REGISTER_LAUNCH_BOUNDS(name, threads) \
    static const ::cudasim::LaunchBounds cudasim_bounds_##name(#name, threads)

// Shared memory goes through these two, because plain C++ has no hook in `__shared__` to allocate, poison and bound it.
#define DYN_SMEM(T, name, ALIGN) \
    T* const name = static_cast<T*>(::cudasim::dynamic_shared(ALIGN, ::cudasim::Site::here(__FILE__, __LINE__)))
#define STATIC_SMEM(T, name, DIMS) \
    using cudasim_type_##name = T DIMS; \
    static const char cudasim_variable_##name = 0; \
    cudasim_type_##name& name = *static_cast<cudasim_type_##name*>( \
        ::cudasim::static_shared(&cudasim_variable_##name, sizeof(cudasim_type_##name), \
                                 alignof(T) < 16 ? 16 : alignof(T), ::cudasim::Site::here(__FILE__, __LINE__)))
#define GRID_CONSTANT
