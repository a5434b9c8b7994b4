// Instance normalisation, activation and dropout in accesses of 16 bytes, four channels a thread (see
// src/engine/ops/norm_act). All channels and strides are multiples of 4, and all addresses of 16 bytes.
//
// Where a block can hold all pixels of some channels in its registers, it reads them once, sums them up and writes the
// result. Larger images are summed up by several blocks, each of which holds 256 pixels of 16 channels; a second kernel
// then goes through all elements, as it does where there is no norm.
#include "norm_act.cuh"
#include "tickets.cuh"

constexpr int THREADS = 256, FEW_THREADS = 128, WIDE_THREADS = 512;

// Quads of channels of the blocks that hold all pixels: a sector of memory.
constexpr int HELD_QUADS = 2;

// Pixels of a thread in kernels that sum up a part of an image, and quads of channels of their blocks.
constexpr int PART_HELD = 4, PART_QUADS = 4;
constexpr int PART_PIXELS = THREADS / PART_QUADS * PART_HELD;

__device__ __forceinline__ float4 splat(float value) { return make_float4(value, value, value, value); }
__device__ __forceinline__ float4 scaled(float4 a, float b) { return make_float4(a.x * b, a.y * b, a.z * b, a.w * b); }
__device__ __forceinline__ float4 minus(float4 a, float4 b) {
  return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
}
__device__ __forceinline__ float4 times(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
// a * b + c.
__device__ __forceinline__ float4 fused(float4 a, float4 b, float4 c) {
  return make_float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w));
}
__device__ __forceinline__ float4 reciprocal_root(float4 variance) {
  return make_float4(1.0f / sqrtf(variance.x + EPSILON), 1.0f / sqrtf(variance.y + EPSILON),
                     1.0f / sqrtf(variance.z + EPSILON), 1.0f / sqrtf(variance.w + EPSILON));
}

// The sum over all threads of a block that have the same quad, threadIdx.x % QUADS: by shuffles in each warp, then warp
// by warp. `shared` has QUADS quads for each warp. All threads must call this.
template <int COUNT, int QUADS>
__device__ __forceinline__ float4 sum_of_quad(float4 value, float4* shared) {
#pragma unroll
  for (int distance = 16; distance >= QUADS; distance /= 2) {
    value.x += __shfl_xor_sync(0xffffffffu, value.x, distance);
    value.y += __shfl_xor_sync(0xffffffffu, value.y, distance);
    value.z += __shfl_xor_sync(0xffffffffu, value.z, distance);
    value.w += __shfl_xor_sync(0xffffffffu, value.w, distance);
  }
  __syncthreads();  // `shared` may still be read from a sum before this one
  if (threadIdx.x % 32 < QUADS) store_vector(shared + threadIdx.x / 32 * QUADS + threadIdx.x % 32, value);
  __syncthreads();
  float4 total = load_vector<float4>(shared + threadIdx.x % QUADS);
  for (int warp = 1; warp < COUNT / 32; warp++) {
    total = add(total, load_vector<float4>(shared + warp * QUADS + threadIdx.x % QUADS));
  }
  return total;
}

// The channels and pixels of a thread: a quad of channels of one image, and the pixels first, first + STEP, ...
template <int COUNT, int QUADS>
struct Part {
  static constexpr int STEP = COUNT / QUADS;
  int image, channel, first;
  bool active;  // false beyond the last channel

  __device__ __forceinline__ Part(unsigned block, int channels) {
    const int groups = (channels + QUADS * 4 - 1) / (QUADS * 4);
    image = block / groups;
    channel = block % groups * (QUADS * 4) + threadIdx.x % QUADS * 4;
    first = threadIdx.x / QUADS;
    active = channel < channels;
  }
};

// Gain and bias of four channels; 1 and -0 without affine, which change no bit of any number.
struct WideAffine {
  float4 gain = splat(1.0f), bias = splat(-0.0f);

  __device__ __forceinline__ WideAffine(const float* gains, const float* biases, int channel, bool active) {
    if (!gains || !active) return;
    gain = load_vector<float4>(gains + channel);
    bias = load_vector<float4>(biases + channel);
  }

  __device__ __forceinline__ float4 operator()(float4 value) const { return fused(value, gain, bias); }
};

