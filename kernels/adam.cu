// Adam (Kingma and Ba, 2015) over flat buffers, and the step that ends a training step (see src/engine/ops/adam).
#include "control.cuh"
#include "index.cuh"

constexpr int THREADS = 256;

struct AdamUpdate {
  float* parameters;
  const float* gradients;
  float* first;
  float* second;
  const Control* control;
  int count;
  double beta1, beta2, epsilon;
};

// One Adam update of `count` parameters; t of the paper is control.step + 1. A grid-stride loop, so that a block
// computes the bias corrections once for many elements. Grid: any; a few thousand blocks at most.
KERNEL(adam_update, THREADS, AdamUpdate args) {
  STATIC_SMEM(float, corrections, [2]);
  if (threadIdx.x == 0) {
    const double t = double(args.control->step + 1);
    corrections[0] = float(args.control->learning_rate / (1.0 - pow(args.beta1, t)));
    corrections[1] = float(sqrt(1.0 - pow(args.beta2, t)));
  }
  __syncthreads();
  const float step_size = corrections[0], sqrt_bias_correction2 = corrections[1];
  const float beta1 = float(args.beta1), one_minus_beta1 = float(1.0 - args.beta1);
  const float beta2 = float(args.beta2), one_minus_beta2 = float(1.0 - args.beta2);
  const float epsilon = float(args.epsilon);

  for (unsigned i = thread_index(); i < unsigned(args.count); i += gridDim.x * THREADS) {
    const float gradient = args.gradients[i];
    const float first = fmaf(gradient, one_minus_beta1, args.first[i] * beta1);
    const float second = fmaf(gradient * gradient, one_minus_beta2, args.second[i] * beta2);
    args.first[i] = first;
    args.second[i] = second;
    const float denominator = sqrtf(second) / sqrt_bias_correction2 + epsilon;
    args.parameters[i] -= step_size * first / denominator;
  }
}

struct ControlAdvance {
  Control* control;
};

// Increments the step of the control values, at the end of a training step. Grid: 1.
KERNEL(control_advance, 1, ControlAdvance args) {
  args.control->step += 1;
}
