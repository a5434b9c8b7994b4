// The backward pass of instance normalisation, activation and dropout in accesses of 16 bytes; as norm_act_wide.cu.
#include "norm_act_wide.cuh"

// The gradient of four channels of one image: its statistics, gain and mask.
struct Gradient {
  float4 mean, rstd;
  WideAffine affine;
  Mask mask;
  size_t drawn;

  __device__ __forceinline__ Gradient(const NormActGrad& args, int image, int channel, bool active)
      : mean(splat(0.0f)),
        rstd(splat(1.0f)),
        affine(args.gain, args.bias, channel, active),
        mask(make_mask(args.dropout, image)),
        drawn(first_drawn(args.dropout, image, size_t(args.pixels) * args.channels) + channel) {
    if (!active || !args.norm) return;
    const int x_image = image % args.x_images;
    mean = load_vector<float4>(args.mean_rstd + at(2 * x_image, args.channels, channel));
    rstd = load_vector<float4>(args.mean_rstd + at(2 * x_image + 1, args.channels, channel));
  }

  // The elements of COUNT pixels that the gradient reads; 0 beyond the last pixel, and for a `skip` that is not there.
  template <int COUNT>
  struct Read {
    float4 x[COUNT], dy[COUNT], skip[COUNT];
  };

  // Reads x of the pixels first, first + step, ... of the image that are in front of `end`; 0 for the others.
  template <int COUNT>
  __device__ __forceinline__ void read_x(const NormActGrad& args, int image, int channel, int first, int step, int end,
                                         float4 (&x)[COUNT]) const {
    const unsigned first_pixel = unsigned(image % args.x_images) * args.pixels;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      const int p = first + i * step;
      x[i] = p < end ? load_vector<float4>(args.x + at(first_pixel + p, args.x_stride, channel)) : splat(0.0f);
    }
  }

  // Reads all of these pixels. The loads are under way before the first is used.
  template <int COUNT>
  __device__ __forceinline__ void read(const NormActGrad& args, int image, int channel, int first, int step, int end,
                                       Read<COUNT>& to) const {
    const unsigned first_pixel = unsigned(image) * args.pixels;
    read_x(args, image, channel, first, step, end, to.x);
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      const int p = first + i * step;
      to.dy[i] = p < end ? load_vector<float4>(args.dy + at(first_pixel + p, args.dy_stride, channel)) : splat(0.0f);
      to.skip[i] = splat(0.0f);
    }
    if (!args.skip) return;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
      const int p = first + i * step;
      if (p < end) to.skip[i] = load_vector<float4>(args.skip + at(first_pixel + p, args.skip_stride, channel));
    }
  }

  __device__ __forceinline__ Gradient without_dropout() const {
    Gradient plain = *this;
    plain.mask = Mask{};
    return plain;
  }

  // xhat = norm(x).
  __device__ __forceinline__ float4 normalised(float4 x) const { return times(minus(x, mean), rstd); }

  // g of pixel `p`: dy taken back through dropout, with the gradient of `skip`, taken back through the activation.
  __device__ __forceinline__ float4 before_activation(const NormActGrad& args, float4 dy, float4 skip, float4 xhat,
                                                      int p) const {
    const float4 value = affine(xhat);
    float4 g = mask.apply(dy, drawn + size_t(p) * args.channels);
    if (args.skip) g = add_rounded(g, rectified(skip, value, args.skip_slope));
    return rectified(g, value, args.negative_slope);
  }

  // Writes dx of a pixel.
  __device__ __forceinline__ void write(const NormActGrad& args, int image, int channel, int p, float4 xhat, float4 g,
                                        float4 mean_g, float4 mean_g_xhat) const {
    const float4 minus_xhat = make_float4(-xhat.x, -xhat.y, -xhat.z, -xhat.w);
    const float4 normed = times(times(fused(minus_xhat, mean_g_xhat, minus(g, mean_g)), rstd), affine.gain);
    const float4 value = args.norm ? normed : g;
    float* const to = args.dx + at(unsigned(image) * args.pixels + p, args.dx_stride, channel);
    store_vector(to, args.accumulate ? add_rounded(load_vector<float4>(to), value) : value);
  }
};

