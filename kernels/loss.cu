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

// What a criterion makes of one element x and its target t: the term of the sum, and in `slope` its derivative by x.

// (x - t)^2
struct Square {
  __device__ __forceinline__ static float term(float x, float t, float& slope) {
    const float error = x - t;
    slope = 2.0f * error;
    return __fmul_rn(error, error);
  }
};

// |x - t|, with slope 0 where they are equal.
struct Distance {
  __device__ __forceinline__ static float term(float x, float t, float& slope) {
    const float error = x - t;
    slope = error == 0.0f ? 0.0f : copysignf(1.0f, error);
    return fabsf(error);
  }
};

// -(t ln x + (1 - t) ln(1 - x)): as in PyTorch the logarithms end at -100, and the slope's divisor at 1e-12.
struct CrossEntropy {
  __device__ __forceinline__ static float term(float x, float t, float& slope) {
    slope = (x - t) / fmaxf((1.0f - x) * x, 1e-12f);
    return (t - 1.0f) * cut(log1pf(-x)) - t * cut(logf(x));
  }

  // Unlike fmaxf, this keeps what is not a number.
  __device__ __forceinline__ static float cut(float x) {
    const float least = -100.0f;
    return x < least ? least : x;
  }
};

// The same of sigmoid(x). Nothing overflows: only exp(-|x|) is computed.
struct CrossEntropyOfLogit {
  __device__ __forceinline__ static float term(float x, float t, float& slope) {
    const float small = expf(-fabsf(x));
    slope = (x < 0.0f ? small : 1.0f) / (1.0f + small) - t;
    return fmaxf(x, 0.0f) - x * t + log1pf(small);
  }
};

// gradient = slope * scale, and sums of the criterion's terms; `target(pixel, channel)` is what x is compared with.
template <class Criterion, class Target>
__device__ __forceinline__ void compare(const float* x, float* gradient, float* partial, int pixels, int channels,
                                        int x_stride, int gradient_stride, float scale, int run, int accumulate,
                                        Target target) {
  sum_run(partial, pixels, channels, run, [&](unsigned pixel, unsigned channel) {
    float slope;
    const float term = Criterion::term(x[at(pixel, x_stride, channel)], target(pixel, channel), slope);
    store(gradient + at(pixel, gradient_stride, channel), slope * scale, accumulate);
    return term;
  });
}

// Of (x - target)^2. x and gradient are [pixels, c], scale is the loss's weight divided by pixels * c, partial has one
// element for each block. Grid: ceil(pixels * c / run).
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
  compare<Square>(x, gradient, partial, pixels, channels, x_stride, gradient_stride, scale, run, accumulate,
                  [&](unsigned, unsigned) { return target; });
}
KERNEL(mse_loss);

// Of the cross-entropy of probabilities x, the rest as above.
extern "C" __global__ void __launch_bounds__(THREADS) bce_loss(
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
  compare<CrossEntropy>(x, gradient, partial, pixels, channels, x_stride, gradient_stride, scale, run, accumulate,
                        [&](unsigned, unsigned) { return target; });
}
KERNEL(bce_loss);

// Of the cross-entropy of sigmoid(x), the rest as above.
extern "C" __global__ void __launch_bounds__(THREADS) bce_logits_loss(
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
  compare<CrossEntropyOfLogit>(x, gradient, partial, pixels, channels, x_stride, gradient_stride, scale, run, accumulate,
                               [&](unsigned, unsigned) { return target; });
}
KERNEL(bce_logits_loss);

// Of |x - target|. x, target and gradient are [pixels, c], the rest as above.
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
  compare<Distance>(x, gradient, partial, pixels, channels, x_stride, gradient_stride, scale, run, accumulate,
                    [&](unsigned pixel, unsigned channel) { return target[at(pixel, target_stride, channel)]; });
}
KERNEL(l1_loss);

// Of (x - target)^2. x, target and gradient are [pixels, c], the rest as above.
extern "C" __global__ void __launch_bounds__(THREADS) l2_loss(
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
  compare<Square>(x, gradient, partial, pixels, channels, x_stride, gradient_stride, scale, run, accumulate,
                  [&](unsigned pixel, unsigned channel) { return target[at(pixel, target_stride, channel)]; });
}
KERNEL(l2_loss);

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
