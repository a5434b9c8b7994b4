// The generator's last layer, folded: nearest x2, padding and a 4x4 convolution as one 3x3 convolution at the size of
// the input whose channels (a, b, k) are the phases of the output pixels (see src/engine/ops/upsample). These kernels
// fold the weight and lay out the phases, some with the tanh behind them; the convolution between them is `conv_fprop`.
#include "activation.cuh"
#include "index.cuh"

constexpr int THREADS = 256;

struct UpsampleFold {
  const float* weight;
  float* folded;
  int k, c;
};

// The fold of the weight: folded[(a, b, k), (a + r) / 2, (b + s) / 2, c] = sum of weight[k, r, s, c]. weight is
// [k, 4, 4, c], folded [4 k, 3, 3, c]. One thread per element of `folded`; grid: ceil(36 * k * c / 256).
KERNEL(upsample_fold, THREADS, UpsampleFold args) {
  const unsigned element = thread_index();
  const unsigned tap = element / args.c, c = element % args.c;
  const int column = tap % 3, row = tap / 3 % 3, phase = tap / 9 / args.k, k = tap / 9 % args.k;
  const int a = phase / 2, b = phase % 2;
  if (phase >= 4) return;

  float sum = 0.0f;
  // The taps r with (a + r) / 2 == row: two of them, or one where the other is outside of the kernel. They are added up
  // in the order of the CPU, by plain additions, so the bits are the same.
  for (int r = max(0, 2 * row - a); r < min(4, 2 * row - a + 2); r++) {
    for (int s = max(0, 2 * column - b); s < min(4, 2 * column - b + 2); s++) {
      sum += args.weight[at((k * 4 + r) * 4 + s, args.c, c)];
    }
  }
  args.folded[element] = sum;
}

struct UpsampleFoldGrad {
  const float* dfolded;
  float* dweight;
  int k, c, accumulate;
};

// The gradient of the fold: dweight[k, r, s, c] = sum over phases (a, b) of dfolded[(a, b, k), (a + r) / 2,
// (b + s) / 2, c]. One thread per element of `dweight`; grid: ceil(16 * k * c / 256).
KERNEL(upsample_fold_grad, THREADS, UpsampleFoldGrad args) {
  const unsigned element = thread_index();
  const unsigned tap = element / args.c, c = element % args.c;
  const int s = tap % 4, r = tap / 4 % 4, k = tap / 16;
  if (k >= args.k) return;

  float sum = args.accumulate ? args.dweight[element] : 0.0f;
  for (int a = 0; a < 2; a++) {
    for (int b = 0; b < 2; b++) {
      const int phase = (a * 2 + b) * args.k + k;
      sum += args.dfolded[at((phase * 3 + (a + r) / 2) * 3 + (b + s) / 2, args.c, c)];
    }
  }
  args.dweight[element] = sum;
}

// An element of y, [n, height, width, channels] with even sides, and its place in x, [n, height / 2, width / 2, 4
// channels]: a thread has one.
struct Shuffled {
  unsigned pixel, channel, x_pixel, x_channel;
  bool there;

  __device__ __forceinline__ explicit Shuffled(const Shape& y) {
    const unsigned element = thread_index();
    pixel = element / y.channels;
    channel = element % y.channels;
    there = pixel < unsigned(y.images * y.height * y.width);
    const unsigned row = pixel / y.width, column = pixel % y.width;
    // Images have an even number of rows, so half the row among all images is the row of x.
    x_pixel = row / 2 * (y.width / 2) + column / 2;
    x_channel = (row % 2 * 2 + column % 2) * y.channels + channel;
  }
};

struct UpsampleShuffle {
  const float* x;
  const float* bias;
  float* y;
  Shape y_shape;
  int x_stride;
};

// Pixel shuffle: y[n, 2h + a, 2w + b, k] = x[n, h, w, (a, b, k)] + bias[k]: y is [n, height, width, channels], both
// even, and x [n, height / 2, width / 2, 4 channels]. One thread per element of y; grid: ceil(n * height * width *
// channels / 256).
template <class Function>
__device__ __forceinline__ void shuffle(const UpsampleShuffle& args, Function function) {
  const Shuffled element(args.y_shape);
  if (!element.there) return;
  const float x = args.x[at(element.x_pixel, args.x_stride, element.x_channel)];
  args.y[at(element.pixel, args.y_shape.stride, element.channel)] = function(x + args.bias[element.channel]);
}

KERNEL(upsample_shuffle, THREADS, UpsampleShuffle args) {
  shuffle(args, [](float x) { return x; });
}

// The tanh of it: y = tanh(x + bias), with the pixels of y as above.
KERNEL(upsample_shuffle_tanh, THREADS, UpsampleShuffle args) {
  shuffle(args, [](float x) { return Tanh::value(x); });
}

struct UpsampleShuffleGrad {
  const float* dy;
  float* dx;
  Shape dy_shape;
  int dx_stride, accumulate;
};

// The gradient of the shuffle: dx[n, h, w, (a, b, k)] = dy[n, 2h + a, 2w + b, k]. One thread per element of dy; grid:
// ceil(n * height * width * channels / 256).
KERNEL(upsample_shuffle_grad, THREADS, UpsampleShuffleGrad args) {
  const Shuffled element(args.dy_shape);
  if (!element.there) return;
  const float gradient = args.dy[at(element.pixel, args.dy_shape.stride, element.channel)];
  store(args.dx + at(element.x_pixel, args.dx_stride, element.x_channel), gradient, args.accumulate);
}

// y, dy and dshuffled have the shape `dy_shape`, each with its own stride.
struct UpsampleShuffleTanhGrad {
  const float* y;
  const float* dy;
  float* dshuffled;
  float* dx;
  Shape dy_shape;
  int y_stride, dshuffled_stride, dx_stride, accumulate;
};

// The gradients of the tanh, whose derivative is a function of y, and of the shuffle: dshuffled = dy * tanh', and
// dx[n, h, w, (a, b, k)] = dshuffled[n, 2h + a, 2w + b, k]. One thread per element of dy; grid: ceil(n * height * width
// * channels / 256).
KERNEL(upsample_shuffle_tanh_grad, THREADS, UpsampleShuffleTanhGrad args) {
  const Shuffled element(args.dy_shape);
  if (!element.there) return;
  const float derivative = Tanh::derivative(args.y[at(element.pixel, args.y_stride, element.channel)]);
  const float gradient = args.dy[at(element.pixel, args.dy_shape.stride, element.channel)] * derivative;
  args.dshuffled[at(element.pixel, args.dshuffled_stride, element.channel)] = gradient;
  store(args.dx + at(element.x_pixel, args.dx_stride, element.x_channel), gradient, args.accumulate);
}
