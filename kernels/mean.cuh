// A mean over several blocks: those of a grid, or of a part of it.
#pragma once
#include "block_sum.cuh"
#include "tickets.cuh"

// The mean goes to `value`: the sum of what the blocks bring over `count`. `partial` has an element for each block, and
// `ticket` is zero.
struct Mean {
  float* partial;
  float* value;
  unsigned* ticket;
  double count;
};

// Adds what thread 0 of each block brings as `sum`, in f64 and in the order of the blocks; the last block to be done
// writes the mean. This is block `block` of `blocks`. All threads must call this.
template <int THREADS>
__device__ __forceinline__ void write_mean(const Mean& mean, float sum, unsigned block, unsigned blocks) {
  STATIC_SMEM(double, sums, [THREADS]);
  STATIC_SMEM(unsigned, is_last, [1]);
  if (threadIdx.x == 0) mean.partial[block] = sum;
  if (!is_last_block(mean.ticket, blocks, is_last)) return;
  double own = 0.0;
  for (unsigned i = threadIdx.x; i < blocks; i += THREADS) own += double(mean.partial[i]);
  const double total = block_sum<THREADS>(own, sums);
  if (threadIdx.x == 0) *mean.value = float(total / mean.count);
}
