// Hyperbolic tangent and logistic sigmoid. Their derivatives are functions of y, so only that is kept.
#include "index.cuh"

constexpr int THREADS = 256;

struct Tanh {
  __device__ __forceinline__ static float value(float x) { return tanhf(x); }
  __device__ __forceinline__ static float slope(float y) { return fmaf(-y, y, 1.0f); }
};

struct Sigmoid {
  __device__ __forceinline__ static float value(float x) { return 1.0f / (1.0f + expf(-x)); }
  __device__ __forceinline__ static float slope(float y) { return y * (1.0f - y); }
};

// y = f(x). One thread per element.
template <class Function>
__device__ __forceinline__ void forward(const float* x, float* y, int pixels, int channels, int x_stride,
                                        int y_stride) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(pixels)) return;
  y[at(pixel, y_stride, channel)] = Function::value(x[at(pixel, x_stride, channel)]);
}

// dx = dy * the slope of f where it is y. One thread per element.
template <class Function>
__device__ __forceinline__ void gradient(const float* y, const float* dy, float* dx, int pixels, int channels,
                                         int y_stride, int dy_stride, int dx_stride, int accumulate) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(pixels)) return;
  const float slope = Function::slope(y[at(pixel, y_stride, channel)]);
  store(dx + at(pixel, dx_stride, channel), dy[at(pixel, dy_stride, channel)] * slope, accumulate);
}

// y = tanh(x), both [pixels, c]. Grid: ceil(pixels * c / 256).
extern "C" __global__ void __launch_bounds__(THREADS) tanh_forward(
    const float* __restrict__ x,
    float* __restrict__ y,
    int pixels,
    int channels,
    int x_stride,
    int y_stride) {
  forward<Tanh>(x, y, pixels, channels, x_stride, y_stride);
}
KERNEL(tanh_forward);

// dx = dy * (1 - y^2), all [pixels, c]. Grid: ceil(pixels * c / 256).
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
  gradient<Tanh>(y, dy, dx, pixels, channels, y_stride, dy_stride, dx_stride, accumulate);
}
KERNEL(tanh_gradient);

// y = 1 / (1 + exp(-x)), both [pixels, c]. Grid: ceil(pixels * c / 256).
extern "C" __global__ void __launch_bounds__(THREADS) sigmoid_forward(
    const float* __restrict__ x,
    float* __restrict__ y,
    int pixels,
    int channels,
    int x_stride,
    int y_stride) {
  forward<Sigmoid>(x, y, pixels, channels, x_stride, y_stride);
}
KERNEL(sigmoid_forward);

// dx = dy * y * (1 - y), all [pixels, c]. Grid: ceil(pixels * c / 256).
extern "C" __global__ void __launch_bounds__(THREADS) sigmoid_gradient(
    const float* __restrict__ y,
    const float* __restrict__ dy,
    float* dx,
    int pixels,
    int channels,
    int y_stride,
    int dy_stride,
    int dx_stride,
    int accumulate) {
  gradient<Sigmoid>(y, dy, dx, pixels, channels, y_stride, dy_stride, dx_stride, accumulate);
}
KERNEL(sigmoid_gradient);
