// Sums over several blocks, in an order that does not depend on which block is done first.
#pragma once
#include "ptx.cuh"

// True in all threads of the block that is the last of `blocks` blocks to come here; it may read what all of them have
// written before. The ticket is 0 before and after. `flag` is one word of shared memory.
__device__ __forceinline__ bool is_last_block(unsigned* ticket, unsigned blocks, unsigned* flag) {
  __syncthreads();  // the writes of all threads come before the atomic of thread 0, which releases them
  if (threadIdx.x == 0) {
    *flag = atomic_add_acq_rel(ticket, 1) == blocks - 1;
    if (*flag) atomicExch(ticket, 0u);
  }
  __syncthreads();
  return *flag != 0;
}
