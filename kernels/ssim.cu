// The SSIM loss and its gradient (see src/engine/ops/ssim, which has the formulas).
#include "block_sum.cuh"
#include "index.cuh"

constexpr int THREADS = 256;
constexpr int WINDOW = 11;
// Derivatives of a window's similarity: by the means of x, x^2 and x t.
constexpr int SLOPES = 3;
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
  float* slopes;
  float* partial;
  Shape x_shape;
  int target_stride;
};

// Of each window of x and target, [n, h, w, c], the derivatives of its similarity: slopes is [n, h - 10, w - 10, c, 3];
// and the sum of 1 - similarity of the block's windows. One thread per window and channel; grid:
// ceil(n * (h - 10) * (w - 10) * c / 256).
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
    float* const slopes = args.slopes + size_t(element) * SLOPES;
    slopes[0] = 2.0f * mean_t * (b - a) / (c * d) + 2.0f * mean_x * (similarity / d - similarity / c);
    slopes[1] = -similarity / d;
    slopes[2] = 2.0f * a / (c * d);
    distance = 1.0f - similarity;
  }
  const float total = block_sum<THREADS>(distance, sums);
  if (threadIdx.x == 0) args.partial[blockIdx.x] = total;
}

struct SsimGradient {
  const float* x;
  const float* target;
  const float* slopes;
  float* gradient;
  Shape x_shape;
  int target_stride, gradient_stride;
  float factor;
  int accumulate;
};

// gradient[p] = factor * the sum over the windows q that p lies in of weight(p - q) times
// (slopes[q][0] + 2 x[p] slopes[q][1] + target[p] slopes[q][2]). One thread per element of x; grid:
// ceil(n * h * w * c / 256).
KERNEL(ssim_gradient, THREADS, SsimGradient args) {
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
      const float* const slopes = args.slopes + (window * shape.channels + channel) * SLOPES;
      const float w = weight(row - i) * weight(column - j);
      dm += w * slopes[0];
      dxx += w * slopes[1];
      dxt += w * slopes[2];
    }
  }
  const float x = args.x[at(pixel, shape.stride, channel)], t = args.target[at(pixel, args.target_stride, channel)];
  const float slope = args.factor * (dm + 2.0f * x * dxx + t * dxt);
  store(args.gradient + at(pixel, args.gradient_stride, channel), slope, args.accumulate);
}
