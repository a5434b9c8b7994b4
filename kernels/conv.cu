// Convolution and its transpose: three kernels serve both directions of both (see src/engine/ops/conv/mod.rs).
//
// Weights are [s][kernel row][kernel column][b], s channels on the small grid and b on the big one. Tap (i, j) of small
// pixel (q, r) meets big pixel (q * stride + i * dilation - pad_top, r * stride + j * dilation - pad_left); outside of
// the big grid there are zeros.
//
// Each family has one body over a type of geometry: `Halving`, whose numbers the compiler knows, and `General`.
#include "index.cuh"

constexpr int THREADS = 256;

// 4x4, stride 2, padding 1: every convolution but the heads.
struct Halving {
  static constexpr int kernel_rows = 4, kernel_columns = 4, stride = 2, dilation = 1, pad_top = 1, pad_left = 1;
};

struct General {
  int kernel_rows, kernel_columns, stride, dilation, pad_top, pad_left;
};

// Sum of a[i] * b[i * step] for i < count: in runs, whose sums are then added, so that rounding stays small.
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

// small[q, s] = bias[s] + sum over taps and b of weight[s, tap, b] * big[q * stride + tap * dilation - pad, b]. One thread per
// element of `small`; the sum is one over b for each tap.
template <class Geometry>
__device__ __forceinline__ void down(Geometry g, const float* big, const float* weight, const float* bias, float* small,
                                     int images, int big_height, int big_width, int big_channels, int big_stride,
                                     int small_height, int small_width, int small_channels, int small_stride,
                                     int accumulate) {
  const unsigned element = thread_index();
  const unsigned pixel = element / small_channels, s = element % small_channels;
  const int column = pixel % small_width, row = pixel / small_width % small_height;
  const int image = pixel / small_width / small_height;
  if (image >= images) return;

  const float* filter = weight + size_t(s) * (g.kernel_rows * g.kernel_columns) * big_channels;
  float sum = bias ? bias[s] : 0.0f;
  for (int i = 0; i < g.kernel_rows; i++) {
    const int big_row = row * g.stride + i * g.dilation - g.pad_top;
    if (!inside(big_row, big_height)) continue;
    for (int j = 0; j < g.kernel_columns; j++) {
      const int big_column = column * g.stride + j * g.dilation - g.pad_left;
      if (!inside(big_column, big_width)) continue;
      const float* x = big + pixel_at(image, big_row, big_column, big_height, big_width, big_stride);
      sum += dot(x, filter + size_t(i * g.kernel_columns + j) * big_channels, 1, big_channels);
    }
  }
  store(small + at(pixel, small_stride, s), sum, accumulate);
}

// big[p, b] = bias[b] + sum over s and the taps at which a small q meets p of weight[s, tap, b] * small[q, s]. One
// thread per element of `big`. Not every tap meets a small pixel: with stride 2, even rows meet taps 1 and 3, odd ones 0
// and 2.
template <class Geometry>
__device__ __forceinline__ void up(Geometry g, const float* small, const float* weight, const float* bias, float* big,
                                   int images, int small_height, int small_width, int small_channels, int small_stride,
                                   int big_height, int big_width, int big_channels, int big_stride, int accumulate) {
  const unsigned element = thread_index();
  const unsigned pixel = element / big_channels, b = element % big_channels;
  const int column = pixel % big_width, row = pixel / big_width % big_height;
  const int image = pixel / big_width / big_height;
  if (image >= images) return;

  const int taps = g.kernel_rows * g.kernel_columns;
  const size_t filter = size_t(taps) * big_channels;
  float sum = bias ? bias[b] : 0.0f;
  for (int i = 0; i < g.kernel_rows; i++) {
    const int rows = row + g.pad_top - i * g.dilation, small_row = rows / g.stride;
    if (rows < 0 || rows % g.stride != 0 || small_row >= small_height) continue;
    for (int j = 0; j < g.kernel_columns; j++) {
      const int columns = column + g.pad_left - j * g.dilation, small_column = columns / g.stride;
      if (columns < 0 || columns % g.stride != 0 || small_column >= small_width) continue;
      const float* x = small + pixel_at(image, small_row, small_column, small_height, small_width, small_stride);
      sum += dot(x, weight + size_t(i * g.kernel_columns + j) * big_channels + b, filter, small_channels);
    }
  }
  store(big + at(pixel, big_stride, b), sum, accumulate);
}

// weight[s, tap, b] = sum over q of small[q, s] * big[q * stride + tap * dilation - pad, b]. One thread per element of `weight`;
// the sum is one over columns for each row of each image.
template <class Geometry>
__device__ __forceinline__ void wgrad(Geometry g, const float* small, const float* big, float* weight, int images,
                                      int small_height, int small_width, int small_channels, int small_stride,
                                      int big_height, int big_width, int big_channels, int big_stride, int accumulate) {
  const unsigned element = thread_index();
  const unsigned filter = element / big_channels, b = element % big_channels;
  const int j = filter % g.kernel_columns, i = filter / g.kernel_columns % g.kernel_rows;
  const int s = filter / g.kernel_columns / g.kernel_rows;
  if (s >= small_channels) return;

  float sum = 0.0f;
  for (int image = 0; image < images; image++) {
    for (int row = 0; row < small_height; row++) {
      const int big_row = row * g.stride + i * g.dilation - g.pad_top;
      if (!inside(big_row, big_height)) continue;
      const float* dy = small + pixel_at(image, row, 0, small_height, small_width, small_stride) + s;
      const float* x = big + pixel_at(image, big_row, 0, big_height, big_width, big_stride) + b;
      float run = 0.0f;
      for (int column = 0; column < small_width; column++, dy += small_stride) {
        const int big_column = column * g.stride + j * g.dilation - g.pad_left;
        if (inside(big_column, big_width)) run = fmaf(*dy, x[at(big_column, big_stride, 0)], run);
      }
      sum += run;
    }
  }
  store(weight + element, sum, accumulate);
}

