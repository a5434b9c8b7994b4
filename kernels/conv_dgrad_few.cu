// dgrad with few channels of dx (at most 4), 4x4 taps and stride 2: the transposed convolution that makes a picture,
// and the gradient of a picture.
//
// A block computes 16x16 pixels of dx. It brings the patch of dy that they meet to shared memory, 64 channels at a time,
// and the weights of these channels. Two warps have the pixels of one parity, which meet four taps.
#include "conv_geometry.cuh"
#include "ptx.cuh"

constexpr int THREADS = 256;

// Pixels of one parity along a side of a block, pixels of the patch along a side, and channels of dy at a time.
constexpr int SIDE = 8, PATCH_SIDE = 10, CHANNELS = 64;
constexpr int QUADS = CHANNELS / 4;
// Quads from one pixel to the next: neighbouring pixels begin at other banks.
constexpr int PITCH = QUADS + 1;

// dy [n, h', w', k], weight [k, 4, 4, c], bias [c] or null, dx [n, h, w, c]. k and the stride of dy are multiples of 4.
struct ConvDgradFew {
  const float* dy;
  const float* weight;
  const float* bias;
  float* dx;
  Shape dy_shape, dx_shape;
  int accumulate;
};

// dgrad: dx[p, c] = bias[c] + sum over k and the taps at which a pixel q of dy reads p of weight[k, tap, c] * dy[q, k].
// Rows 2r + a of dx meet row r - 1 + a of dy by tap 3 - a, and row r + a by tap 1 - a. Grid: n * ceil(h / 16) * ceil(w /
// 16).
KERNEL(conv_dgrad_few, THREADS, ConvDgradFew args) {
  STATIC_SMEM(float4, patch, [PATCH_SIDE * PATCH_SIDE * PITCH]);
  STATIC_SMEM(float4, weights, [CHANNELS * 16]);  // [channel of dy][tap], the channels of dx
  const Shape &dy = args.dy_shape, &dx = args.dx_shape;
  const int t = threadIdx.x;
  const int tile_columns = (dx.width + 2 * SIDE - 1) / (2 * SIDE), tile_rows = (dx.height + 2 * SIDE - 1) / (2 * SIDE);
  const int column = blockIdx.x % tile_columns * SIDE, row = blockIdx.x / tile_columns % tile_rows * SIDE;
  const int image = blockIdx.x / tile_columns / tile_rows;
  const int parity = t / 64, a = parity / 2, b = parity % 2, own_row = t % 64 / SIDE, own_column = t % SIDE;

  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
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
    for (int i = t; i < CHANNELS * 16; i += THREADS) {
      const bool there = first + i / 16 < dy.channels;
      const float* const from = args.weight + at(first * 16 + i, dx.channels, 0);
      float4 values = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (there) values.x = from[0];
      if (there && dx.channels > 1) values.y = from[1];
      if (there && dx.channels > 2) values.z = from[2];
      if (there && dx.channels > 3) values.w = from[3];
      store_vector(&weights[i], values);
    }
    cp_async_wait<0>();
    __syncthreads();
    float4 run = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 1
    for (int tap = 0; tap < 4; tap++) {
      const int i = tap / 2, j = tap % 2;
      const float4* const from = patch + ((own_row + a + i) * PATCH_SIDE + own_column + b + j) * PITCH;
      const float4* const weight = weights + (3 - a - 2 * i) * 4 + 3 - b - 2 * j;
#pragma unroll 2
      for (int quad = 0; quad < QUADS; quad++) {
        const float4 values = load_vector<float4>(from + quad);
        const float of[4] = {values.x, values.y, values.z, values.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
          const float4 w = load_vector<float4>(weight + (quad * 4 + k) * 16);
          run = make_float4(fmaf(of[k], w.x, run.x), fmaf(of[k], w.y, run.y), fmaf(of[k], w.z, run.z),
                            fmaf(of[k], w.w, run.w));
        }
      }
    }
    sum = add(sum, run);
  }

  const int dx_row = (row + own_row) * 2 + a, dx_column = (column + own_column) * 2 + b;
  if (image >= dx.images || dx_row >= dx.height || dx_column >= dx.width) return;
  float* const to = args.dx + pixel_at(image, dx_row, dx_column, dx);
  const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
  for (int c = 0; c < 4; c++) {
    if (c < dx.channels) store(to + c, args.bias ? sums[c] + args.bias[c] : sums[c], args.accumulate);
  }
}
