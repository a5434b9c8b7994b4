// Convolution: fprop, dgrad and wgrad. They serve the transposed convolution too, whose forward pass is dgrad and whose
// input gradient is fprop (see src/engine/ops/conv/mod.rs).
//
// Weights are [k][kernel row][kernel column][c], c channels of x and k of y. Tap (i, j) of y's pixel (row, column)
// reads x's pixel (row * stride + i * dilation - pad_top, column * stride + j * dilation - pad_left); outside of x
// there are zeros.
//
// Each kernel is a template over its geometry: `Halving`, whose sizes are compile-time constants, or `Geometry`.
#include "conv_geometry.cuh"

constexpr int THREADS = 256;

// 4x4, stride 2, padding 1: every convolution but the heads.
struct Halving {
  static constexpr int kernel_rows = 4, kernel_columns = 4, stride = 2, dilation = 1, pad_top = 1, pad_left = 1;
  __device__ __forceinline__ explicit Halving(const Geometry&) {}
};

// The dot product of a[i] and b[i * step], i < count. Partial sums of RUN terms keep the rounding error small.
__device__ __forceinline__ float dot(const float* a, const float* b, size_t step, int count) {
  constexpr int RUN = 128;
  float total = 0.0f;
  for (int start = 0; start < count; start += RUN) {
    float run = 0.0f;
    for (int i = start; i < min(count, start + RUN); i++, b += step) run = fmaf(a[i], *b, run);
    total += run;
  }
  return total;
}

// fprop: y[q, k] = bias[k] + sum over taps and c of weight[k, tap, c] * x[q * stride + tap * dilation - pad, c]. One
// thread per element of y, which sums over c for each tap. Grid: ceil(n * h' * w' * k / 256).
template <class G>
__device__ __forceinline__ void conv_fprop(const ConvFprop& args) {
  const G g(args.geometry);
  const Shape x_shape = args.x_shape, y_shape = args.y_shape;
  const unsigned element = thread_index();
  const unsigned pixel = element / y_shape.channels, k = element % y_shape.channels;
  const int column = pixel % y_shape.width, row = pixel / y_shape.width % y_shape.height;
  const int image = pixel / y_shape.width / y_shape.height;
  if (image >= y_shape.images) return;

  const float* filter = args.weight + size_t(k) * (g.kernel_rows * g.kernel_columns) * x_shape.channels;
  float sum = args.bias ? args.bias[k] : 0.0f;
  for (int i = 0; i < g.kernel_rows; i++) {
    const int x_row = row * g.stride + i * g.dilation - g.pad_top;
    if (!inside(x_row, x_shape.height)) continue;
    for (int j = 0; j < g.kernel_columns; j++) {
      const int x_column = column * g.stride + j * g.dilation - g.pad_left;
      if (!inside(x_column, x_shape.width)) continue;
      const float* x = args.x + pixel_at(image, x_row, x_column, x_shape);
      sum += dot(x, filter + size_t(i * g.kernel_columns + j) * x_shape.channels, 1, x_shape.channels);
    }
  }
  const int pixels = y_shape.height * y_shape.width;
  sum = finished(args.epilogue, sum, image, int(pixel) - image * pixels, pixels, k);
  store(args.y + at(pixel, y_shape.stride, k), sum, args.accumulate);
}
INSTANCE(conv_fprop_4x4s2, THREADS, ConvFprop, conv_fprop<Halving>);
INSTANCE(conv_fprop_any, THREADS, ConvFprop, conv_fprop<Geometry>);

