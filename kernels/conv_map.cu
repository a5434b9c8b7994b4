// Convolutions with one input channel and 4x4 taps, of any stride and dilation. A transposed convolution to a map of
// one channel is such a dgrad, as the head of a discriminator may be: its gradients are the others.
//
// A warp works on one pixel at a time. Each of its lanes looks where one tap lies, and the others ask it.
#include "conv_wgrad.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;

constexpr int SIDE = 4, TAPS = SIDE * SIDE;

// Channels of y that a warp takes at once, a pair each lane.
constexpr int CHANNELS = 64;

// Floats from one tap to the next, each with `channels` channels of y, in shared memory: the taps of a channel, and
// those of neighbours, lie in different banks.
__device__ __forceinline__ constexpr int pitch_for(int channels) { return (channels + 31) / 32 * 32 + 2; }

// sum + a * b, channel by channel.
__device__ __forceinline__ float2 fused(float2 a, float b, float2 sum) {
  return make_float2(fmaf(a.x, b, sum.x), fmaf(a.y, b, sum.y));
}

// The value of x that this lane's tap reads for a pixel of y, 0 where it reads padding or the lane has no tap.
__device__ __forceinline__ float value_of_tap(const float* x, const Shape& x_shape, const Shape& y_shape,
                                              const Geometry& g, unsigned pixel) {
  const int lane = threadIdx.x % 32, i = lane / SIDE, j = lane % SIDE;
  const int column = pixel % y_shape.width, row = pixel / y_shape.width % y_shape.height;
  const int image = pixel / y_shape.width / y_shape.height;
  const int x_row = row * g.stride + i * g.dilation - g.pad_top;
  const int x_column = column * g.stride + j * g.dilation - g.pad_left;
  const bool there = i < SIDE && inside(x_row, x_shape.height) && inside(x_column, x_shape.width);
  return there ? x[pixel_at(image, x_row, x_column, x_shape)] : 0.0f;
}

// Copies the weights of `count` channels of y, a multiple of 4, to shared memory: that of tap t and channel k to
// element t * pitch + k.
__device__ __forceinline__ void bring_weights(float* to, int pitch, const float* weight, int count) {
  for (int i = threadIdx.x * 4; i < count * TAPS; i += THREADS * 4) {
    const float4 taps = load_vector<float4>(weight + i);
    float* const first = to + i % TAPS * pitch + i / TAPS;
    first[0] = taps.x;
    first[pitch] = taps.y;
    first[2 * pitch] = taps.z;
    first[3 * pitch] = taps.w;
  }
}

// A block has `pixels` pixels.
struct ConvDgradMap {
  ConvDgrad dgrad;
  int pixels;
};

// dgrad: dx[p] = bias + sum over k and the taps at which a pixel q of dy reads p of weight[k, tap] * dy[q, k]. k and
// the stride of dy are multiples of 4. Shared memory: all weights. Grid: ceil(n * h * w / pixels).
KERNEL(conv_dgrad_map, THREADS, ConvDgradMap args) {
  DYN_SMEM(float, weights, 128);
  const ConvDgrad& dgrad = args.dgrad;
  const Geometry& g = dgrad.geometry;
  const Shape &dy = dgrad.dy_shape, &dx = dgrad.dx_shape;
  const int lane = threadIdx.x % 32, i = lane / SIDE, j = lane % SIDE;
  const int pitch = pitch_for(dy.channels), pixels = dx.height * dx.width;
  bring_weights(weights, pitch, dgrad.weight, dy.channels);
  __syncthreads();
  const float bias = dgrad.bias ? dgrad.bias[0] : 0.0f;
  const int first = blockIdx.x * args.pixels, end = min(first + args.pixels, dx.images * pixels);
  for (int pixel = first + threadIdx.x / 32; pixel < end; pixel += WARPS) {
    const int image = pixel / pixels, rows = pixel / dx.width % dx.height + g.pad_top - i * g.dilation;
    const int columns = pixel % dx.width + g.pad_left - j * g.dilation;
    const int row = rows / g.stride, column = columns / g.stride;
    const bool meets = i < SIDE && rows >= 0 && rows % g.stride == 0 && row < dy.height && columns >= 0 &&
                       columns % g.stride == 0 && column < dy.width;
    float2 sum = make_float2(0.0f, 0.0f);
    for (unsigned taps = __ballot_sync(0xffffffffu, meets); taps != 0; taps &= taps - 1) {
      const int tap = __ffs(int(taps)) - 1;
      const int from_row = __shfl_sync(0xffffffffu, row, tap), from_column = __shfl_sync(0xffffffffu, column, tap);
      const float* const from = dgrad.dy + pixel_at(image, from_row, from_column, dy);
#pragma unroll 4
      for (int k = lane * 2; k < dy.channels; k += CHANNELS) {
        const float2 value = load_vector<float2>(from + k), weight = load_vector<float2>(weights + tap * pitch + k);
        sum = make_float2(fmaf(value.x, weight.x, sum.x), fmaf(value.y, weight.y, sum.y));
      }
    }
    float total = sum.x + sum.y;
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) total += __shfl_xor_sync(0xffffffffu, total, distance);
    if (lane != 0) continue;
    total = finished(dgrad.epilogue, total + bias, image, pixel - image * pixels, pixels, 0);
    store(dgrad.dx + at(pixel, dx.stride, 0), total, dgrad.accumulate);
  }
}

