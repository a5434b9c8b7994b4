// Losses, fused with their gradients: one pass computes the value and what flows back from it (see src/ops/loss).
//
// A block works on `run` consecutive elements and writes the sum of their terms to its place in `partial`;
// `loss_finish` adds those up. `run` is the caller's and must follow from nothing but the size, so that a value is the
// same on every device.
#include "index.cuh"

constexpr int THREADS = 256;

// The sum over the block of what each thread brings: halves are added to halves. `sums` has THREADS elements.
template <class T>
__device__ __forceinline__ T block_sum(T value, T* sums) {
  sums[threadIdx.x] = value;
  for (int half = THREADS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < unsigned(half)) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  __syncthreads();
  return sums[0];
}

// Calls `visit(pixel, channel)` for this thread's elements of the block's run, adds up what it returns, and writes the
// block's sum.
template <class Visit>
__device__ __forceinline__ void sum_run(float* partial, int pixels, int channels, int run, Visit visit) {
  STATIC_SMEM(float, sums, [THREADS]);
  const unsigned count = unsigned(pixels) * channels, first = blockIdx.x * run;
  float sum = 0.0f;
  for (unsigned element = first + threadIdx.x; element < min(count, first + run); element += THREADS) {
    sum += visit(element / channels, element % channels);
  }
  const float total = block_sum(sum, sums);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// gradient = 2 * (x - target) * scale, and sums of (x - target)^2. x and gradient are [pixels, c], scale is the loss's
// weight divided by pixels * c, partial has one element for each block. Grid: ceil(pixels * c / run).
extern "C" __global__ void __launch_bounds__(THREADS) mse_loss(
    const float* __restrict__ x,
    float* gradient,
    float* __restrict__ partial,
    int pixels,
    int channels,
    int x_stride,
    int gradient_stride,
    float target,
    float scale,
    int run,
    int accumulate) {
  sum_run(partial, pixels, channels, run, [&](unsigned pixel, unsigned channel) {
    const float error = x[at(pixel, x_stride, channel)] - target;
    store(gradient + at(pixel, gradient_stride, channel), 2.0f * error * scale, accumulate);
    return __fmul_rn(error, error);
  });
}
KERNEL(mse_loss);

// gradient = sign(x - target) * scale, where sign(0) = 0, and sums of |x - target|. x, target and gradient are [pixels,
// c], the rest as above. Grid: ceil(pixels * c / run).
extern "C" __global__ void __launch_bounds__(THREADS) l1_loss(
    const float* __restrict__ x,
    const float* __restrict__ target,
    float* gradient,
    float* __restrict__ partial,
    int pixels,
    int channels,
    int x_stride,
    int target_stride,
    int gradient_stride,
    float scale,
    int run,
    int accumulate) {
  sum_run(partial, pixels, channels, run, [&](unsigned pixel, unsigned channel) {
    const float error = x[at(pixel, x_stride, channel)] - target[at(pixel, target_stride, channel)];
    const float sign = error == 0.0f ? 0.0f : copysignf(1.0f, error);
    store(gradient + at(pixel, gradient_stride, channel), sign * scale, accumulate);
    return fabsf(error);
  });
}
KERNEL(l1_loss);

// value = the sum of `partials` elements of partial / count, added up in f64. Grid: 1.
extern "C" __global__ void __launch_bounds__(THREADS) loss_finish(
    const float* __restrict__ partial,
    float* __restrict__ value,
    int partials,
    double count) {
  STATIC_SMEM(double, sums, [THREADS]);
  double sum = 0.0;
  for (int i = threadIdx.x; i < partials; i += THREADS) sum += double(partial[i]);
  const double total = block_sum(sum, sums);
  if (threadIdx.x == 0) *value = float(total / count);
}
KERNEL(loss_finish);
