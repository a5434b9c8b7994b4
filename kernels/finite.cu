// Whether all numbers are numbers.
#include "index.cuh"

constexpr int THREADS = 256;

// Sets not_finite to 1 when any of values, [pixels, c], is infinite or NaN, and leaves it otherwise: the caller clears
// it beforehand. One thread per element; grid: ceil(pixels * c / 256).
extern "C" __global__ void __launch_bounds__(THREADS) all_finite(
    const float* __restrict__ values,
    int* not_finite,
    int pixels,
    int channels,
    int stride) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(pixels)) return;
  constexpr unsigned EXPONENT = 0x7f800000;
  if ((__float_as_uint(values[at(pixel, stride, channel)]) & EXPONENT) == EXPONENT) atomicOr(not_finite, 1);
}
KERNEL(all_finite);
