// Instance normalisation, activation and dropout in one pass, in this order, each of them optional (see
// src/engine/ops/norm_act).
//
// Blocks are 32 channels x 16 rows of threads and belong to one image. Sums over its pixels are done by every block of
// the image's channels alike, so rows of the grid divide the writing of pixels, but not the summing: with norm one row
// is best, without norm many.
#include "channel_sums.cuh"
#include "norm_act.cuh"

constexpr int THREADS = 512;
static_assert(THREADS == LANES * ROWS, "a block is 32 channels x 16 rows of threads");

// The work of a thread: one channel of one image, and the pixels first, first + step, ...
struct Work {
  int image, channel;
  unsigned first, step;
  bool active;  // false beyond the last channel

  __device__ __forceinline__ explicit Work(int channels) {
    const int groups = (channels + LANES - 1) / LANES;
    image = blockIdx.x / groups;
    channel = blockIdx.x % groups * LANES + threadIdx.x % LANES;
    first = blockIdx.y * ROWS + threadIdx.x / LANES;
    step = gridDim.y * ROWS;
    active = channel < channels;
  }
};

// The gain and bias of a channel. Without affine they are 1 and -0, which change no bit of any number.
struct Affine {
  float gain = 1.0f, bias = -0.0f;

  __device__ __forceinline__ Affine(const float* gains, const float* biases, const Work& work) {
    if (!gains || !work.active) return;
    gain = gains[work.channel];
    bias = biases[work.channel];
  }

  __device__ __forceinline__ float operator()(float value) const { return fmaf(value, gain, bias); }
};

// y = dropout(activation(gain * norm(x) + bias)). The activation is v > 0 ? v : v * negative_slope.
// Grid: (n * ceil(c / 32), 1) with norm, (n * ceil(c / 32), any) without.
KERNEL(norm_act_forward, THREADS, NormActForward args) {
  STATIC_SMEM(float, rows, [1][ROWS][LANES]);
  const int pixels = args.pixels, channels = args.channels, x_stride = args.x_stride;
  const Work work(channels);
  const Mask mask = make_mask(args.dropout, work.image);
  const size_t first_pixel = size_t(work.image) * pixels;
  const float* const x = args.x + first_pixel * x_stride + work.channel;
  float* const y = args.y + first_pixel * args.y_stride + work.channel;

  float mean = 0.0f, rstd = 1.0f;
  if (args.norm) {
    const unsigned summed = work.active ? pixels : 0;
    const float inv_n = 1.0f / float(pixels);
    float total[1];
    channel_sums(total, summed, rows, [&](unsigned p, float (&sum)[1]) { sum[0] += x[at(p, x_stride, 0)]; });
    mean = total[0] * inv_n;
    channel_sums(total, summed, rows, [&](unsigned p, float (&sum)[1]) {
      const float difference = x[at(p, x_stride, 0)] - mean;
      sum[0] = fmaf(difference, difference, sum[0]);
    });
    rstd = 1.0f / sqrtf(fmaf(total[0], inv_n, EPSILON));
  }
  if (!work.active) return;
  if (args.norm && work.first == 0) {
    args.mean_rstd[at(2 * work.image, channels, work.channel)] = mean;
    args.mean_rstd[at(2 * work.image + 1, channels, work.channel)] = rstd;
  }
  const Affine affine(args.gain, args.bias, work);
  const size_t first = first_drawn(args.dropout, work.image, size_t(pixels) * channels) + work.channel;
  for (unsigned p = work.first; p < unsigned(pixels); p += work.step) {
    const float value = affine((x[at(p, x_stride, 0)] - mean) * rstd);
    const float activated = value > 0.0f ? value : value * args.negative_slope;
    const float dropped = mask.apply(activated, first + size_t(p) * channels);
    y[at(p, args.y_stride, 0)] = dropped;
    if (args.skip) {
      args.skip[at(first_pixel + p, args.skip_stride, work.channel)] =
          dropped > 0.0f ? dropped : dropped * args.skip_slope;
    }
  }
}

// The backward pass: with xhat = norm(x), and g = dy taken back through dropout and activation, dx = (g - mean(g) -
// xhat * mean(g * xhat)) * rstd * gain; the means are over the pixels of an image. Without norm dx = g. dgain and dbias
// are the sums of g * xhat and of g. Grid: as of norm_act_forward.
KERNEL(norm_act_grad, THREADS, NormActGrad args) {
  STATIC_SMEM(float, rows, [2][ROWS][LANES]);
  const int pixels = args.pixels, channels = args.channels, x_stride = args.x_stride, dy_stride = args.dy_stride;
  const Work work(channels);
  const Mask mask = make_mask(args.dropout, work.image);
  const Affine affine(args.gain, args.bias, work);
  const size_t first_pixel = size_t(work.image) * pixels;
  const size_t first = first_drawn(args.dropout, work.image, size_t(pixels) * channels) + work.channel;
  const int x_image = work.image % args.x_images;
  const float* const x = args.x + size_t(x_image) * pixels * x_stride + work.channel;
  const float* const dy = args.dy + first_pixel * dy_stride + work.channel;
  float* const dx = args.dx + first_pixel * args.dx_stride + work.channel;

  float mean = 0.0f, rstd = 1.0f;
  if (work.active && args.norm) {
    mean = args.mean_rstd[at(2 * x_image, channels, work.channel)];
    rstd = args.mean_rstd[at(2 * x_image + 1, channels, work.channel)];
  }
  // xhat and g of a pixel.
  const auto recompute = [&](unsigned p, float& xhat, float& g) {
    xhat = (x[at(p, x_stride, 0)] - mean) * rstd;
    g = mask.apply(dy[at(p, dy_stride, 0)], first + size_t(p) * channels);
    const bool positive = affine(xhat) > 0.0f;
    if (args.skip) {
      const float skip = args.skip[at(first_pixel + p, args.skip_stride, work.channel)];
      g = __fadd_rn(g, positive ? skip : skip * args.skip_slope);
    }
    if (!positive) g *= args.negative_slope;
  };

  float mean_g = 0.0f, mean_g_xhat = 0.0f;
  if (args.norm) {
    float sums[2];
    channel_sums(sums, work.active ? unsigned(pixels) : 0, rows, [&](unsigned p, float (&sum)[2]) {
      float xhat, g;
      recompute(p, xhat, g);
      sum[0] += g;
      sum[1] = fmaf(g, xhat, sum[1]);
    });
    if (args.dgain && work.active && work.first == 0) {
      args.dgain[at(work.image, channels, work.channel)] = sums[1];
      args.dbias[at(work.image, channels, work.channel)] = sums[0];
    }
    const float inv_n = 1.0f / float(pixels);
    mean_g = sums[0] * inv_n;
    mean_g_xhat = sums[1] * inv_n;
  }
  if (!work.active) return;
  for (unsigned p = work.first; p < unsigned(pixels); p += work.step) {
    float xhat, g;
    recompute(p, xhat, g);
    const float gradient = args.norm ? fmaf(-xhat, mean_g_xhat, g - mean_g) * rstd * affine.gain : g;
    store(dx + at(p, args.dx_stride, 0), gradient, args.accumulate);
  }
}
