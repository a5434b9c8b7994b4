// The one header that every kernel includes. Under nvcc it is CUDA's own headers; under a host C++ compiler it is
// cudasim, which runs the same source on the CPU (tools/cudasim).
#pragma once
#include <stdint.h>

#ifdef __CUDACC__
#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// Registration of a kernel and its launch bounds by name, for the simulator. Empty for nvcc, where extern "C" suffices.
#define REGISTER_KERNEL(name)
#define REGISTER_LAUNCH_BOUNDS(name, threads)
// The variable `T name DIMS` in shared memory. Always through this macro: cudasim cannot allocate, poison or bound a
// bare __shared__.
#define STATIC_SMEM(T, name, DIMS) __shared__ T name DIMS
// Declared here once: inside of functions it would have C linkage in some and C++ linkage in others, which nvcc
// refuses.
extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];
// The pointer `T* name` to the block's dynamic shared memory, aligned to ALIGN bytes.
#define DYN_SMEM(T, name, ALIGN) \
    static_assert(ALIGN <= 1024); \
    T* const name = reinterpret_cast<T*>(dynamic_shared_memory)
// One load or store of 8 or 16 bytes as a Vector, such as float4. The address is a multiple of these bytes. Through
// these functions, because a compiler for the CPU takes a struct apart, and the simulator would count its parts.
template <class Vector, class T>
__device__ __forceinline__ Vector load_vector(const T* from) {
  return *reinterpret_cast<const Vector*>(from);
}
template <class Vector, class T>
__device__ __forceinline__ void store_vector(T* to, Vector value) {
  *reinterpret_cast<Vector*>(to) = value;
}
// The attribute of a parameter whose address is taken, as that of a tensor map is.
#define GRID_CONSTANT __grid_constant__
#else
#include "cudasim.hpp"
#endif

// A tensor map as a field of a kernel's argument. The headers of CUDA 12 align a CUtensorMap to 64 bytes, those of CUDA
// 13 to 128; this struct has one layout with all of them.
struct alignas(128) TensorMap {
  CUtensorMap encoded;
};

// A kernel: KERNEL(name, THREADS, Arguments args) { ... }. Its one argument is a struct, whose fields build.rs gives to
// Rust under their names (build/scan.rs), and THREADS the threads of a block.
//
// The 1 in the launch bounds, a block on a multiprocessor, has the assembler use as many registers as it needs: without
// it, it spills some to fit one more block.
#define KERNEL(name, threads, argument) \
    extern "C" __global__ void name(const GRID_CONSTANT argument); \
    REGISTER_KERNEL(name); \
    REGISTER_LAUNCH_BOUNDS(name, threads); \
    extern "C" __global__ void __launch_bounds__(threads, 1) name(const GRID_CONSTANT argument)

// The kernel `name` that calls an instance of a template: INSTANCE(tanh_forward, THREADS, Activate, activate<Tanh>);
#define INSTANCE(name, threads, Arguments, ...) \
    KERNEL(name, threads, Arguments args) { __VA_ARGS__(args); } \
    static_assert(true)
