// Losses, fused with their gradients: one pass over the elements computes both (see src/engine/ops/loss).
//
// A block sums the terms of `run` consecutive elements, and the last block adds up these sums. `run` is the same on
// every GPU, so a loss has the same bits on all of them.
#include "index.cuh"
#include "mean.cuh"

constexpr int THREADS = 256;

// The sum of block `block`, of `visit(pixel, channel)` over the elements of its run.
template <class Visit>
__device__ __forceinline__ float sum_run(int pixels, int channels, int run, unsigned block, Visit visit) {
  STATIC_SMEM(float, sums, [THREADS]);
  const unsigned count = unsigned(pixels) * channels, first = block * run;
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
// `target(pixel, channel)`. This is block `block` of the `blocks` of the loss.
template <class Criterion, class Target>
__device__ __forceinline__ void compare(const LossGrad& args, unsigned block, unsigned blocks, Target target) {
  const float sum = sum_run(args.pixels, args.channels, args.run, block, [&](unsigned pixel, unsigned channel) {
    float derivative;
    const float term = Criterion::term(args.x[at(pixel, args.x_stride, channel)], target(pixel, channel), derivative);
    store(args.dx + at(pixel, args.dx_stride, channel), derivative * args.weight_per_element, args.accumulate);
    return term;
  });
  write_mean<THREADS>(args.mean, sum, block, blocks);
}

// A loss with a number as target.
template <class Criterion>
__device__ __forceinline__ void to_number(const LossGrad& args, unsigned block, unsigned blocks) {
  compare<Criterion>(args, block, blocks, [&](unsigned, unsigned) { return args.target_value; });
}

// A loss with a tensor as target.
template <class Criterion>
__device__ __forceinline__ void to_tensor(const LossGrad& args, unsigned block, unsigned blocks) {
  compare<Criterion>(args, block, blocks, [&](unsigned pixel, unsigned channel) {
    return args.target[at(pixel, args.target_stride, channel)];
  });
}

// One loss. Grid: ceil(pixels * c / run).
KERNEL(mse_loss, THREADS, LossGrad args) { to_number<Square>(args, blockIdx.x, gridDim.x); }
KERNEL(bce_loss, THREADS, LossGrad args) { to_number<CrossEntropy>(args, blockIdx.x, gridDim.x); }
KERNEL(bce_logits_loss, THREADS, LossGrad args) { to_number<CrossEntropyOfLogit>(args, blockIdx.x, gridDim.x); }
KERNEL(l1_loss, THREADS, LossGrad args) { to_tensor<Distance>(args, blockIdx.x, gridDim.x); }
KERNEL(l2_loss, THREADS, LossGrad args) { to_tensor<Square>(args, blockIdx.x, gridDim.x); }

// The most losses of a launch.
constexpr int LOSSES = 16;

// The numbers of the criteria.
constexpr int MSE = 0, BCE = 1, BCE_LOGITS = 2, L1 = 3, L2 = 4;

// A loss, its criterion, and its blocks among those of a launch.
struct LossSegment {
  LossGrad loss;
  int criterion, first_block, blocks;
};

struct LossesGrad {
  LossSegment segments[LOSSES];
  int count;  // losses
};

// Several losses, each as its own kernel computes it. Grid: the blocks of all of them.
KERNEL(losses_grad, THREADS, LossesGrad args) {
  int index = 0;
  while (index + 1 < args.count && int(blockIdx.x) >= args.segments[index + 1].first_block) index++;
  const LossSegment segment = args.segments[index];
  const unsigned block = blockIdx.x - segment.first_block, blocks = segment.blocks;
  switch (segment.criterion) {
    case MSE:
      return to_number<Square>(segment.loss, block, blocks);
    case BCE:
      return to_number<CrossEntropy>(segment.loss, block, blocks);
    case BCE_LOGITS:
      return to_number<CrossEntropyOfLogit>(segment.loss, block, blocks);
    case L1:
      return to_tensor<Distance>(segment.loss, block, blocks);
    case L2:
      return to_tensor<Square>(segment.loss, block, blocks);
  }
}
