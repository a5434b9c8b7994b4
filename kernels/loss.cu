// Losses, fused with their gradients: one pass over the elements computes both (see src/engine/ops/loss).
//
// A block sums the terms of `run` consecutive elements, and the last block adds up these sums. `run` is the same on
// every GPU, so a loss has the same bits on all of them.
#include "index.cuh"
#include "mean.cuh"

constexpr int THREADS = 256;

// The sum of a block, of `visit(pixel, channel)` over the elements of the block's run.
template <class Visit>
__device__ __forceinline__ float sum_run(int pixels, int channels, int run, Visit visit) {
  STATIC_SMEM(float, sums, [THREADS]);
  const unsigned count = unsigned(pixels) * channels, first = blockIdx.x * run;
  float sum = 0.0f;
  for (unsigned element = first + threadIdx.x; element < min(count, first + run); element += THREADS) {
    sum += visit(element / channels, element % channels);
  }
  return block_sum<THREADS>(sum, sums);
}

// Criteria at one element x with target t: `term` returns the term of the sum, and in `derivative` its derivative by x.

// The squared error (x - t)^2.
struct Square {
  __device__ __forceinline__ static float term(float x, float t, float& derivative) {
    const float error = x - t;
    derivative = 2.0f * error;
    return __fmul_rn(error, error);
  }
};

// The absolute error |x - t|, with derivative 0 where they are equal.
struct Distance {
  __device__ __forceinline__ static float term(float x, float t, float& derivative) {
    const float error = x - t;
    derivative = error == 0.0f ? 0.0f : copysignf(1.0f, error);
    return fabsf(error);
  }
};

// The binary cross-entropy of a probability x, -(t ln x + (1 - t) ln(1 - x)): as in PyTorch the logarithms end at -100,
// and the derivative's divisor at 1e-12.
struct CrossEntropy {
  __device__ __forceinline__ static float term(float x, float t, float& derivative) {
    derivative = (x - t) / fmaxf((1.0f - x) * x, 1e-12f);
    return (t - 1.0f) * cut(log1pf(-x)) - t * cut(logf(x));
  }

  // The maximum of x and -100. Unlike fmaxf it keeps NaN.
  __device__ __forceinline__ static float cut(float x) {
    const float least = -100.0f;
    return x < least ? least : x;
  }
};

// The binary cross-entropy of sigmoid(x). It cannot overflow: the only exponential is exp(-|x|).
struct CrossEntropyOfLogit {
  __device__ __forceinline__ static float term(float x, float t, float& derivative) {
    const float small = expf(-fabsf(x));
    derivative = (x < 0.0f ? small : 1.0f) / (1.0f + small) - t;
    return fmaxf(x, 0.0f) - x * t + log1pf(small);
  }
};

// x and dx are [pixels, c], weight_per_element is the loss's weight / (pixels * c). The target of x is the number
// `target_value` or, for l1 and l2, the tensor `target`, [pixels, c].
struct LossGrad {
  const float* x;
  const float* target;
  float* dx;
  Mean mean;
  int pixels, channels, x_stride, target_stride, dx_stride;
  float target_value, weight_per_element;
  int run, accumulate;
};

// dx = derivative * weight_per_element, and the mean of the criterion's terms; the target of an element is
// `target(pixel, channel)`.
template <class Criterion, class Target>
__device__ __forceinline__ void compare(const LossGrad& args, Target target) {
  const float sum = sum_run(args.pixels, args.channels, args.run, [&](unsigned pixel, unsigned channel) {
    float derivative;
    const float term = Criterion::term(args.x[at(pixel, args.x_stride, channel)], target(pixel, channel), derivative);
    store(args.dx + at(pixel, args.dx_stride, channel), derivative * args.weight_per_element, args.accumulate);
    return term;
  });
  write_mean<THREADS>(args.mean, sum);
}

// Losses with a number as target. Grid: ceil(pixels * c / run).
template <class Criterion>
__device__ __forceinline__ void to_number(const LossGrad& args) {
  compare<Criterion>(args, [&](unsigned, unsigned) { return args.target_value; });
}
INSTANCE(mse_loss, THREADS, LossGrad, to_number<Square>);
INSTANCE(bce_loss, THREADS, LossGrad, to_number<CrossEntropy>);
INSTANCE(bce_logits_loss, THREADS, LossGrad, to_number<CrossEntropyOfLogit>);

// Losses with a tensor as target. Grid: ceil(pixels * c / run).
template <class Criterion>
__device__ __forceinline__ void to_tensor(const LossGrad& args) {
  compare<Criterion>(
      args, [&](unsigned pixel, unsigned channel) { return args.target[at(pixel, args.target_stride, channel)]; });
}
INSTANCE(l1_loss, THREADS, LossGrad, to_tensor<Distance>);
INSTANCE(l2_loss, THREADS, LossGrad, to_tensor<Square>);
