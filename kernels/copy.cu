// Copies between views, and constants.
#include "index.cuh"

constexpr int THREADS = 256;

// to = from, or to += from; both are [pixels, c]. One thread per element; grid: ceil(pixels * c / 256).
extern "C" __global__ void __launch_bounds__(THREADS) copy(
    const float* __restrict__ from,
    float* to,
    int pixels,
    int channels,
    int from_stride,
    int to_stride,
    int accumulate) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(pixels)) return;
  store(to + at(pixel, to_stride, channel), from[at(pixel, from_stride, channel)], accumulate);
}
KERNEL(copy);

// Every element of `to`, [pixels, c], becomes `value`. One thread per element; grid: ceil(pixels * c / 256).
extern "C" __global__ void __launch_bounds__(THREADS) fill(
    float* __restrict__ to,
    int pixels,
    int channels,
    int stride,
    float value) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(pixels)) return;
  to[at(pixel, stride, channel)] = value;
}
KERNEL(fill);
