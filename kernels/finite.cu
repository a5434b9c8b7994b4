// Whether all numbers are numbers.
#include "index.cuh"

constexpr int THREADS = 256;

// Sets not_finite to 1 when any of `count` values is infinite or NaN, and leaves it otherwise: the caller clears it
// beforehand. One thread per value; grid: ceil(count / 256).
extern "C" __global__ void __launch_bounds__(THREADS) all_finite(
    const float* __restrict__ values,
    int* not_finite,
    int count) {
  const unsigned element = thread_index();
  if (element >= unsigned(count)) return;
  constexpr unsigned EXPONENT = 0x7f800000;
  if ((__float_as_uint(values[element]) & EXPONENT) == EXPONENT) atomicOr(not_finite, 1);
}
KERNEL(all_finite);
