// Average pooling that halves an image: 3x3 windows, stride 2, padding 1, the padding left out of the count (see
// src/engine/ops/pool).
#include "index.cuh"

constexpr int THREADS = 256;

// Along one side of `size` pixels: the first input of output `output`, and the one behind its last.
__device__ __forceinline__ int window_begin(int output) { return max(2 * output - 1, 0); }
__device__ __forceinline__ int window_end(int output, int size) { return min(2 * output + 2, size); }

struct AvgPoolForward {
  const float* x;
  float* y;
  Shape x_shape, y_shape;
};

// y[n, i, j, c] = the mean of x over the window of (i, j). One thread per element of y; grid:
// ceil(n * rows * columns * c / 256).
KERNEL(avg_pool_forward, THREADS, AvgPoolForward args) {
  const Shape x = args.x_shape, y = args.y_shape;
  const unsigned element = thread_index(), pixel = element / y.channels, channel = element % y.channels;
  if (pixel >= unsigned(y.images * y.height * y.width)) return;
  const int column = pixel % y.width, row = pixel / y.width % y.height, image = pixel / y.width / y.height;
  const int top = window_begin(row), bottom = window_end(row, x.height);
  const int left = window_begin(column), right = window_end(column, x.width);
  float sum = 0.0f;
  for (int i = top; i < bottom; i++) {
    for (int j = left; j < right; j++) sum += args.x[pixel_at(image, i, j, x) + channel];
  }
  args.y[at(pixel, y.stride, channel)] = sum * (1.0f / float((bottom - top) * (right - left)));
}

struct AvgPoolGrad {
  const float* dy;
  float* dx;
  Shape dy_shape, dx_shape;
  int accumulate;
};

// dx[n, i, j, c] = the sum over the windows that (i, j) lies in of dy / their pixels. One thread per element of dx;
// grid: ceil(n * h * w * c / 256).
KERNEL(avg_pool_grad, THREADS, AvgPoolGrad args) {
  const Shape dx = args.dx_shape, dy = args.dy_shape;
  const unsigned element = thread_index(), pixel = element / dx.channels, channel = element % dx.channels;
  if (pixel >= unsigned(dx.images * dx.height * dx.width)) return;
  const int column = pixel % dx.width, row = pixel / dx.width % dx.height, image = pixel / dx.width / dx.height;
  float sum = 0.0f;
  for (int i = row / 2; i < min((row + 1) / 2 + 1, dy.height); i++) {
    for (int j = column / 2; j < min((column + 1) / 2 + 1, dy.width); j++) {
      const int rows = window_end(i, dx.height) - window_begin(i);
      const int columns = window_end(j, dx.width) - window_begin(j);
      sum += args.dy[pixel_at(image, i, j, dy) + channel] * (1.0f / float(rows * columns));
    }
  }
  store(args.dx + at(pixel, dx.stride, channel), sum, args.accumulate);
}
