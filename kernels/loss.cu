// Losses, fused with their gradients: one pass computes the value and what flows back from it (see
// src/engine/ops/loss).
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

// A criterion at one element x and its target t: the term of the sum, and in `slope` its derivative by x.

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

// x and gradient are [pixels, c], weight_per_element is the loss's weight / (pixels * c), partial has one element for each
// block. The target of x is the number `target` or, for l1 and l2, the tensor `targets`, [pixels, c].
struct LossGradient {
  const float* x;
  const float* targets;
  float* gradient;
  float* partial;
  int pixels, channels, x_stride, targets_stride, gradient_stride;
  float target, weight_per_element;
  int run, accumulate;
};

// gradient = slope * weight_per_element, and sums of the criterion's terms; `target(pixel, channel)` is what x is compared with.
template <class Criterion, class Target>
__device__ __forceinline__ void compare(const LossGradient& args, Target target) {
  sum_run(args.partial, args.pixels, args.channels, args.run, [&](unsigned pixel, unsigned channel) {
    float slope;
    const float term = Criterion::term(args.x[at(pixel, args.x_stride, channel)], target(pixel, channel), slope);
    store(args.gradient + at(pixel, args.gradient_stride, channel), slope * args.weight_per_element, args.accumulate);
    return term;
  });
}

// Against a number. Grid: ceil(pixels * c / run).
template <class Criterion>
__device__ __forceinline__ void to_number(const LossGradient& args) {
  compare<Criterion>(args, [&](unsigned, unsigned) { return args.target; });
}
INSTANCE(mse_loss, THREADS, LossGradient, to_number<Square>);
INSTANCE(bce_loss, THREADS, LossGradient, to_number<CrossEntropy>);
INSTANCE(bce_logits_loss, THREADS, LossGradient, to_number<CrossEntropyOfLogit>);

// Against a tensor. Grid: ceil(pixels * c / run).
template <class Criterion>
__device__ __forceinline__ void to_tensor(const LossGradient& args) {
  compare<Criterion>(args, [&](unsigned pixel, unsigned channel) {
    return args.targets[at(pixel, args.targets_stride, channel)];
  });
}
INSTANCE(l1_loss, THREADS, LossGradient, to_tensor<Distance>);
INSTANCE(l2_loss, THREADS, LossGradient, to_tensor<Square>);

struct LossFinish {
  const float* partial;
  float* value;
  int partials;
  double count;
};

// value = the sum of `partials` elements of partial / count, added up in f64. Grid: 1.
KERNEL(loss_finish, THREADS, LossFinish args) {
  STATIC_SMEM(double, sums, [THREADS]);
  double sum = 0.0;
  for (int i = threadIdx.x; i < args.partials; i += THREADS) sum += double(args.partial[i]);
  const double total = block_sum(sum, sums);
  if (threadIdx.x == 0) *args.value = float(total / args.count);
}
