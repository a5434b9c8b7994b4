// A sum over the threads of a block.
#pragma once
#include "prelude.cuh"

// The sum over a block of THREADS threads, a power of two, of what each thread brings: halves are added to halves.
// `sums` has THREADS elements.
template <int THREADS, class T>
__device__ __forceinline__ T block_sum(T value, T* sums) {
  sums[threadIdx.x] = value;
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < unsigned(half)) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  __syncthreads();
  return sums[0];
}