// dgrad: dx[p, c] = bias[c] + sum over k and the taps at which a pixel q of dy reads p of weight[k, tap, c] * dy[q, k].
// One thread per element of dx. Not every tap meets a pixel of dy: with stride 2, even rows meet taps 1 and 3, odd ones
// 0 and 2. Grid: ceil(n * h * w * c / 256).
template <class G>
__device__ __forceinline__ void conv_dgrad(const ConvDgrad& args) {
  const G g(args.geometry);
  const Shape dy_shape = args.dy_shape, dx_shape = args.dx_shape;
  const unsigned element = thread_index();
  const unsigned pixel = element / dx_shape.channels, c = element % dx_shape.channels;
  const int column = pixel % dx_shape.width, row = pixel / dx_shape.width % dx_shape.height;
  const int image = pixel / dx_shape.width / dx_shape.height;
  if (image >= dx_shape.images) return;

  const int taps = g.kernel_rows * g.kernel_columns;
  const size_t k_stride = size_t(taps) * args.weight_stride;
  float sum = args.bias ? args.bias[c] : 0.0f;
  for (int i = 0; i < g.kernel_rows; i++) {
    const int rows = row + g.pad_top - i * g.dilation, dy_row = rows / g.stride;
    if (rows < 0 || rows % g.stride != 0 || dy_row >= dy_shape.height) continue;
    for (int j = 0; j < g.kernel_columns; j++) {
      const int columns = column + g.pad_left - j * g.dilation, dy_column = columns / g.stride;
      if (columns < 0 || columns % g.stride != 0 || dy_column >= dy_shape.width) continue;
      const float* dy = args.dy + pixel_at(image, dy_row, dy_column, dy_shape);
      const float* weight = args.weight + size_t(i * g.kernel_columns + j) * args.weight_stride + c;
      sum += dot(dy, weight, k_stride, dy_shape.channels);
    }
  }
  const int pixels = dx_shape.height * dx_shape.width;
  sum = finished(args.epilogue, sum, image, int(pixel) - image * pixels, pixels, c);
  store(args.dx + at(pixel, dx_shape.stride, c), sum, args.accumulate);
}
INSTANCE(conv_dgrad_4x4s2, THREADS, ConvDgrad, conv_dgrad<Halving>);
INSTANCE(conv_dgrad_any, THREADS, ConvDgrad, conv_dgrad<Geometry>);

// Shapes: x [n, h, w, c], dy [n, h', w', k], dw [k, rows, columns, c].
struct ConvWgrad {
  const float* x;
  const float* dy;
  float* dw;
  Shape x_shape, dy_shape;
  Geometry geometry;
  int accumulate;
};

// wgrad: dw[k, tap, c] = sum over q of dy[q, k] * x[q * stride + tap * dilation - pad, c]. One thread per element of
// dw, which sums over the columns of each row of each image. Grid: ceil(k * rows * columns * c / 256).
template <class G>
__device__ __forceinline__ void conv_wgrad(const ConvWgrad& args) {
  const G g(args.geometry);
  const Shape x_shape = args.x_shape, dy_shape = args.dy_shape;
  const unsigned element = thread_index();
  const unsigned k_tap = element / x_shape.channels, c = element % x_shape.channels;
  const int j = k_tap % g.kernel_columns, i = k_tap / g.kernel_columns % g.kernel_rows;
  const int k = k_tap / g.kernel_columns / g.kernel_rows;
  if (k >= dy_shape.channels) return;

  float sum = 0.0f;
  for (int image = 0; image < dy_shape.images; image++) {
    for (int row = 0; row < dy_shape.height; row++) {
      const int x_row = row * g.stride + i * g.dilation - g.pad_top;
      if (!inside(x_row, x_shape.height)) continue;
      const float* dy = args.dy + pixel_at(image, row, 0, dy_shape) + k;
      const float* x = args.x + pixel_at(image, x_row, 0, x_shape) + c;
      float run = 0.0f;
      for (int column = 0; column < dy_shape.width; column++, dy += dy_shape.stride) {
        const int x_column = column * g.stride + j * g.dilation - g.pad_left;
        if (inside(x_column, x_shape.width)) run = fmaf(*dy, x[at(x_column, x_shape.stride, 0)], run);
      }
      sum += run;
    }
  }
  store(args.dw + element, sum, args.accumulate);
}
INSTANCE(conv_wgrad_4x4s2, THREADS, ConvWgrad, conv_wgrad<Halving>);
INSTANCE(conv_wgrad_any, THREADS, ConvWgrad, conv_wgrad<Geometry>);
