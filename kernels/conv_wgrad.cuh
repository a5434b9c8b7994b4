// Weight gradients whose tiles several blocks share, to be written or to update the parameters.
#pragma once
#include "adam.cuh"
#include "conv_geometry.cuh"
#include "tickets.cuh"

// x [n, h, w, c], dy [n, h', w', k]. `shares` blocks share a tile of the gradient, each with a part of the pixels;
// `sums` and `tickets` are as add_shares needs them for each tile.
struct ConvWgradShared {
  const float* x;
  const float* dy;
  float* sums;
  unsigned* tickets;
  Shape x_shape, dy_shape;
  Geometry geometry;
  int shares;
};

// The gradient goes to dweight, [k, rows, columns, c].
struct ConvWgradGrad {
  ConvWgradShared wgrad;
  float* dweight;
  int accumulate;
};

// The gradient updates parameters and moments, each [k, rows, columns, c].
struct ConvWgradAdam {
  ConvWgradShared wgrad;
  AdamState state;
};

// Writes four values of the gradient from element `offset` on, or adds them to what is there.
__device__ __forceinline__ void write_gradient(const ConvWgradGrad& args, size_t offset, float4 value) {
  float* const to = args.dweight + offset;
  store_vector(to, args.accumulate ? add_rounded(load_vector<float4>(to), value) : value);
}
