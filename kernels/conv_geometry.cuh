// The geometry of a convolution, as src/engine/ops/conv/geometry.rs has it, and the arguments of fprop and dgrad.
#pragma once
#include "index.cuh"

struct Geometry {
  int kernel_rows, kernel_columns, stride, dilation, pad_top, pad_left;
};

// x [n, h, w, c], weight [k, rows, columns, c], bias [k] or null, y [n, h', w', k].
struct ConvFprop {
  const float* x;
  const float* weight;
  const float* bias;
  float* y;
  Shape x_shape, y_shape;
  Geometry geometry;
  int accumulate;
};

// dy [n, h', w', k], weight [k, rows, columns, c] with `weight_stride` floats from one tap to the next, bias [c] or
// null, dx [n, h, w, c].
struct ConvDgrad {
  const float* dy;
  const float* weight;
  const float* bias;
  float* dx;
  Shape dy_shape, dx_shape;
  Geometry geometry;
  int weight_stride, accumulate;
};
