// Hyperbolic tangent: the generator's output. Its derivative is 1 - y^2, so only y is kept.
#include "index.cuh"

constexpr int THREADS = 256;

// y = tanh(x), both [pixels, c]. One thread per element; grid: ceil(pixels * c / 256).
extern "C" __global__ void __launch_bounds__(THREADS) tanh_forward(
    const float* __restrict__ x,
    float* __restrict__ y,
    int pixels,
    int channels,
    int x_stride,
    int y_stride) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(pixels)) return;
  y[at(pixel, y_stride, channel)] = tanhf(x[at(pixel, x_stride, channel)]);
}
KERNEL(tanh_forward);

// dx = dy * (1 - y^2), all [pixels, c]. One thread per element; grid: ceil(pixels * c / 256).
extern "C" __global__ void __launch_bounds__(THREADS) tanh_gradient(
    const float* __restrict__ y,
    const float* __restrict__ dy,
    float* dx,
    int pixels,
    int channels,
    int y_stride,
    int dy_stride,
    int dx_stride,
    int accumulate) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(pixels)) return;
  const float value = y[at(pixel, y_stride, channel)];
  const float gradient = dy[at(pixel, dy_stride, channel)] * fmaf(-value, value, 1.0f);
  store(dx + at(pixel, dx_stride, channel), gradient, accumulate);
}
KERNEL(tanh_gradient);
