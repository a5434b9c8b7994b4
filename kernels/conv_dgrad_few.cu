// dgrad with few channels of dx (at most 8), 4x4 taps and stride 2: the transposed convolution that makes a picture,
// and the gradient of a picture.
//
// A block computes 16x16 pixels of dx. It brings the patch of dy that they meet to shared memory, 32 channels at a
// time, and the weights of these channels. Two warps have the pixels of one parity, which meet four taps.
#include "conv_geometry.cuh"
#include "ptx.cuh"

constexpr int THREADS = 256;

// Pixels of one parity along a side of a block, pixels of the patch along a side, and channels of dy at a time.
constexpr int SIDE = 8, PATCH_SIDE = 10, CHANNELS = 32;
constexpr int QUADS = CHANNELS / 4;
// Quads from one pixel to the next: neighbouring pixels begin at other banks.
constexpr int PITCH = QUADS + 1;

// dgrad: dx[p, c] = bias[c] + sum over k and the taps at which a pixel q of dy reads p of weight[k, tap, c] * dy[q, k].
// k and the stride of dy are multiples of 4. Rows 2r + a of dx meet row r - 1 + a of dy by tap 3 - a, and row r + a by
// tap 1 - a. Grid: n * ceil(h / 16) * ceil(w / 16).
template <int OUTPUTS>
__device__ __forceinline__ void conv_dgrad_few(const ConvDgrad& args) {
  constexpr int OUT_QUADS = OUTPUTS / 4;
  STATIC_SMEM(float4, patch, [PATCH_SIDE * PATCH_SIDE * PITCH]);
  STATIC_SMEM(float4, weights, [CHANNELS * 16 * OUT_QUADS]);  // [channel of dy][tap][channels of dx]
  const Shape &dy = args.dy_shape, &dx = args.dx_shape;
  const int t = threadIdx.x;
  const int tile_columns = (dx.width + 2 * SIDE - 1) / (2 * SIDE), tile_rows = (dx.height + 2 * SIDE - 1) / (2 * SIDE);
  const int column = blockIdx.x % tile_columns * SIDE, row = blockIdx.x / tile_columns % tile_rows * SIDE;
  const int image = blockIdx.x / tile_columns / tile_rows;
  const int parity = t / 64, a = parity / 2, b = parity % 2, own_row = t % 64 / SIDE, own_column = t % SIDE;

  float sums[OUTPUTS] = {};
  for (int first = 0; first < dy.channels; first += CHANNELS) {
    __syncthreads();  // the channels before have been read
    for (int i = t; i < PATCH_SIDE * PATCH_SIDE * QUADS; i += THREADS) {
      const int pixel = i / QUADS, k = first + i % QUADS * 4;
      const int dy_row = row - 1 + pixel / PATCH_SIDE, dy_column = column - 1 + pixel % PATCH_SIDE;
      const bool there = inside(dy_row, dy.height) && inside(dy_column, dy.width) && k < dy.channels;
      cp_async16(smem_u32(&patch[pixel * PITCH + i % QUADS]),
                 there ? args.dy + pixel_at(image, dy_row, dy_column, dy) + k : args.dy, there ? 16 : 0);
    }
    cp_async_commit();
    float* const to = &weights[0].x;
    for (int i = t; i < CHANNELS * 16 * OUTPUTS; i += THREADS) {
      const int c = i % OUTPUTS, k_tap = first * 16 + i / OUTPUTS;
      to[i] = c < dx.channels && k_tap < dy.channels * 16 ? args.weight[at(k_tap, args.weight_stride, c)] : 0.0f;
    }
    cp_async_wait<0>();
    __syncthreads();
    float run[OUTPUTS] = {};
#pragma unroll 1
    for (int tap = 0; tap < 4; tap++) {
      const int i = tap / 2, j = tap % 2;
      const float4* const from = patch + ((own_row + a + i) * PATCH_SIDE + own_column + b + j) * PITCH;
      const float4* const weight = weights + ((3 - a - 2 * i) * 4 + 3 - b - 2 * j) * OUT_QUADS;
#pragma unroll 2
      for (int quad = 0; quad < QUADS; quad++) {
        const float4 values = load_vector<float4>(from + quad);
        const float of[4] = {values.x, values.y, values.z, values.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
#pragma unroll
          for (int out = 0; out < OUTPUTS; out += 4) {
            const float4 w = load_vector<float4>(weight + (quad * 4 + k) * 16 * OUT_QUADS + out / 4);
            run[out] = fmaf(of[k], w.x, run[out]);
            run[out + 1] = fmaf(of[k], w.y, run[out + 1]);
            run[out + 2] = fmaf(of[k], w.z, run[out + 2]);
            run[out + 3] = fmaf(of[k], w.w, run[out + 3]);
          }
        }
      }
    }
#pragma unroll
    for (int out = 0; out < OUTPUTS; out++) sums[out] += run[out];
  }

  // The pixels of all parities, so that rows of them are written as they lie.
  static_assert(4 * SIDE * SIDE * OUT_QUADS <= PATCH_SIDE * PATCH_SIDE * PITCH);
  float* const pixels = &patch[0].x;
  __syncthreads();  // the last channels have been read
  float* const own = pixels + ((own_row * 2 + a) * 2 * SIDE + own_column * 2 + b) * dx.channels;
#pragma unroll
  for (int c = 0; c < OUTPUTS; c++) {
    if (c < dx.channels) own[c] = sums[c];
  }
  __syncthreads();
  for (int i = t; i < 4 * SIDE * SIDE * dx.channels; i += THREADS) {
    const int pixel = i / dx.channels, c = i % dx.channels;
    const int dx_row = row * 2 + pixel / (2 * SIDE), dx_column = column * 2 + pixel % (2 * SIDE);
    if (dx_row >= dx.height || dx_column >= dx.width) continue;
    const float value = args.bias ? pixels[i] + args.bias[c] : pixels[i];
    store(args.dx + pixel_at(image, dx_row, dx_column, dx) + c, value, args.accumulate);
  }
}
INSTANCE(conv_dgrad_few_4, THREADS, ConvDgrad, conv_dgrad_few<4>);
INSTANCE(conv_dgrad_few_8, THREADS, ConvDgrad, conv_dgrad_few<8>);
