// One Adam update (Kingma and Ba, 2015), for the kernels that update parameters.
#pragma once
#include "control.cuh"
#include "index.cuh"

// Parameters with their moments, and the hyperparameters; t of the paper is control.step + 1.
struct AdamState {
  float* parameters;
  float* first;
  float* second;
  const Control* control;
  double beta1, beta2, epsilon;
};

// The scalars of an update, which are the same for all parameters.
struct AdamRule {
  float step_size, sqrt_bias_correction2, beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon;

  // One thread of the block computes the bias corrections for all, and puts them into `corrections`, two floats of
  // shared memory. All threads must call this.
  __device__ __forceinline__ AdamRule(const AdamState& state, float* corrections) {
    if (threadIdx.x == 0) {
      const double t = double(state.control->step + 1);
      corrections[0] = float(state.control->learning_rate / (1.0 - pow(state.beta1, t)));
      corrections[1] = float(sqrt(1.0 - pow(state.beta2, t)));
    }
    __syncthreads();
    step_size = corrections[0];
    sqrt_bias_correction2 = corrections[1];
    beta1 = float(state.beta1);
    one_minus_beta1 = float(1.0 - state.beta1);
    beta2 = float(state.beta2);
    one_minus_beta2 = float(1.0 - state.beta2);
    epsilon = float(state.epsilon);
  }

  // Updates one parameter and its moments by its gradient.
  __device__ __forceinline__ void update(float& parameter, float gradient, float& first, float& second) const {
    first = fmaf(gradient, one_minus_beta1, first * beta1);
    second = fmaf(gradient * gradient, one_minus_beta2, second * beta2);
    const float denominator = sqrtf(second) / sqrt_bias_correction2 + epsilon;
    parameter -= step_size * first / denominator;
  }

  // Updates four parameters, from element `at` on.
  __device__ __forceinline__ void update(const AdamState& state, size_t at, float4 gradient) const {
    float4 parameter = load_vector<float4>(state.parameters + at);
    float4 first = load_vector<float4>(state.first + at), second = load_vector<float4>(state.second + at);
    update(parameter.x, gradient.x, first.x, second.x);
    update(parameter.y, gradient.y, first.y, second.y);
    update(parameter.z, gradient.z, first.z, second.z);
    update(parameter.w, gradient.w, first.w, second.w);
    store_vector(state.first + at, first);
    store_vector(state.second + at, second);
    store_vector(state.parameters + at, parameter);
  }
};
