// The SSIM loss and its gradient (see src/engine/ops/loss/ssim, which has the formulas).
#include "index.cuh"
#include "mean.cuh"

constexpr int THREADS = 256;
constexpr int WINDOW = 11;
// Derivatives of a window's similarity: by the means of x, x^2 and x t.
constexpr int DERIVATIVES = 3;
constexpr float C1 = 0.0004f, C2 = 0.0036f;

// The Gaussian of deviation 1.5 along one side; those of both sides multiply.
__device__ __forceinline__ float weight(int index) {
  constexpr float WEIGHTS[WINDOW] = {1.028380084e-03f, 7.598758135e-03f, 3.600077213e-02f, 1.093606895e-01f,
                                     2.130055377e-01f, 2.660117249e-01f, 2.130055377e-01f, 1.093606895e-01f,
                                     3.600077213e-02f, 7.598758135e-03f, 1.028380084e-03f};
  return WEIGHTS[index];
}

struct SsimWindows {
  const float* x;
  const float* target;
  float* derivatives;
  Mean mean;
  Shape x_shape;
  int target_stride;
};

// Of each window of x and target, [n, h, w, c], the derivatives of its similarity: derivatives is [n, h - 10, w - 10,
// c, 3]; and the sum of 1 - similarity of the block's windows. One thread per window and channel; grid: ceil(n * (h -
// 10) * (w - 10) * c / 256).
KERNEL(ssim_windows, THREADS, SsimWindows args) {
  STATIC_SMEM(float, sums, [THREADS]);
  const Shape shape = args.x_shape;
  const int rows = shape.height - (WINDOW - 1), columns = shape.width - (WINDOW - 1);
  const unsigned element = thread_index(), window = element / shape.channels, channel = element % shape.channels;
  float distance = 0.0f;
  if (window < unsigned(shape.images * rows * columns)) {
    const int column = window % columns, row = window / columns % rows, image = window / columns / rows;
    float mean_x = 0.0f, mean_t = 0.0f, xx = 0.0f, tt = 0.0f, xt = 0.0f;
    for (int i = 0; i < WINDOW; i++) {
      for (int j = 0; j < WINDOW; j++) {
        const unsigned pixel = (image * shape.height + row + i) * shape.width + column + j;
        const float x = args.x[at(pixel, shape.stride, channel)];
        const float t = args.target[at(pixel, args.target_stride, channel)];
        const float w = weight(i) * weight(j);
        mean_x += w * x;
        mean_t += w * t;
        xx += w * (x * x);
        tt += w * (t * t);
        xt += w * (x * t);
      }
    }
    const float a = 2.0f * mean_x * mean_t + C1, b = 2.0f * (xt - mean_x * mean_t) + C2;
    const float c = mean_x * mean_x + mean_t * mean_t + C1;
    const float d = xx - mean_x * mean_x + tt - mean_t * mean_t + C2;
    const float similarity = a * b / (c * d);
    float* const derivatives = args.derivatives + size_t(element) * DERIVATIVES;
    derivatives[0] = 2.0f * mean_t * (b - a) / (c * d) + 2.0f * mean_x * (similarity / d - similarity / c);
    derivatives[1] = -similarity / d;
    derivatives[2] = 2.0f * a / (c * d);
    distance = 1.0f - similarity;
  }
  write_mean<THREADS>(args.mean, block_sum<THREADS>(distance, sums), blockIdx.x, gridDim.x);
}

struct SsimGrad {
  const float* x;
  const float* target;
  const float* derivatives;
  float* dx;
  Shape x_shape;
  int target_stride, dx_stride;
  float weight_per_window;
  int accumulate;
};

// dx[p] = -weight_per_window * the sum over the windows q that p lies in of weight(p - q) times
// (derivatives[q][0] + 2 x[p] derivatives[q][1] + target[p] derivatives[q][2]). One thread per element of x; grid:
// ceil(n * h * w * c / 256).
KERNEL(ssim_grad, THREADS, SsimGrad args) {
  const Shape shape = args.x_shape;
  const int rows = shape.height - (WINDOW - 1), columns = shape.width - (WINDOW - 1);
  const unsigned element = thread_index(), pixel = element / shape.channels, channel = element % shape.channels;
  if (pixel >= unsigned(shape.images * shape.height * shape.width)) return;
  const int column = pixel % shape.width, row = pixel / shape.width % shape.height;
  const int image = pixel / shape.width / shape.height;
  float dm = 0.0f, dxx = 0.0f, dxt = 0.0f;
  for (int i = max(row - (WINDOW - 1), 0); i <= min(row, rows - 1); i++) {
    for (int j = max(column - (WINDOW - 1), 0); j <= min(column, columns - 1); j++) {
      const size_t window = (size_t(image) * rows + i) * columns + j;
      const float* const derivatives = args.derivatives + (window * shape.channels + channel) * DERIVATIVES;
      const float w = weight(row - i) * weight(column - j);
      dm += w * derivatives[0];
      dxx += w * derivatives[1];
      dxt += w * derivatives[2];
    }
  }
  const float x = args.x[at(pixel, shape.stride, channel)], t = args.target[at(pixel, args.target_stride, channel)];
  const float gradient = -args.weight_per_window * (dm + 2.0f * x * dxx + t * dxt);
  store(args.dx + at(pixel, args.dx_stride, channel), gradient, args.accumulate);
}