// y of a pixel, from xhat = norm(x).
__device__ __forceinline__ float4 activated(const NormActForward& args, const WideAffine& affine, const Mask& mask,
                                            float4 xhat, size_t element) {
  const float4 value = affine(xhat);
  return mask.apply(rectified(value, value, args.negative_slope), element);
}

// The forward pass, in blocks that hold all pixels of two quads of channels, HELD of them a thread. Grid:
// n * ceil(c / 8).
template <int COUNT, int HELD>
__device__ __forceinline__ void norm_act_held(const NormActForward& args) {
  constexpr int QUADS = HELD_QUADS;
  using P = Part<COUNT, QUADS>;
  STATIC_SMEM(float4, shared, [COUNT / 32 * QUADS]);
  const P part(blockIdx.x, args.channels);
  const unsigned first_pixel = unsigned(part.image) * args.pixels;
  float4 held[HELD], sum = splat(0.0f), squares = splat(0.0f);
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    const int p = part.first + i * P::STEP;
    const bool there = part.active && p < args.pixels;
    held[i] = there ? load_vector<float4>(args.x + at(first_pixel + p, args.x_stride, part.channel)) : splat(0.0f);
    sum = add(sum, held[i]);
  }
  const float inv_n = 1.0f / float(args.pixels);
  const float4 mean = scaled(sum_of_quad<COUNT, QUADS>(sum, shared), inv_n);
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    const float4 difference = minus(held[i], mean);
    if (part.first + i * P::STEP < args.pixels) squares = fused(difference, difference, squares);
  }
  const float4 rstd = reciprocal_root(scaled(sum_of_quad<COUNT, QUADS>(squares, shared), inv_n));
  if (!part.active) return;
  if (part.first == 0) {
    store_vector(args.mean_rstd + at(2 * part.image, args.channels, part.channel), mean);
    store_vector(args.mean_rstd + at(2 * part.image + 1, args.channels, part.channel), rstd);
  }
  const WideAffine affine(args.gain, args.bias, part.channel, part.active);
  const Mask mask = make_mask(args.dropout, part.image);
  const size_t drawn = first_drawn(args.dropout, part.image, size_t(args.pixels) * args.channels) + part.channel;
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    const int p = part.first + i * P::STEP;
    if (p >= args.pixels) break;
    const float4 xhat = times(minus(held[i], mean), rstd);
    store_vector(args.y + at(first_pixel + p, args.y_stride, part.channel),
                 activated(args, affine, mask, xhat, drawn + size_t(p) * args.channels));
  }
}
INSTANCE(norm_act_held_64, FEW_THREADS, NormActForward, norm_act_held<FEW_THREADS, 1>);
INSTANCE(norm_act_held_256, THREADS, NormActForward, norm_act_held<THREADS, 2>);
INSTANCE(norm_act_held_1024, THREADS, NormActForward, norm_act_held<THREADS, 8>);
INSTANCE(norm_act_held_4096, THREADS, NormActForward, norm_act_held<THREADS, 32>);

// `sums` has two quads of each thread's channels for each part, and `tickets` a zero for each image and 16 channels.
struct NormActStats {
  NormActForward act;
  float* sums;
  unsigned* tickets;
  int parts;
};

// The sums of one part of an image and 16 channels, kept as two rows of 16 floats.
__device__ __forceinline__ float* sums_of_part(float* sums, int parts, int group, int part) {
  return sums + (size_t(group) * parts + part) * (2 * PART_QUADS * 4) + threadIdx.x % PART_QUADS * 4;
}

