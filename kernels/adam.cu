// Adam (Kingma and Ba, 2015) over flat buffers, and the step that ends an execution (see src/ops/adam).
#include "control.cuh"
#include "index.cuh"

constexpr int THREADS = 256;

// One update of `count` parameters; the number of the update is the control's step + 1. Each thread takes every
// (threads of the grid)-th element, so that a block computes the powers once for many. Grid: any; a few thousand blocks
// at most.
extern "C" __global__ void __launch_bounds__(THREADS) adam_update(
    float* __restrict__ parameters,
    const float* __restrict__ gradients,
    float* __restrict__ first,
    float* __restrict__ second,
    const Control* __restrict__ control,
    int count,
    double beta1,
    double beta2,
    double epsilon) {
  STATIC_SMEM(float, corrections, [2]);
  if (threadIdx.x == 0) {
    const double update = double(control->step + 1);
    corrections[0] = float(control->learning_rate / (1.0 - pow(beta1, update)));
    corrections[1] = float(sqrt(1.0 - pow(beta2, update)));
  }
  __syncthreads();
  const float step_size = corrections[0], root_correction = corrections[1];
  const float keep1 = float(beta1), take1 = float(1.0 - beta1);
  const float keep2 = float(beta2), take2 = float(1.0 - beta2);
  const float margin = float(epsilon);

  for (unsigned i = thread_index(); i < unsigned(count); i += gridDim.x * THREADS) {
    const float gradient = gradients[i];
    const float mean = fmaf(gradient, take1, first[i] * keep1);
    const float square = fmaf(gradient * gradient, take2, second[i] * keep2);
    first[i] = mean;
    second[i] = square;
    const float denominator = sqrtf(square) / root_correction + margin;
    parameters[i] -= step_size * mean / denominator;
  }
}
KERNEL(adam_update);

// Ends an execution: the next one is the next step. Grid: 1.
extern "C" __global__ void __launch_bounds__(1) control_advance(
    Control* control) {
  control->step += 1;
}
KERNEL(control_advance);
