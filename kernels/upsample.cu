// The generator's last layer, folded: nearest x2, padding and a 4x4 convolution as one 3x3 convolution at the small
// size whose channels (a, b, o) are the phases of the output pixels (see src/ops/upsample). These kernels fold the
// weight and lay out the phases; the convolution between them is `conv_down`.
#include "index.cuh"

constexpr int THREADS = 256;

// Sums go in the order of the CPU, and are plain additions: the results are the same to the bit.

// folded[(a, b, o), (a + r) / 2, (b + s) / 2, i] = sum of weight[o, r, s, i]: weight is [outputs, 4, 4, inputs], folded
// [4 outputs, 3, 3, inputs]. One thread per element of `folded`; grid: ceil(36 * outputs * inputs / 256).
extern "C" __global__ void __launch_bounds__(THREADS) upsample_fold(
    const float* __restrict__ weight,
    float* __restrict__ folded,
    int outputs,
    int inputs) {
  const unsigned element = thread_index();
  const unsigned place = element / inputs, i = element % inputs;
  const int column = place % 3, row = place / 3 % 3, phase = place / 9 / outputs, o = place / 9 % outputs;
  const int a = phase / 2, b = phase % 2;
  if (phase >= 4) return;

  float sum = 0.0f;
  // Taps r with (a + r) / 2 == row: two of them, or one where the other is outside of the kernel.
  for (int r = max(0, 2 * row - a); r < min(4, 2 * row - a + 2); r++) {
    for (int s = max(0, 2 * column - b); s < min(4, 2 * column - b + 2); s++) {
      sum += weight[at((o * 4 + r) * 4 + s, inputs, i)];
    }
  }
  folded[element] = sum;
}
KERNEL(upsample_fold);

// The gradient of the same: weight[o, r, s, i] = sum over phases (a, b) of folded[(a, b, o), (a + r) / 2, (b + s) / 2,
// i].
// One thread per element of `weight`; grid: ceil(16 * outputs * inputs / 256).
extern "C" __global__ void __launch_bounds__(THREADS) upsample_fold_gradient(
    const float* __restrict__ folded,
    float* weight,
    int outputs,
    int inputs,
    int accumulate) {
  const unsigned element = thread_index();
  const unsigned place = element / inputs, i = element % inputs;
  const int s = place % 4, r = place / 4 % 4, o = place / 16;
  if (o >= outputs) return;

  float sum = accumulate ? weight[element] : 0.0f;
  for (int a = 0; a < 2; a++) {
    for (int b = 0; b < 2; b++) {
      const int phase = (a * 2 + b) * outputs + o;
      sum += folded[at((phase * 3 + (a + r) / 2) * 3 + (b + s) / 2, inputs, i)];
    }
  }
  weight[element] = sum;
}
KERNEL(upsample_fold_gradient);

// The pixel of the small grid that holds pixel `pixel` of a big grid with even height and `width` in its phase `phase`.
__device__ __forceinline__ unsigned phase_of(unsigned pixel, unsigned width, unsigned& phase) {
  const unsigned row = pixel / width, column = pixel % width;
  phase = row % 2 * 2 + column % 2;
  // Images have an even number of rows, so half a row of all images is the row of the small grid.
  return row / 2 * (width / 2) + column / 2;
}

// y[n, 2h + a, 2w + b, o] = x[n, h, w, (a, b, o)] + bias[o]: y is [n, height, width, channels], both even, and x [n,
// height / 2, width / 2, 4 channels]. One thread per element of `y`; grid: ceil(n * height * width * channels / 256).
extern "C" __global__ void __launch_bounds__(THREADS) upsample_shuffle(
    const float* __restrict__ x,
    const float* __restrict__ bias,
    float* __restrict__ y,
    int images,
    int height,
    int width,
    int channels,
    int x_stride,
    int y_stride) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(images * height * width)) return;
  unsigned phase;
  const unsigned small = phase_of(pixel, width, phase);
  y[at(pixel, y_stride, channel)] = x[at(small, x_stride, phase * channels + channel)] + bias[channel];
}
KERNEL(upsample_shuffle);

// The gradient of the same: dx[n, h, w, (a, b, o)] = dy[n, 2h + a, 2w + b, o], with the sizes of dy.
// One thread per element of `dy`; grid: ceil(n * height * width * channels / 256).
extern "C" __global__ void __launch_bounds__(THREADS) upsample_shuffle_gradient(
    const float* __restrict__ dy,
    float* dx,
    int images,
    int height,
    int width,
    int channels,
    int dy_stride,
    int dx_stride,
    int accumulate) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  if (pixel >= unsigned(images * height * width)) return;
  unsigned phase;
  const unsigned small = phase_of(pixel, width, phase);
  store(dx + at(small, dx_stride, phase * channels + channel), dy[at(pixel, dy_stride, channel)], accumulate);
}
KERNEL(upsample_shuffle_gradient);
