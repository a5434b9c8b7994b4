// The activations tanh and logistic sigmoid: their values, and their derivatives as functions of the output y.
#pragma once
#include "prelude.cuh"

struct Tanh {
  __device__ __forceinline__ static float value(float x) { return tanhf(x); }
  __device__ __forceinline__ static float derivative(float y) { return fmaf(-y, y, 1.0f); }
};

struct Sigmoid {
  __device__ __forceinline__ static float value(float x) { return 1.0f / (1.0f + expf(-x)); }
  __device__ __forceinline__ static float derivative(float y) { return y * (1.0f - y); }
};