// A block has `pixels` pixels.
struct ConvFpropMap {
  ConvFprop fprop;
  int pixels;
};

// fprop, which does not add to y: y[q, k] = bias[k] + sum over taps of weight[k, tap] * x[q * stride + tap * dilation -
// pad]. k and the stride of y are multiples of 4. A warp has the weights of 64 channels in registers. Grid: (ceil(k /
// 64), ceil(n * h' * w' / pixels)).
KERNEL(conv_fprop_map, THREADS, ConvFpropMap args) {
  constexpr int PITCH = pitch_for(CHANNELS);
  STATIC_SMEM(float, memory, [TAPS * PITCH]);
  const ConvFprop& fprop = args.fprop;
  const Shape& y = fprop.y_shape;
  const int first = blockIdx.x * CHANNELS, count = min(CHANNELS, y.channels - first), k = threadIdx.x % 32 * 2;
  bring_weights(memory, PITCH, fprop.weight + size_t(first) * TAPS, count);
  __syncthreads();
  float2 weights[TAPS];
#pragma unroll
  for (int tap = 0; tap < TAPS; tap++) {
    weights[tap] = k < count ? load_vector<float2>(memory + tap * PITCH + k) : make_float2(0.0f, 0.0f);
  }
  float2 bias = make_float2(0.0f, 0.0f);
  if (fprop.bias && k < count) bias = load_vector<float2>(fprop.bias + first + k);
  const int begin = blockIdx.y * args.pixels, end = min(begin + args.pixels, y.images * y.height * y.width);
  for (int pixel = begin + threadIdx.x / 32; pixel < end; pixel += WARPS) {
    const float value = value_of_tap(fprop.x, fprop.x_shape, y, fprop.geometry, pixel);
    float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) {
      sum = fused(weights[tap], __shfl_sync(0xffffffffu, value, tap), sum);
    }
    sum = make_float2(sum.x + bias.x, sum.y + bias.y);
    if (k < count) store_vector(fprop.y + at(pixel, y.stride, first + k), sum);
  }
}

// Calls use(offset in dweight, four values) in the block that has the whole gradient of 64 channels of y. A warp takes
// every eighth pixel of its block. k and the stride of dy are multiples of 4.
template <class Use>
__device__ __forceinline__ void wgrad_map(const ConvWgradShared& args, Use use) {
  constexpr int PITCH = pitch_for(CHANNELS);
  STATIC_SMEM(float, memory, [WARPS * TAPS * PITCH]);  // [warp][tap][channel]
  STATIC_SMEM(unsigned, is_last, [1]);
  const Geometry& g = args.geometry;
  const Shape& dy = args.dy_shape;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, share = blockIdx.x, first = blockIdx.y * CHANNELS;
  const unsigned pixels = dy.images * dy.height * dy.width;
  const unsigned begin = size_t(share) * pixels / args.shares, end = size_t(share + 1) * pixels / args.shares;
  const bool active = first + lane * 2 < dy.channels;
  float2 sums[TAPS];
#pragma unroll
  for (int tap = 0; tap < TAPS; tap++) sums[tap] = make_float2(0.0f, 0.0f);
#pragma unroll 2
  for (unsigned pixel = begin + warp; pixel < end; pixel += WARPS) {
    float2 of_dy = make_float2(0.0f, 0.0f);
    if (active) of_dy = load_vector<float2>(args.dy + at(pixel, dy.stride, first + lane * 2));
    const float value = value_of_tap(args.x, args.x_shape, dy, g, pixel);
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) {
      sums[tap] = fused(of_dy, __shfl_sync(0xffffffffu, value, tap), sums[tap]);
    }
  }
#pragma unroll
  for (int tap = 0; tap < TAPS; tap++) {
    store_vector(memory + (warp * TAPS + tap) * PITCH + lane * 2, sums[tap]);
  }
  __syncthreads();

  // From here on a thread has four elements of the gradient, as they lie in it.
  const int element = threadIdx.x * 4;
  static_assert(THREADS * 4 == CHANNELS * TAPS);
  float of_block[4] = {};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float* const from = memory + (element + i) % TAPS * PITCH + element / TAPS;
#pragma unroll
    for (int other = 0; other < WARPS; other++) of_block[i] += from[other * TAPS * PITCH];
  }
  float4 total[1] = {make_float4(of_block[0], of_block[1], of_block[2], of_block[3])};
  if (!add_shares<1, THREADS>(total, args.sums, args.tickets, blockIdx.y, share, args.shares, is_last)) return;
  if (element < (dy.channels - first) * TAPS) use(size_t(first) * TAPS + element, total[0]);
}

// wgrad: dweight[k, tap] = sum over q of dy[q, k] * x[q * stride + tap * dilation - pad], or the sum added to dweight.
// Grid: (shares, ceil(k / 64)).
KERNEL(conv_wgrad_map, THREADS, ConvWgradGrad args) {
  wgrad_map(args.wgrad, [&](size_t offset, float4 value) { write_gradient(args, offset, value); });
}

// The same gradient, by which the parameters and their moments are updated. Grid as above.
KERNEL(conv_wgrad_adam_map, THREADS, ConvWgradAdam args) {
  STATIC_SMEM(float, corrections, [2]);
  const AdamRule rule(args.state, corrections);
  wgrad_map(args.wgrad, [&](size_t offset, float4 value) { rule.update(args.state, offset, value); });
}
