// The geometry of a convolution, as src/engine/ops/conv/geometry.rs has it, and the arguments of fprop and dgrad.
#pragma once
#include "index.cuh"

struct Geometry {
  int kernel_rows, kernel_columns, stride, dilation, pad_top, pad_left;
};

// The epilogue, a function of the result that is written in its place: the result itself; its activation, if
// `activates`; or, if `y` is not null, the gradient of an activation's input, (addend + result) * activation'(y), where
// y is that activation's output. y has the result's height and width, and `y_images` images: image i of the result
// belongs to image i % y_images. The addend, null for none, has the result's shape.
struct Epilogue {
  const float* y;
  const float* addend;
  int y_images, y_stride, addend_stride, activates;
  float negative_slope;
};

// `value`, element (image, pixel of the image, channel) of a result of `pixels` pixels an image, as it is written.
__device__ __forceinline__ float finished(const Epilogue& epilogue, float value, int image, int pixel, int pixels,
                                          int channel) {
  if (epilogue.activates) return value > 0.0f ? value : value * epilogue.negative_slope;
  if (!epilogue.y) return value;
  if (epilogue.addend) {
    value = __fadd_rn(epilogue.addend[at(image * pixels + pixel, epilogue.addend_stride, channel)], value);
  }
  const int y_pixel = image % epilogue.y_images * pixels + pixel;
  return epilogue.y[at(y_pixel, epilogue.y_stride, channel)] > 0.0f ? value : value * epilogue.negative_slope;
}

// x [n, h, w, c], weight [k, rows, columns, c], bias [k] or null, y [n, h', w', k].
struct ConvFprop {
  const float* x;
  const float* weight;
  const float* bias;
  float* y;
  Shape x_shape, y_shape;
  Geometry geometry;
  Epilogue epilogue;
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
  Epilogue epilogue;
  int weight_stride, accumulate;
};
