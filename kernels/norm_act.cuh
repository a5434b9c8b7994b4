// Instance normalisation, activation and dropout: what all kernels of src/engine/ops/norm_act take.
#pragma once
#include "index.cuh"
#include "philox.cuh"

// Epsilon of the norm, added to the variance before its root is taken.
constexpr float EPSILON = 1e-5f;

// x and y are [n, pixels, c], gain and bias [c] or null, mean_rstd [n, 2, c]: the mean of each channel of each image,
// and 1 / sqrt(biased variance + EPSILON), or null without norm. `skip` is null, or a second output of the shape of y,
// the activation of slope `skip_slope` of y.
struct NormActForward {
  const float* x;
  const float* gain;
  const float* bias;
  float* y;
  float* mean_rstd;
  int pixels, channels, x_stride, y_stride, norm;
  float negative_slope;
  DropoutDraw dropout;
  float* skip;
  int skip_stride;
  float skip_slope;
};

// dy and dx are [n, pixels, c], x, which is y without norm, has `x_images` images, and image i of dy belongs to image
// i % x_images of x; dgain and dbias, the gradients of gain and bias by image, are [n, c], or null without affine;
// `skip` is the gradient of the second output, or null. The rest as in NormActForward.
struct NormActGrad {
  const float* x;
  const float* dy;
  const float* mean_rstd;
  const float* gain;
  const float* bias;
  float* dx;
  float* dgain;
  float* dbias;
  int x_images, pixels, channels, x_stride, dy_stride, dx_stride, norm;
  float negative_slope;
  DropoutDraw dropout;
  int accumulate;
  const float* skip;
  int skip_stride;
  float skip_slope;
};
