// Convolutions with few output channels, as those of the heads of discriminators are: fprop, dot products over the
// input channels, a warp for each output; dgrad and wgrad of stride 1, which pass over the pixels once, for all taps.
#include "conv_wgrad.cuh"

constexpr int THREADS = 256;

// Channels that a warp takes at once, a quad each lane.
constexpr int CHANNELS = 128;

// Taps along a side, of dgrad and wgrad, and bytes of shared memory of wgrad.
constexpr int MOST_TAPS = 4, WGRAD_SHARED = 65536;

__device__ __forceinline__ float dot(float4 a, float4 b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

// sum + a * b, channel by channel.
__device__ __forceinline__ float4 fused(float4 a, float b, float4 sum) {
  return make_float4(fmaf(a.x, b, sum.x), fmaf(a.y, b, sum.y), fmaf(a.z, b, sum.z), fmaf(a.w, b, sum.w));
}

// fprop of any geometry; c and the stride of x are multiples of 4. Each lane sums over its quads of channels, tap by
// tap, and the warp adds up its lanes. Grid: ceil(n * h' * w' * k / 8).
KERNEL(conv_fprop_dot, THREADS, ConvFprop args) {
  const Geometry& g = args.geometry;
  const Shape &x = args.x_shape, &y = args.y_shape;
  const unsigned output = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, pixel = output / y.channels;
  const int lane = threadIdx.x % 32, k = output % y.channels;
  const int column = pixel % y.width, row = pixel / y.width % y.height, image = pixel / y.width / y.height;
  if (image >= y.images) return;

  const float* const filter = args.weight + at(k * g.kernel_rows * g.kernel_columns, x.channels, 0);
  float sum = 0.0f;
  for (int i = 0; i < g.kernel_rows; i++) {
    const int x_row = row * g.stride + i * g.dilation - g.pad_top;
    if (!inside(x_row, x.height)) continue;
    for (int j = 0; j < g.kernel_columns; j++) {
      const int x_column = column * g.stride + j * g.dilation - g.pad_left;
      if (!inside(x_column, x.width)) continue;
      const float* const from = args.x + pixel_at(image, x_row, x_column, x);
      const float* const weights = filter + (i * g.kernel_columns + j) * x.channels;
      float run = 0.0f;
#pragma unroll 2
      for (int c = lane * 4; c < x.channels; c += CHANNELS) {
        run = dot(load_vector<float4>(from + c), load_vector<float4>(weights + c), run);
      }
      sum += run;
    }
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  if (lane != 0) return;
  store(args.y + at(pixel, y.stride, k), args.bias ? sum + args.bias[k] : sum, args.accumulate);
}

// The values of dy, [n, h', w', k], that meet a pixel of x of a convolution of stride 1, for output channel `k`: tap
// (i, j) of at most MOST_TAPS x MOST_TAPS is value i * MOST_TAPS + j, 0 where it meets none.
__device__ __forceinline__ void meeting_taps(float (&values)[MOST_TAPS * MOST_TAPS], const float* dy,
                                             const Shape& shape, const Geometry& g, int k, int image, int row,
                                             int column) {
#pragma unroll
  for (int i = 0; i < MOST_TAPS; i++) {
    const int dy_row = row + g.pad_top - i * g.dilation;
#pragma unroll
    for (int j = 0; j < MOST_TAPS; j++) {
      const int dy_column = column + g.pad_left - j * g.dilation;
      const bool there =
          i < g.kernel_rows && j < g.kernel_columns && inside(dy_row, shape.height) && inside(dy_column, shape.width);
      values[i * MOST_TAPS + j] = there ? dy[pixel_at(image, dy_row, dy_column, shape) + k] : 0.0f;
    }
  }
}

// A warp has `pixels` pixels.
struct ConvDgradDot {
  ConvDgrad dgrad;
  int pixels;
};

// dgrad with one channel of dy and stride 1, c and the stride of dx multiples of 4: dx[p, c] = bias[c] + sum over the
// taps at which a pixel q of dy reads p of weight[tap, c] * dy[q]. A warp has 128 channels of `pixels` pixels, and the
// weights of these channels in registers. Grid: (ceil(c / 128), ceil(n * h * w / (8 * pixels))).
KERNEL(conv_dgrad_dot, THREADS, ConvDgradDot args) {
  const ConvDgrad& dgrad = args.dgrad;
  const Geometry& g = dgrad.geometry;
  const Shape& dx = dgrad.dx_shape;
  const int c = blockIdx.x * CHANNELS + threadIdx.x % 32 * 4;
  if (c >= dx.channels) return;
  float4 weights[MOST_TAPS * MOST_TAPS];
#pragma unroll
  for (int tap = 0; tap < MOST_TAPS * MOST_TAPS; tap++) {
    const int i = tap / MOST_TAPS, j = tap % MOST_TAPS;
    weights[tap] = i < g.kernel_rows && j < g.kernel_columns
                       ? load_vector<float4>(dgrad.weight + at(i * g.kernel_columns + j, dgrad.weight_stride, c))
                       : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  }
  const float4 bias = dgrad.bias ? load_vector<float4>(dgrad.bias + c) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  const unsigned first = (blockIdx.y * (THREADS / 32) + threadIdx.x / 32) * args.pixels;
  const unsigned end = min(first + args.pixels, unsigned(dx.images * dx.height * dx.width));
  for (unsigned pixel = first; pixel < end; pixel++) {
    const int column = pixel % dx.width, row = pixel / dx.width % dx.height, image = pixel / dx.width / dx.height;
    float values[MOST_TAPS * MOST_TAPS];
    meeting_taps(values, dgrad.dy, dgrad.dy_shape, g, 0, image, row, column);
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
    for (int tap = 0; tap < MOST_TAPS * MOST_TAPS; tap++) sum = fused(weights[tap], values[tap], sum);
    float* const to = dgrad.dx + at(pixel, dx.stride, c);
    sum = add(sum, bias);
    store_vector(to, dgrad.accumulate ? add_rounded(load_vector<float4>(to), sum) : sum);
  }
}

// Calls use(offset in dweight, four values) in the block that has the whole gradient of all taps, one output channel
// and 128 input channels. A warp takes every eighth pixel of x of its block, and adds it to the taps that it meets. c
// and the stride of x are multiples of 4.
template <class Use>
__device__ __forceinline__ void wgrad_dot(const ConvWgradShared& args, Use use) {
  constexpr int TAPS = MOST_TAPS * MOST_TAPS, WARPS = THREADS / 32, OWN = TAPS / WARPS;
  static_assert(WGRAD_SHARED == WARPS * TAPS * CHANNELS * 4);
  DYN_SMEM(float4, memory, 128);  // [warp][tap][lane]
  STATIC_SMEM(unsigned, is_last, [1]);
  const Geometry& g = args.geometry;
  const Shape& x = args.x_shape;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, share = blockIdx.x % args.shares;
  const int c = blockIdx.x / args.shares * CHANNELS + lane * 4, k = blockIdx.y;
  const unsigned pixels = x.images * x.height * x.width;
  const unsigned begin = size_t(share) * pixels / args.shares, end = size_t(share + 1) * pixels / args.shares;
  float4 sums[TAPS];
#pragma unroll
  for (int tap = 0; tap < TAPS; tap++) sums[tap] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  for (unsigned pixel = begin + warp; c < x.channels && pixel < end; pixel += WARPS) {
    const int column = pixel % x.width, row = pixel / x.width % x.height, image = pixel / x.width / x.height;
    const float4 from = load_vector<float4>(args.x + at(pixel, x.stride, c));
    float values[TAPS];
    meeting_taps(values, args.dy, args.dy_shape, g, k, image, row, column);
#pragma unroll
    for (int tap = 0; tap < TAPS; tap++) sums[tap] = fused(from, values[tap], sums[tap]);
  }
#pragma unroll
  for (int tap = 0; tap < TAPS; tap++) store_vector(&memory[(warp * TAPS + tap) * 32 + lane], sums[tap]);
  __syncthreads();

  // From here on a warp has every eighth tap.
  float4 totals[OWN];
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const float4* const from = memory + (i * WARPS + warp) * 32 + lane;
    totals[i] = load_vector<float4>(from);
    for (int other = 1; other < WARPS; other++)
      totals[i] = add(totals[i], load_vector<float4>(from + other * TAPS * 32));
  }
  const int tile = k * (gridDim.x / args.shares) + blockIdx.x / args.shares;
  if (!add_shares<OWN, THREADS>(totals, args.sums, args.tickets, tile, share, args.shares, is_last)) return;
  if (c >= x.channels) return;
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const int tap = i * WARPS + warp, tap_row = tap / MOST_TAPS, tap_column = tap % MOST_TAPS;
    if (tap_row >= g.kernel_rows || tap_column >= g.kernel_columns) continue;
    use(at((k * g.kernel_rows + tap_row) * g.kernel_columns + tap_column, x.channels, c), totals[i]);
  }
}

// wgrad of stride 1: dweight[k, tap, c] = sum over q of dy[q, k] * x[q + tap * dilation - pad, c], or the sum added to
// dweight. Shared memory: the sums of all warps. Grid: (shares * ceil(c / 128), k).
KERNEL(conv_wgrad_dot, THREADS, ConvWgradGrad args) {
  wgrad_dot(args.wgrad, [&](size_t offset, float4 value) { write_gradient(args, offset, value); });
}

// The same gradient, by which the parameters and their moments are updated. Grid and shared memory as above.
KERNEL(conv_wgrad_adam_dot, THREADS, ConvWgradAdam args) {
  STATIC_SMEM(float, corrections, [2]);
  const AdamRule rule(args.state, corrections);
  wgrad_dot(args.wgrad, [&](size_t offset, float4 value) { rule.update(args.state, offset, value); });
}