// The statistics of larger images: mean_rstd. A block has 256 pixels, of which it computes mean and squared deviation;
// the last block of each 16 channels combines those of all. Grid: (parts, n * ceil(c / 16)).
KERNEL(norm_act_stats, THREADS, NormActStats args) {
  using P = Part<THREADS, PART_QUADS>;
  STATIC_SMEM(float4, shared, [THREADS / 32 * PART_QUADS]);
  STATIC_SMEM(unsigned, is_last, [1]);
  const NormActForward& act = args.act;
  const P part(blockIdx.y, act.channels);
  const int begin = blockIdx.x * PART_PIXELS, count = min(PART_PIXELS, act.pixels - begin);
  const size_t first_pixel = size_t(part.image) * act.pixels + begin;
  float4 held[PART_HELD], sum = splat(0.0f), squares = splat(0.0f);
#pragma unroll
  for (int i = 0; i < PART_HELD; i++) {
    const int p = part.first + i * P::STEP;
    const bool there = part.active && p < count;
    held[i] = there ? load_vector<float4>(act.x + at(first_pixel + p, act.x_stride, part.channel)) : splat(0.0f);
    sum = add(sum, held[i]);
  }
  sum = sum_of_quad<THREADS, PART_QUADS>(sum, shared);
  const float4 mean = scaled(sum, 1.0f / float(count));
#pragma unroll
  for (int i = 0; i < PART_HELD; i++) {
    const float4 difference = minus(held[i], mean);
    if (part.first + i * P::STEP < count) squares = fused(difference, difference, squares);
  }
  squares = sum_of_quad<THREADS, PART_QUADS>(squares, shared);
  if (part.first == 0) {
    float* const mine = sums_of_part(args.sums, args.parts, blockIdx.y, blockIdx.x);
    store_vector(mine, sum);
    store_vector(mine + PART_QUADS * 4, squares);
  }
  if (!is_last_block(args.tickets + blockIdx.y, args.parts, is_last)) return;

  sum = squares = splat(0.0f);
  for (int other = part.first; other < args.parts; other += P::STEP) {
    sum = add(sum, load_vector<float4>(sums_of_part(args.sums, args.parts, blockIdx.y, other)));
  }
  const float inv_n = 1.0f / float(act.pixels);
  const float4 whole_mean = scaled(sum_of_quad<THREADS, PART_QUADS>(sum, shared), inv_n);
  for (int other = part.first; other < args.parts; other += P::STEP) {
    const float* const theirs = sums_of_part(args.sums, args.parts, blockIdx.y, other);
    const float of_part = float(min(PART_PIXELS, act.pixels - other * PART_PIXELS));
    const float4 difference = minus(scaled(load_vector<float4>(theirs), 1.0f / of_part), whole_mean);
    const float4 deviation = load_vector<float4>(theirs + PART_QUADS * 4);
    squares = add(squares, fused(scaled(difference, of_part), difference, deviation));
  }
  const float4 rstd = reciprocal_root(scaled(sum_of_quad<THREADS, PART_QUADS>(squares, shared), inv_n));
  if (part.first != 0 || !part.active) return;
  store_vector(act.mean_rstd + at(2 * part.image, act.channels, part.channel), whole_mean);
  store_vector(act.mean_rstd + at(2 * part.image + 1, act.channels, part.channel), rstd);
}

// The element of a thread in kernels with a thread for each quad of one image.
struct Element {
  unsigned pixel;
  int image, channel;
  bool there;

  __device__ __forceinline__ Element(int pixels, int channels) {
    const unsigned quad = thread_index(), quads = channels / 4;
    pixel = quad / quads;
    channel = quad % quads * 4;
    image = blockIdx.y;
    there = pixel < unsigned(pixels);
  }
};

