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

// Adds up what `shares` blocks have for one tile, float4 by float4, in an order that depends on their number alone:
// runs of 16 shares, then the sums of the runs. Returns true, with the totals in `mine`, in all threads of one block;
// the others have nothing left to do. A thread brings COUNT quads, which lie THREADS apart. For each tile, `sums` has
// room for the quads of `shares` blocks, and `tickets` a zero; beyond 16 shares, both have one more for each run, and
// `tickets` one for all.
template <int COUNT, int THREADS>
__device__ __forceinline__ bool add_shares(float4 (&mine)[COUNT], float* sums, unsigned* tickets, int tile, int share,
                                           int shares, unsigned* flag) {
  constexpr int RUN = 16;
  constexpr size_t QUAD = THREADS * 4, BLOCK = size_t(COUNT) * QUAD;  // floats
  const auto put = [&](float* to) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) store_vector(to + threadIdx.x * 4 + i * QUAD, mine[i]);
  };
  const auto add_all = [&](const float* from, int count) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) mine[i] = load_vector<float4>(from + threadIdx.x * 4 + i * QUAD);
    for (int other = 1; other < count; other++) {
#pragma unroll
      for (int i = 0; i < COUNT; i++) {
        const float4 value = load_vector<float4>(from + other * BLOCK + threadIdx.x * 4 + i * QUAD);
        mine[i] = make_float4(mine[i].x + value.x, mine[i].y + value.y, mine[i].z + value.z, mine[i].w + value.w);
      }
    }
  };
  if (shares == 1) return true;
  const int run = share / RUN, runs = (shares + RUN - 1) / RUN, of_run = min(RUN, shares - run * RUN);
  const int more = shares > RUN ? runs : 0;
  sums += size_t(tile) * (shares + more) * BLOCK;
  tickets += tile * (more + 1);
  put(sums + share * BLOCK);
  if (!is_last_block(tickets + run, of_run, flag)) return false;
  add_all(sums + size_t(run * RUN) * BLOCK, of_run);
  if (more == 0) return true;
  put(sums + size_t(shares + run) * BLOCK);
  if (!is_last_block(tickets + runs, runs, flag)) return false;
  add_all(sums + size_t(shares) * BLOCK, runs);
  return true;
}
