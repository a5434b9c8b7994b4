// Sums over pixels, for blocks of 32 channels x 16 rows of threads: a warp is 32 neighbouring channels of one pixel.
#pragma once
#include "index.cuh"

constexpr int LANES = 32;
constexpr int ROWS = 16;
// Terms of a partial sum of one thread. Long sums are added up from these, which keeps their rounding error small.
constexpr int RUN = 64;

// Block-wide sums: sets `total` to N sums over all pixels for this thread's channel; `add(pixel, sums)` adds the terms
// of one pixel. The order depends on the number of pixels alone: each row of threads sums every 16th pixel, then the
// rows are added up in order. All threads of the block must call this; those without a channel with `pixels` = 0.
template <int N, class Add>
__device__ __forceinline__ void channel_sums(float (&total)[N], unsigned pixels, float (*rows)[ROWS][LANES], Add add) {
  const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
#pragma unroll
  for (int i = 0; i < N; i++) total[i] = 0.0f;
  for (unsigned start = row; start < pixels; start += RUN * ROWS) {
    float run[N] = {};
    for (unsigned p = start; p < min(pixels, start + RUN * ROWS); p += ROWS) add(p, run);
#pragma unroll
    for (int i = 0; i < N; i++) total[i] += run[i];
  }
  __syncthreads();  // `rows` may still be read from a sum before this one
#pragma unroll
  for (int i = 0; i < N; i++) rows[i][row][lane] = total[i];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) {
    total[i] = 0.0f;
    for (int r = 0; r < ROWS; r++) total[i] += rows[i][r][lane];
  }
}
