// Adam (Kingma and Ba, 2015) over flat buffers, and the step that ends an execution (see src/engine/ops/adam).
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

// One update of `count` parameters; the number of the update is the control's step + 1. Each thread takes every
// (threads of the grid)-th element, so that a block computes the powers once for many. Grid: any; a few thousand blocks
// at most.
KERNEL(adam_update, THREADS, AdamUpdate args) {
  STATIC_SMEM(float, corrections, [2]);
  if (threadIdx.x == 0) {
    const double update = double(args.control->step + 1);
    corrections[0] = float(args.control->learning_rate / (1.0 - pow(args.beta1, update)));
    corrections[1] = float(sqrt(1.0 - pow(args.beta2, update)));
  }
  __syncthreads();
  const float step_size = corrections[0], root_correction = corrections[1];
  const float keep1 = float(args.beta1), take1 = float(1.0 - args.beta1);
  const float keep2 = float(args.beta2), take2 = float(1.0 - args.beta2);
  const float margin = float(args.epsilon);

  for (unsigned i = thread_index(); i < unsigned(args.count); i += gridDim.x * THREADS) {
    const float gradient = args.gradients[i];
    const float mean = fmaf(gradient, take1, args.first[i] * keep1);
    const float square = fmaf(gradient * gradient, take2, args.second[i] * keep2);
    args.first[i] = mean;
    args.second[i] = square;
    const float denominator = sqrtf(square) / root_correction + margin;
    args.parameters[i] -= step_size * mean / denominator;
  }
}

struct ControlAdvance {
  Control* control;
};

// Ends an execution: the next one is the next step. Grid: 1.
KERNEL(control_advance, 1, ControlAdvance args) {
  args.control->step += 1;
}