// The block's sums of g and of g * xhat over all pixels. Writes the gradients of gain and bias, and divides the sums by
// the number of pixels.
template <int COUNT>
__device__ __forceinline__ void finish_sums(const NormActGrad& args, const Part<COUNT, HELD_QUADS>& part,
                                            float4* shared, float4& sum, float4& product) {
  sum = sum_of_quad<COUNT, HELD_QUADS>(sum, shared);
  product = sum_of_quad<COUNT, HELD_QUADS>(product, shared);
  if (args.dgain && part.active && part.first == 0) {
    store_vector(args.dgain + at(part.image, args.channels, part.channel), product);
    store_vector(args.dbias + at(part.image, args.channels, part.channel), sum);
  }
  const float inv_n = 1.0f / float(args.pixels);
  sum = scaled(sum, inv_n);
  product = scaled(product, inv_n);
}

// The backward pass, in blocks that hold g and xhat of all pixels. Grid: as of norm_act_held.
template <int COUNT, int HELD>
__device__ __forceinline__ void norm_act_grad_held(const NormActGrad& args) {
  using P = Part<COUNT, HELD_QUADS>;
  STATIC_SMEM(float4, shared, [COUNT / 32 * HELD_QUADS]);
  const P part(blockIdx.x, args.channels);
  const Gradient gradient(args, part.image, part.channel, part.active);
  Gradient::Read<HELD> read;
  gradient.read(args, part.image, part.channel, part.first, P::STEP, part.active ? args.pixels : 0, read);
  float4 xhat[HELD], g[HELD], sum = splat(0.0f), product = splat(0.0f);
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    xhat[i] = gradient.normalised(read.x[i]);
    g[i] = gradient.before_activation(args, read.dy[i], read.skip[i], xhat[i], part.first + i * P::STEP);
    sum = add(sum, g[i]);
    product = fused(g[i], xhat[i], product);
  }
  finish_sums<COUNT>(args, part, shared, sum, product);
  if (!part.active) return;
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    const int p = part.first + i * P::STEP;
    if (p >= args.pixels) break;
    gradient.write(args, part.image, part.channel, p, xhat[i], g[i], sum, product);
  }
}
INSTANCE(norm_act_grad_held_64, FEW_THREADS, NormActGrad, norm_act_grad_held<FEW_THREADS, 1>);
INSTANCE(norm_act_grad_held_256, THREADS, NormActGrad, norm_act_grad_held<THREADS, 2>);
INSTANCE(norm_act_grad_held_1024, THREADS, NormActGrad, norm_act_grad_held<THREADS, 8>);

// The same for 4096 pixels, with g in shared memory; xhat is computed again, AT_ONCE pixels of a thread at a time.
KERNEL(norm_act_grad_held_4096, WIDE_THREADS, NormActGrad args) {
  constexpr int HELD = 16, AT_ONCE = 4;
  using P = Part<WIDE_THREADS, HELD_QUADS>;
  static_assert(HELD_SHARED == HELD * WIDE_THREADS * sizeof(float4));
  DYN_SMEM(float4, held, 128);
  STATIC_SMEM(float4, shared, [WIDE_THREADS / 32 * HELD_QUADS]);
  const P part(blockIdx.x, args.channels);
  const Gradient gradient(args, part.image, part.channel, part.active);
  const int end = part.active ? args.pixels : 0;
  float4* const own = held + threadIdx.x;
  float4 sum = splat(0.0f), product = splat(0.0f);
  const auto hold_all = [&](const Gradient& gradient) {
#pragma unroll 1
    for (int begin = 0; begin < HELD; begin += AT_ONCE) {
      const int first = part.first + begin * P::STEP;
      Gradient::Read<AT_ONCE> read;
      gradient.read(args, part.image, part.channel, first, P::STEP, end, read);
#pragma unroll
      for (int i = 0; i < AT_ONCE; i++) {
        const float4 xhat = gradient.normalised(read.x[i]);
        const float4 g = gradient.before_activation(args, read.dy[i], read.skip[i], xhat, first + i * P::STEP);
        sum = add(sum, g);
        product = fused(g, xhat, product);
        store_vector(own + (begin + i) * WIDE_THREADS, g);
      }
    }
  };
  // A loop of its own for each, without a choice in it.
  if (gradient.mask.drops) {
    hold_all(gradient);
  } else {
    hold_all(gradient.without_dropout());
  }
  finish_sums<WIDE_THREADS>(args, part, shared, sum, product);
#pragma unroll 1
  for (int begin = 0; begin < HELD; begin += AT_ONCE) {
    const int first = part.first + begin * P::STEP;
    float4 x[AT_ONCE];
    gradient.read_x(args, part.image, part.channel, first, P::STEP, end, x);
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
      const int p = first + i * P::STEP;
      if (p >= end) break;
      const float4 g = load_vector<float4>(own + (begin + i) * WIDE_THREADS);
      gradient.write(args, part.image, part.channel, p, gradient.normalised(x[i]), g, sum, product);
    }
  }
}