// Convolution: big [n, h, w, b], weight [s, 4, 4, b], bias [s] or null -> small [n, h', w', s].
// Grid: ceil(n * h' * w' * s / 256).
extern "C" __global__ void __launch_bounds__(THREADS) conv_down_4x4s2(
    const float* __restrict__ big,
    const float* __restrict__ weight,
    const float* __restrict__ bias,
    float* small,
    int images,
    int big_height,
    int big_width,
    int big_channels,
    int big_stride,
    int small_height,
    int small_width,
    int small_channels,
    int small_stride,
    int accumulate) {
  down(Halving{}, big, weight, bias, small, images, big_height, big_width, big_channels, big_stride, small_height,
       small_width, small_channels, small_stride, accumulate);
}
KERNEL(conv_down_4x4s2);

// The same with a kernel, stride, dilation and padding of any size.
extern "C" __global__ void __launch_bounds__(THREADS) conv_down(
    const float* __restrict__ big,
    const float* __restrict__ weight,
    const float* __restrict__ bias,
    float* small,
    int images,
    int big_height,
    int big_width,
    int big_channels,
    int big_stride,
    int small_height,
    int small_width,
    int small_channels,
    int small_stride,
    int kernel_rows,
    int kernel_columns,
    int stride,
    int dilation,
    int pad_top,
    int pad_left,
    int accumulate) {
  const General geometry{kernel_rows, kernel_columns, stride, dilation, pad_top, pad_left};
  down(geometry, big, weight, bias, small, images, big_height, big_width, big_channels, big_stride, small_height,
       small_width, small_channels, small_stride, accumulate);
}
KERNEL(conv_down);

// Transposed convolution: small [n, h', w', s], weight [s, 4, 4, b], bias [b] or null -> big [n, h, w, b].
// Grid: ceil(n * h * w * b / 256).
extern "C" __global__ void __launch_bounds__(THREADS) conv_up_4x4s2(
    const float* __restrict__ small,
    const float* __restrict__ weight,
    const float* __restrict__ bias,
    float* big,
    int images,
    int small_height,
    int small_width,
    int small_channels,
    int small_stride,
    int big_height,
    int big_width,
    int big_channels,
    int big_stride,
    int accumulate) {
  up(Halving{}, small, weight, bias, big, images, small_height, small_width, small_channels, small_stride, big_height,
     big_width, big_channels, big_stride, accumulate);
}
KERNEL(conv_up_4x4s2);

// The same with a kernel, stride, dilation and padding of any size.
extern "C" __global__ void __launch_bounds__(THREADS) conv_up(
    const float* __restrict__ small,
    const float* __restrict__ weight,
    const float* __restrict__ bias,
    float* big,
    int images,
    int small_height,
    int small_width,
    int small_channels,
    int small_stride,
    int big_height,
    int big_width,
    int big_channels,
    int big_stride,
    int kernel_rows,
    int kernel_columns,
    int stride,
    int dilation,
    int pad_top,
    int pad_left,
    int accumulate) {
  const General geometry{kernel_rows, kernel_columns, stride, dilation, pad_top, pad_left};
  up(geometry, small, weight, bias, big, images, small_height, small_width, small_channels, small_stride, big_height,
     big_width, big_channels, big_stride, accumulate);
}
KERNEL(conv_up);

// Weight gradient of both: small [n, h', w', s], big [n, h, w, b] -> weight [s, 4, 4, b].
// Grid: ceil(s * 16 * b / 256).
extern "C" __global__ void __launch_bounds__(THREADS) conv_wgrad_4x4s2(
    const float* __restrict__ small,
    const float* __restrict__ big,
    float* weight,
    int images,
    int small_height,
    int small_width,
    int small_channels,
    int small_stride,
    int big_height,
    int big_width,
    int big_channels,
    int big_stride,
    int accumulate) {
  wgrad(Halving{}, small, big, weight, images, small_height, small_width, small_channels, small_stride, big_height,
        big_width, big_channels, big_stride, accumulate);
}
KERNEL(conv_wgrad_4x4s2);

// The same with a kernel, stride, dilation and padding of any size. Grid: ceil(s * kernel_rows * kernel_columns * b / 256).
extern "C" __global__ void __launch_bounds__(THREADS) conv_wgrad(
    const float* __restrict__ small,
    const float* __restrict__ big,
    float* weight,
    int images,
    int small_height,
    int small_width,
    int small_channels,
    int small_stride,
    int big_height,
    int big_width,
    int big_channels,
    int big_stride,
    int kernel_rows,
    int kernel_columns,
    int stride,
    int dilation,
    int pad_top,
    int pad_left,
    int accumulate) {
  const General geometry{kernel_rows, kernel_columns, stride, dilation, pad_top, pad_left};
  wgrad(geometry, small, big, weight, images, small_height, small_width, small_channels, small_stride, big_height,
        big_width, big_channels, big_stride, accumulate);
}
KERNEL(conv_wgrad);
