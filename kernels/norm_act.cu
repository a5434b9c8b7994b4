// Instance normalisation, activation and dropout in one pass, in this order, each of them optional (see
// src/engine/ops/norm_act).
//
// Blocks are 32 channels x 16 rows of threads and belong to one image. Sums over its pixels are done by every block of
// the image's channels alike, so a grid of several rows shares out the pixels that are written and nothing else: one
// row is best with norm, many without.
#include "channel_sums.cuh"
#include "philox.cuh"

constexpr int THREADS = 512;
static_assert(THREADS == LANES * ROWS, "a block is 32 channels x 16 rows of threads");

// Added to the variance before its root is taken.
constexpr float EPSILON = 1e-5f;

// The part of the batch that a thread works on: one channel of one image, and the pixels first, first + step, ...
struct Share {
  int image, channel;
  unsigned first, step;
  bool active;  // whether there is such a channel

  __device__ __forceinline__ explicit Share(int channels) {
    const int groups = (channels + LANES - 1) / LANES;
    image = blockIdx.x / groups;
    channel = blockIdx.x % groups * LANES + threadIdx.x % LANES;
    first = blockIdx.y * ROWS + threadIdx.x / LANES;
    step = gridDim.y * ROWS;
    active = channel < channels;
  }
};

// The gain and bias of a channel. Without any they are 1 and -0, which change no bit of any number.
struct Affine {
  float gain = 1.0f, bias = -0.0f;

  __device__ __forceinline__ Affine(const float* gains, const float* biases, const Share& share) {
    if (!gains || !share.active) return;
    gain = gains[share.channel];
    bias = biases[share.channel];
  }

  __device__ __forceinline__ float operator()(float value) const { return fmaf(value, gain, bias); }
};

// x and y are [n, pixels, c], gain and bias [c] or null, statistics [n, 2, c]: mean and 1 / standard deviation (by the
// biased variance) of each channel of each image, 0 and 1 without norm.
struct NormActForward {
  const float* x;
  const float* gain;
  const float* bias;
  float* y;
  float* statistics;
  int pixels, channels, x_stride, y_stride, norm;
  float slope;
  DropoutDraw dropout;
};

// y = dropout(activation(gain * norm(x) + bias)). The activation is v > 0 ? v : v * slope.
// Grid: (n * ceil(c / 32), 1) with norm, (n * ceil(c / 32), any) without.
KERNEL(norm_act_forward, THREADS, NormActForward args) {
  STATIC_SMEM(float, rows, [1][ROWS][LANES]);
  const int pixels = args.pixels, channels = args.channels, x_stride = args.x_stride;
  const Share share(channels);
  const Mask mask = make_mask(args.dropout, share.image);
  const size_t first_pixel = size_t(share.image) * pixels;
  const float* const x = args.x + first_pixel * x_stride + share.channel;
  float* const y = args.y + first_pixel * args.y_stride + share.channel;

  float mean = 0.0f, scale = 1.0f;
  if (args.norm) {
    const unsigned summed = share.active ? pixels : 0;
    const float part = 1.0f / float(pixels);
    float total[1];
    channel_sums(total, summed, rows, [&](unsigned p, float (&sum)[1]) { sum[0] += x[at(p, x_stride, 0)]; });
    mean = total[0] * part;
    channel_sums(total, summed, rows, [&](unsigned p, float (&sum)[1]) {
      const float difference = x[at(p, x_stride, 0)] - mean;
      sum[0] = fmaf(difference, difference, sum[0]);
    });
    scale = 1.0f / sqrtf(fmaf(total[0], part, EPSILON));
  }
  if (!share.active) return;
  if (share.first == 0) {
    args.statistics[at(2 * share.image, channels, share.channel)] = mean;
    args.statistics[at(2 * share.image + 1, channels, share.channel)] = scale;
  }
  const Affine affine(args.gain, args.bias, share);
  const size_t first = first_drawn(args.dropout, share.image, size_t(pixels) * channels) + share.channel;
  for (unsigned p = share.first; p < unsigned(pixels); p += share.step) {
    const float value = affine((x[at(p, x_stride, 0)] - mean) * scale);
    const float activated = value > 0.0f ? value : value * args.slope;
    y[at(p, args.y_stride, 0)] = mask.apply(activated, first + size_t(p) * channels);
  }
}

// x, dy and dx are [n, pixels, c]. What the image adds to the gradients of gain and bias, gain_sums and bias_sums, is
// [n, c], null without affine. The rest as above.
struct NormActGradient {
  const float* x;
  const float* dy;
  const float* statistics;
  const float* gain;
  const float* bias;
  float* dx;
  float* gain_sums;
  float* bias_sums;
  int pixels, channels, x_stride, dy_stride, dx_stride, norm;
  float slope;
  DropoutDraw dropout;
  int accumulate;
};

// The gradient: with v = norm(x), and g = dy brought back through dropout and activation,
// dx = (g - mean(g) - v * mean(g * v)) * scale * gain; the means are over the pixels of an image, and 0 without norm.
// gain_sums and bias_sums are the sums of g * v and of g. Grid: as above.
KERNEL(norm_act_gradient, THREADS, NormActGradient args) {
  STATIC_SMEM(float, rows, [2][ROWS][LANES]);
  const int pixels = args.pixels, channels = args.channels, x_stride = args.x_stride, dy_stride = args.dy_stride;
  const Share share(channels);
  const Mask mask = make_mask(args.dropout, share.image);
  const Affine affine(args.gain, args.bias, share);
  const size_t first_pixel = size_t(share.image) * pixels;
  const size_t first = first_drawn(args.dropout, share.image, size_t(pixels) * channels) + share.channel;
  const float* const x = args.x + first_pixel * x_stride + share.channel;
  const float* const dy = args.dy + first_pixel * dy_stride + share.channel;
  float* const dx = args.dx + first_pixel * args.dx_stride + share.channel;

  float mean = 0.0f, scale = 1.0f;
  if (share.active) {
    mean = args.statistics[at(2 * share.image, channels, share.channel)];
    scale = args.statistics[at(2 * share.image + 1, channels, share.channel)];
  }
  // The normalised value of a pixel, before gain and bias, and the gradient that comes through dropout and activation.
  const auto reached = [&](unsigned p, float& value, float& gradient) {
    value = (x[at(p, x_stride, 0)] - mean) * scale;
    gradient = mask.apply(dy[at(p, dy_stride, 0)], first + size_t(p) * channels);
    if (!(affine(value) > 0.0f)) gradient *= args.slope;
  };

  // Means over the pixels of the gradient, and of the gradient times the value.
  float along[2] = {0.0f, 0.0f};
  if (args.norm) {
    channel_sums(along, share.active ? unsigned(pixels) : 0, rows, [&](unsigned p, float (&sum)[2]) {
      float value, gradient;
      reached(p, value, gradient);
      sum[0] += gradient;
      sum[1] = fmaf(gradient, value, sum[1]);
    });
    if (args.gain_sums && share.active && share.first == 0) {
      args.gain_sums[at(share.image, channels, share.channel)] = along[1];
      args.bias_sums[at(share.image, channels, share.channel)] = along[0];
    }
    const float part = 1.0f / float(pixels);
    along[0] *= part;
    along[1] *= part;
  }
  if (!share.active) return;
  for (unsigned p = share.first; p < unsigned(pixels); p += share.step) {
    float value, gradient;
    reached(p, value, gradient);
    const float across = fmaf(-value, along[1], gradient - along[0]) * scale * affine.gain;
    store(dx + at(p, args.dx_stride, 0), across, args.accumulate);
  }
}
