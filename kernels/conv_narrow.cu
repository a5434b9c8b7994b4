// Convolutions with stride 1, up to 3x3 taps and few output channels (OUTPUTS, at most 16): fprop and wgrad. The
// generator's last layer, folded, is such.
#include "conv_wgrad.cuh"

constexpr int THREADS = 256, WGRAD_THREADS = 288;

// Pixels of a tile, taps along a side, and input channels at a time.
constexpr int ROWS = 8, COLUMNS = 16, TAPS = 3, CHANNELS = 64;
constexpr int PIXELS = ROWS * COLUMNS, WARPS = THREADS / 32, QUADS = CHANNELS / 4;
constexpr int PATCH_ROWS = ROWS + TAPS - 1, PATCH_COLUMNS = COLUMNS + TAPS - 1;
// Quads from one quad of channels of all pixels to the next: copies of neighbouring threads go to other banks.
constexpr int PLANE = PATCH_ROWS * PATCH_COLUMNS + 1;
static_assert(PLANE % 2 == 1, "planes begin at all groups of banks in turn");

// fprop. c and the stride of x are multiples of 4, and all addresses of 16 bytes. A block computes 8x16 pixels of all
// output channels; each warp has all of them for its part of the input
// channels, four pixels a lane, and the sums of the warps are added in order. Shared memory: FPROP_SHARED. Grid:
// n * ceil(h' / 8) * ceil(w' / 16).
constexpr int FPROP_SHARED = 83200;
template <int OUTPUTS>
__device__ __forceinline__ void conv_fprop_narrow(const ConvFprop& args) {
  static_assert((QUADS * PLANE + TAPS * TAPS * QUADS * OUTPUTS) * 16 <= FPROP_SHARED);
  static_assert(WARPS * PIXELS * OUTPUTS * 4 <= FPROP_SHARED);
  DYN_SMEM(float4, patch, 128);
  float4* const weights = patch + QUADS * PLANE;  // [tap][quad of channels][output]
  const Geometry& g = args.geometry;
  const Shape &x = args.x_shape, &y = args.y_shape;
  const int t = threadIdx.x, lane = t % 32, warp = t / 32;
  const int tile_columns = (y.width + COLUMNS - 1) / COLUMNS, tile_rows = (y.height + ROWS - 1) / ROWS;
  const int column = blockIdx.x % tile_columns * COLUMNS, row = blockIdx.x / tile_columns % tile_rows * ROWS;
  const int image = blockIdx.x / tile_columns / tile_rows;

  float sums[4][OUTPUTS] = {};
  for (int first = 0; first < x.channels; first += CHANNELS) {
    __syncthreads();  // the channels before have been read
    const int c = first + t % QUADS * 4;
    for (int pixel = t / QUADS; pixel < PATCH_ROWS * PATCH_COLUMNS; pixel += THREADS / QUADS) {
      const int x_row = row + pixel / PATCH_COLUMNS - g.pad_top, x_column = column + pixel % PATCH_COLUMNS - g.pad_left;
      const bool there = inside(x_row, x.height) && inside(x_column, x.width) && c < x.channels;
      cp_async16(smem_u32(patch + t % QUADS * PLANE + pixel),
                 there ? args.x + pixel_at(image, x_row, x_column, x) + c : args.x, there ? 16 : 0);
    }
    for (int i = t / QUADS; i < TAPS * TAPS * OUTPUTS; i += THREADS / QUADS) {
      const int tap = i / OUTPUTS, k = i % OUTPUTS;
      const bool there =
          tap / TAPS < g.kernel_rows && tap % TAPS < g.kernel_columns && k < y.channels && c < x.channels;
      const int k_tap = (k * g.kernel_rows + tap / TAPS) * g.kernel_columns + tap % TAPS;
      cp_async16(smem_u32(weights + (tap * QUADS + t % QUADS) * OUTPUTS + k),
                 there ? args.weight + at(k_tap, x.channels, c) : args.weight, there ? 16 : 0);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    float run[4][OUTPUTS] = {};
    for (int quad = warp * (QUADS / WARPS); quad < (warp + 1) * (QUADS / WARPS); quad++) {
#pragma unroll 3
      for (int tap = 0; tap < TAPS * TAPS; tap++) {
        // Pixels lane, lane + 32, ...: two rows further each time.
        const float4* const from =
            patch + quad * PLANE + (lane / COLUMNS + tap / TAPS) * PATCH_COLUMNS + lane % COLUMNS + tap % TAPS;
        float4 values[4];
#pragma unroll
        for (int i = 0; i < 4; i++) values[i] = load_vector<float4>(from + i * 2 * PATCH_COLUMNS);
#pragma unroll
        for (int k = 0; k < OUTPUTS; k++) {
          const float4 w = load_vector<float4>(weights + (tap * QUADS + quad) * OUTPUTS + k);
#pragma unroll
          for (int i = 0; i < 4; i++) {
            run[i][k] = fmaf(values[i].x, w.x, run[i][k]);
            run[i][k] = fmaf(values[i].y, w.y, run[i][k]);
            run[i][k] = fmaf(values[i].z, w.z, run[i][k]);
            run[i][k] = fmaf(values[i].w, w.w, run[i][k]);
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int k = 0; k < OUTPUTS; k++) sums[i][k] += run[i][k];
    }
  }

  __syncthreads();                      // all warps have read the last channels
  float* const exchange = &patch[0].x;  // [warp][pixel][output]
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int k = 0; k < OUTPUTS; k += 4) {
      store_vector(exchange + (warp * PIXELS + lane + i * 32) * OUTPUTS + k,
                   make_float4(sums[i][k], sums[i][k + 1], sums[i][k + 2], sums[i][k + 3]));
    }
  }
  __syncthreads();
  for (int i = t; i < PIXELS * OUTPUTS; i += THREADS) {
    const int pixel = i / OUTPUTS, k = i % OUTPUTS, y_row = row + pixel / COLUMNS, y_column = column + pixel % COLUMNS;
    if (k >= y.channels || y_row >= y.height || y_column >= y.width) continue;
    float sum = exchange[i];
    for (int other = 1; other < WARPS; other++) sum += exchange[other * (PIXELS * OUTPUTS) + i];
    store(args.y + pixel_at(image, y_row, y_column, y) + k, args.bias ? sum + args.bias[k] : sum, args.accumulate);
  }
}
INSTANCE(conv_fprop_narrow_4, THREADS, ConvFprop, conv_fprop_narrow<4>);
INSTANCE(conv_fprop_narrow_8, THREADS, ConvFprop, conv_fprop_narrow<8>);
INSTANCE(conv_fprop_narrow_12, THREADS, ConvFprop, conv_fprop_narrow<12>);
INSTANCE(conv_fprop_narrow_16, THREADS, ConvFprop, conv_fprop_narrow<16>);

// wgrad: dweight[k, tap, c] = sum over q of dy[q, k] * x[q + tap - pad, c], or the sum added to dweight. A warp has one
// tap, and a lane four input channels of all output channels; a tile is 128 input channels, and a share some rows of
// dy. c, k and all strides are multiples of 4, and all addresses of 16 bytes. Grid: shares * ceil(c / 128).
template <int OUTPUTS>
__device__ __forceinline__ void conv_wgrad_narrow(const ConvWgradGrad& grad) {
  const ConvWgradShared& args = grad.wgrad;
  STATIC_SMEM(unsigned, is_last, [1]);
  const Geometry& g = args.geometry;
  const Shape &x = args.x_shape, &dy = args.dy_shape;
  const int share = blockIdx.x % args.shares, tile = blockIdx.x / args.shares;
  const int tap = threadIdx.x / 32, i = tap / TAPS, j = tap % TAPS, c = tile * 128 + threadIdx.x % 32 * 4;
  const bool active = i < g.kernel_rows && j < g.kernel_columns && c < x.channels;
  const int rows = dy.images * dy.height;

  float4 sums[OUTPUTS] = {};
  for (int image_row = share * rows / args.shares; active && image_row < (share + 1) * rows / args.shares;
       image_row++) {
    const int image = image_row / dy.height, x_row = image_row % dy.height + i - g.pad_top;
    if (!inside(x_row, x.height)) continue;
    float4 run[OUTPUTS] = {};
#pragma unroll 2
    for (int column = 0; column < dy.width; column++) {
      const int x_column = column + j - g.pad_left;
      if (!inside(x_column, x.width)) continue;
      const float4 value = load_vector<float4>(args.x + pixel_at(image, x_row, x_column, x) + c);
      const float* const from = args.dy + pixel_at(image, image_row % dy.height, column, dy);
#pragma unroll
      for (int k = 0; k < OUTPUTS; k += 4) {
        const float4 d = load_vector<float4>(from + k);
        const float of[4] = {d.x, d.y, d.z, d.w};
#pragma unroll
        for (int l = 0; l < 4; l++) {
          float4& sum = run[k + l];
          sum = make_float4(fmaf(value.x, of[l], sum.x), fmaf(value.y, of[l], sum.y), fmaf(value.z, of[l], sum.z),
                            fmaf(value.w, of[l], sum.w));
        }
      }
    }
#pragma unroll
    for (int k = 0; k < OUTPUTS; k++) sums[k] = add(sums[k], run[k]);
  }

  if (!add_shares<OUTPUTS, WGRAD_THREADS>(sums, args.sums, args.tickets, tile, share, args.shares, is_last) || !active)
    return;
#pragma unroll
  for (int k = 0; k < OUTPUTS; k++) {
    write_gradient(grad, at((k * g.kernel_rows + i) * g.kernel_columns + j, x.channels, c), sums[k]);
  }
}
INSTANCE(conv_wgrad_narrow_4, WGRAD_THREADS, ConvWgradGrad, conv_wgrad_narrow<4>);
INSTANCE(conv_wgrad_narrow_8, WGRAD_THREADS, ConvWgradGrad, conv_wgrad_narrow<8>);
INSTANCE(conv_wgrad_narrow_12, WGRAD_THREADS, ConvWgradGrad, conv_wgrad_narrow<12>);
INSTANCE(conv_wgrad_narrow_16, WGRAD_THREADS, ConvWgradGrad, conv_wgrad_narrow<16>);
