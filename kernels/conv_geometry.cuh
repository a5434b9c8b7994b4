// The geometry of a convolution, as src/engine/ops/conv/geometry.rs has it.
#pragma once
#include "index.cuh"

struct Geometry {
  int kernel_rows, kernel_columns, stride, dilation, pad_top, pad_left;
};