// `sums` and `tickets` as in NormActStats; `means`, [n, 2, c], gets the means of g and of g * xhat.
struct NormActGradSums {
  NormActGrad grad;
  float* sums;
  float* means;
  unsigned* tickets;
  int parts;
};

// The sums of the backward pass for larger images. Grid: as of norm_act_stats.
KERNEL(norm_act_grad_sums, THREADS, NormActGradSums args) {
  using P = Part<THREADS, PART_QUADS>;
  STATIC_SMEM(float4, shared, [THREADS / 32 * PART_QUADS]);
  STATIC_SMEM(unsigned, is_last, [1]);
  const NormActGrad& grad = args.grad;
  const P part(blockIdx.y, grad.channels);
  const Gradient gradient(grad, part.image, part.channel, part.active);
  const int begin = blockIdx.x * PART_PIXELS;
  const int first = begin + part.first;
  Gradient::Read<PART_HELD> read;
  gradient.read(grad, part.image, part.channel, first, P::STEP, part.active ? grad.pixels : 0, read);
  float4 sum = splat(0.0f), product = splat(0.0f);
#pragma unroll
  for (int i = 0; i < PART_HELD; i++) {
    const float4 xhat = gradient.normalised(read.x[i]);
    const float4 g = gradient.before_activation(grad, read.dy[i], read.skip[i], xhat, first + i * P::STEP);
    sum = add(sum, g);
    product = fused(g, xhat, product);
  }
  sum = sum_of_quad<THREADS, PART_QUADS>(sum, shared);
  product = sum_of_quad<THREADS, PART_QUADS>(product, shared);
  if (part.first == 0) {
    float* const mine = sums_of_part(args.sums, args.parts, blockIdx.y, blockIdx.x);
    store_vector(mine, sum);
    store_vector(mine + PART_QUADS * 4, product);
  }
  if (!is_last_block(args.tickets + blockIdx.y, args.parts, is_last)) return;
  sum = product = splat(0.0f);
  for (int other = part.first; other < args.parts; other += P::STEP) {
    const float* const theirs = sums_of_part(args.sums, args.parts, blockIdx.y, other);
    sum = add(sum, load_vector<float4>(theirs));
    product = add(product, load_vector<float4>(theirs + PART_QUADS * 4));
  }
  sum = sum_of_quad<THREADS, PART_QUADS>(sum, shared);
  product = sum_of_quad<THREADS, PART_QUADS>(product, shared);
  if (part.first != 0 || !part.active) return;
  if (grad.dgain) {
    store_vector(grad.dgain + at(part.image, grad.channels, part.channel), product);
    store_vector(grad.dbias + at(part.image, grad.channels, part.channel), sum);
  }
  const float inv_n = 1.0f / float(grad.pixels);
  store_vector(args.means + at(2 * part.image, grad.channels, part.channel), scaled(sum, inv_n));
  store_vector(args.means + at(2 * part.image + 1, grad.channels, part.channel), scaled(product, inv_n));
}

// `means` as of norm_act_grad_sums, or null without norm.
struct NormActGradApply {
  NormActGrad grad;
  const float* means;
};

// The backward pass by these means. Grid: as of norm_act_apply.
KERNEL(norm_act_grad_apply, THREADS, NormActGradApply args) {
  const NormActGrad& grad = args.grad;
  const Element element(grad.pixels, grad.channels);
  if (!element.there) return;
  const Gradient gradient(grad, element.image, element.channel, true);
  float4 mean_g = splat(0.0f), mean_g_xhat = splat(0.0f);
  if (args.means) {
    mean_g = load_vector<float4>(args.means + at(2 * element.image, grad.channels, element.channel));
    mean_g_xhat = load_vector<float4>(args.means + at(2 * element.image + 1, grad.channels, element.channel));
  }
  const int image = element.image, channel = element.channel, p = element.pixel;
  Gradient::Read<1> read;
  gradient.read(grad, image, channel, p, 1, grad.pixels, read);
  const float4 xhat = gradient.normalised(read.x[0]);
  const float4 g = gradient.before_activation(grad, read.dy[0], read.skip[0], xhat, p);
  gradient.write(grad, image, channel, p, xhat, g, mean_g, mean_g_xhat);
}