// The forward pass by the statistics in mean_rstd, or without norm. Grid: (ceil(pixels * c / 1024), n).
KERNEL(norm_act_apply, THREADS, NormActForward args) {
  const Element element(args.pixels, args.channels);
  if (!element.there) return;
  float4 mean = splat(0.0f), rstd = splat(1.0f);
  if (args.norm) {
    const float* const statistics = args.mean_rstd + at(2 * element.image, args.channels, element.channel);
    mean = load_vector<float4>(statistics);
    rstd = load_vector<float4>(statistics + args.channels);
  }
  const unsigned pixel = unsigned(element.image) * args.pixels + element.pixel;
  const WideAffine affine(args.gain, args.bias, element.channel, true);
  const size_t drawn = first_drawn(args.dropout, element.image, size_t(args.pixels) * args.channels);
  const float4 x = load_vector<float4>(args.x + at(pixel, args.x_stride, element.channel));
  store_vector(args.y + at(pixel, args.y_stride, element.channel),
               activated(args, affine, make_mask(args.dropout, element.image), times(minus(x, mean), rstd),
                         drawn + at(element.pixel, args.channels, element.channel)));
}

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

  // xhat = norm(x) of pixel `p` of the image.
  __device__ __forceinline__ float4 normalised(const NormActGrad& args, int image, int channel, int p) const {
    const unsigned pixel = unsigned(image % args.x_images) * args.pixels + p;
    return times(minus(load_vector<float4>(args.x + at(pixel, args.x_stride, channel)), mean), rstd);
  }

  // xhat and g, dy taken back through dropout and activation, of pixel `p` of the image.
  __device__ __forceinline__ void at_pixel(const NormActGrad& args, int image, int channel, int p, float4& xhat,
                                           float4& g) const {
    xhat = normalised(args, image, channel, p);
    const unsigned pixel = unsigned(image) * args.pixels + p;
    const float4 dy = load_vector<float4>(args.dy + at(pixel, args.dy_stride, channel));
    g = rectified(mask.apply(dy, drawn + size_t(p) * args.channels), affine(xhat), args.negative_slope);
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

// The backward pass, in blocks that hold all pixels: g and, unless registers are short, xhat, which is computed again
// then. Grid: as of norm_act_held.
template <int COUNT, int HELD, bool HOLDS_XHAT>
__device__ __forceinline__ void norm_act_grad_held(const NormActGrad& args) {
  constexpr int QUADS = HELD_QUADS;
  using P = Part<COUNT, QUADS>;
  STATIC_SMEM(float4, shared, [COUNT / 32 * QUADS]);
  const P part(blockIdx.x, args.channels);
  const Gradient gradient(args, part.image, part.channel, part.active);
  [[maybe_unused]] float4 held[HOLDS_XHAT ? HELD : 1];
  float4 g[HELD], sum = splat(0.0f), product = splat(0.0f);
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    const int p = part.first + i * P::STEP;
    float4 xhat = splat(0.0f);
    g[i] = splat(0.0f);
    if (part.active && p < args.pixels) gradient.at_pixel(args, part.image, part.channel, p, xhat, g[i]);
    sum = add(sum, g[i]);
    product = fused(g[i], xhat, product);
    if constexpr (HOLDS_XHAT) held[i] = xhat;
  }
  sum = sum_of_quad<COUNT, QUADS>(sum, shared);
  product = sum_of_quad<COUNT, QUADS>(product, shared);
  if (!part.active) return;
  if (args.dgain && part.first == 0) {
    store_vector(args.dgain + at(part.image, args.channels, part.channel), product);
    store_vector(args.dbias + at(part.image, args.channels, part.channel), sum);
  }
  const float inv_n = 1.0f / float(args.pixels);
  const float4 mean_g = scaled(sum, inv_n), mean_g_xhat = scaled(product, inv_n);
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    const int p = part.first + i * P::STEP;
    if (p >= args.pixels) break;
    float4 xhat;
    if constexpr (HOLDS_XHAT) {
      xhat = held[i];
    } else {
      xhat = gradient.normalised(args, part.image, part.channel, p);
    }
    gradient.write(args, part.image, part.channel, p, xhat, g[i], mean_g, mean_g_xhat);
  }
}
INSTANCE(norm_act_grad_held_64, FEW_THREADS, NormActGrad, norm_act_grad_held<FEW_THREADS, 1, true>);
INSTANCE(norm_act_grad_held_256, THREADS, NormActGrad, norm_act_grad_held<THREADS, 2, true>);
INSTANCE(norm_act_grad_held_1024, THREADS, NormActGrad, norm_act_grad_held<THREADS, 8, true>);
INSTANCE(norm_act_grad_held_4096, WIDE_THREADS, NormActGrad, norm_act_grad_held<WIDE_THREADS, 16, false>);

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
  float4 sum = splat(0.0f), product = splat(0.0f);
#pragma unroll
  for (int i = 0; i < PART_HELD; i++) {
    const int p = begin + part.first + i * P::STEP;
    float4 xhat = splat(0.0f), g = splat(0.0f);
    if (part.active && p < grad.pixels) gradient.at_pixel(grad, part.image, part.channel, p, xhat, g);
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
  float4 mean_g = splat(0.0f), mean_g_xhat = splat(0.0f), xhat, g;
  if (args.means) {
    mean_g = load_vector<float4>(args.means + at(2 * element.image, grad.channels, element.channel));
    mean_g_xhat = load_vector<float4>(args.means + at(2 * element.image + 1, grad.channels, element.channel));
  }
  gradient.at_pixel(grad, element.image, element.channel, element.pixel, xhat, g);
  gradient.write(grad, element.image, element.channel, element.pixel, xhat, g, mean_g, mean_g_xhat);
}
