// Instance normalisation, activation and dropout in accesses of 16 bytes, four channels a thread (see
// src/engine/ops/norm_act). All channels and strides are multiples of 4, and all addresses of 16 bytes.
//
// A block that can hold all pixels of some channels, in its registers or in shared memory, reads them once, sums them
// up and writes the result. Larger images are summed up by several blocks, each of which holds 256 pixels of 16
// channels; a second kernel then goes through all elements, as it does where there is no norm.
#include "norm_act_wide.cuh"

// The forward pass of four channels of one image: their statistics, gain, bias and mask.
struct Normalised {
  float4 mean, rstd;
  WideAffine affine;
  Mask mask;
  size_t drawn;

  __device__ __forceinline__ Normalised(const NormActForward& args, int image, int channel, float4 mean, float4 rstd)
      : mean(mean),
        rstd(rstd),
        affine(args.gain, args.bias, channel, true),
        mask(make_mask(args.dropout, image)),
        drawn(first_drawn(args.dropout, image, size_t(args.pixels) * args.channels) + channel) {}

  __device__ __forceinline__ void write_statistics(const NormActForward& args, int image, int channel) const {
    store_vector(args.mean_rstd + at(2 * image, args.channels, channel), mean);
    store_vector(args.mean_rstd + at(2 * image + 1, args.channels, channel), rstd);
  }

  __device__ __forceinline__ Normalised without_dropout() const {
    Normalised plain = *this;
    plain.mask = Mask{};
    return plain;
  }

  // Writes what comes of x at pixel `p` of the image.
  __device__ __forceinline__ void write(const NormActForward& args, int image, int channel, int p, float4 x) const {
    const float4 value = affine(times(minus(x, mean), rstd));
    const float4 activated = rectified(value, value, args.negative_slope);
    const float4 y = mask.apply(activated, drawn + size_t(p) * args.channels);
    const unsigned pixel = unsigned(image) * args.pixels + p;
    store_vector(args.y + at(pixel, args.y_stride, channel), y);
    if (args.skip) store_vector(args.skip + at(pixel, args.skip_stride, channel), rectified(y, y, args.skip_slope));
  }
};

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
  const Normalised normalised(args, part.image, part.channel, mean, rstd);
  if (part.first == 0) normalised.write_statistics(args, part.image, part.channel);
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    const int p = part.first + i * P::STEP;
    if (p >= args.pixels) break;
    normalised.write(args, part.image, part.channel, p, held[i]);
  }
}
INSTANCE(norm_act_held_64, FEW_THREADS, NormActForward, norm_act_held<FEW_THREADS, 1>);
INSTANCE(norm_act_held_256, THREADS, NormActForward, norm_act_held<THREADS, 2>);
INSTANCE(norm_act_held_1024, THREADS, NormActForward, norm_act_held<THREADS, 8>);

// The same for 4096 pixels, which are in shared memory.
KERNEL(norm_act_held_4096, WIDE_THREADS, NormActForward args) {
  constexpr int HELD = 16;
  using P = Part<WIDE_THREADS, HELD_QUADS>;
  static_assert(HELD_SHARED == HELD * WIDE_THREADS * sizeof(float4));
  DYN_SMEM(float4, held, 128);
  STATIC_SMEM(float4, shared, [WIDE_THREADS / 32 * HELD_QUADS]);
  const P part(blockIdx.x, args.channels);
  const unsigned first_pixel = unsigned(part.image) * args.pixels;
  const int end = part.active ? args.pixels : 0;
  // A thread has the pixels part.first + i * STEP, and reads none but its own.
  float4* const own = held + threadIdx.x;
#pragma unroll
  for (int i = 0; i < HELD; i++) {
    const int p = part.first + i * P::STEP;
    const float* const from = p < end ? args.x + at(first_pixel + p, args.x_stride, part.channel) : args.x;
    cp_async16(smem_u32(own + i * WIDE_THREADS), from, p < end ? 16 : 0);
  }
  cp_async_commit();
  cp_async_wait<0>();
  float4 sum = splat(0.0f), squares = splat(0.0f);
#pragma unroll 4
  for (int i = 0; i < HELD; i++) sum = add(sum, load_vector<float4>(own + i * WIDE_THREADS));
  const float inv_n = 1.0f / float(args.pixels);
  const float4 mean = scaled(sum_of_quad<WIDE_THREADS, HELD_QUADS>(sum, shared), inv_n);
#pragma unroll 4
  for (int i = 0; i < HELD; i++) {
    const float4 difference = minus(load_vector<float4>(own + i * WIDE_THREADS), mean);
    if (part.first + i * P::STEP < end) squares = fused(difference, difference, squares);
  }
  const float4 variance = scaled(sum_of_quad<WIDE_THREADS, HELD_QUADS>(squares, shared), inv_n);
  const float4 rstd = reciprocal_root(variance);
  if (!part.active) return;
  const auto write_all = [&](const Normalised& normalised) {
#pragma unroll 4
    for (int i = 0; i < HELD; i++) {
      const int p = part.first + i * P::STEP;
      if (p >= end) break;
      normalised.write(args, part.image, part.channel, p, load_vector<float4>(own + i * WIDE_THREADS));
    }
  };
  const Normalised normalised(args, part.image, part.channel, mean, rstd);
  if (part.first == 0) normalised.write_statistics(args, part.image, part.channel);
  // A loop of its own for each, without a choice in it.
  if (normalised.mask.drops) {
    write_all(normalised);
  } else {
    write_all(normalised.without_dropout());
  }
}

// `sums` has two quads of each thread's channels for each part, and `tickets` a zero for each image and 16 channels.
struct NormActStats {
  NormActForward act;
  float* sums;
  unsigned* tickets;
  int parts;
};

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
  const float4 x = load_vector<float4>(args.x + at(pixel, args.x_stride, element.channel));
  const Normalised normalised(args, element.image, element.channel, mean, rstd);
  normalised.write(args, element.image, element.channel, element.pixel, x);
}
