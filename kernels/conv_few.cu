// Convolutions with few input channels, 4x4 taps and stride 2: fprop, in tiles of 8x8 pixels by 64 channels, and wgrad.
//
// The input channels of a row of taps lie one behind the other in memory: a run of 4 c values for each output. So a
// block brings the patch that its tile reads to shared memory as it lies, a row of pixels behind the other, and takes
// runs in pairs of values, which are aligned for any c. Each group of warps of fprop has one row of taps.
#include "conv_tile.cuh"
#include "conv_wgrad.cuh"

// Input channels, taps along a side, and pixels of the patch along a side.
constexpr int MOST_INPUTS = 8, TAPS = 4, PATCH_SIDE = 18;
constexpr int PATCH_FLOATS = PATCH_SIDE * PATCH_SIDE * MOST_INPUTS;
// Pairs of values of the weights, from one pair of all outputs to the next.
constexpr int PAIR_PITCH = CHANNELS + 1;
constexpr int PIXELS = Tile<SIDE>::PIXELS, GROUPS = Tile<SIDE>::GROUPS;

// Starts the copies of the patch of the tile at (row, column) of y to `patch`: [row][column][c].
__device__ __forceinline__ void copy_patch(const float* x, const Shape& shape, const Geometry& geometry, int image,
                                           int row, int column, const float* patch) {
  const int floats = PATCH_SIDE * shape.channels;  // of a row
  for (int i = threadIdx.x; i < PATCH_SIDE * floats; i += THREADS) {
    const int x_row = row * 2 + i / floats - geometry.pad_top;
    const int x_column = column * 2 + i % floats / shape.channels - geometry.pad_left;
    const bool there = inside(x_row, shape.height) && inside(x_column, shape.width);
    const float* const from = x + pixel_at(image, x_row, x_column, shape) + i % shape.channels;
    cp_async4(smem_u32(patch + i), there ? from : x, there ? 4 : 0);
  }
}

// fprop: y[q, k] = bias[k] + sum over taps and c of weight[k, tap, c] * x[q * 2 + tap - pad, c], with at most 8 input
// channels. `shares` is 1. Shared memory: the sums of all groups. Grid: (ceil(k / 64), n * ceil(h' / 8) * ceil(w' /
// 8)).
constexpr int FPROP_SHARED = 73728;
static_assert(FPROP_SHARED == Exchange<SIDE, false>::BYTES &&
              FPROP_SHARED >= PATCH_FLOATS * 4 + TAPS * TAPS / 2 * MOST_INPUTS * PAIR_PITCH * 8);
KERNEL(conv_fprop_few, THREADS, ConvPatch args) {
  DYN_SMEM(float, memory, 128);
  const Shape &x = args.input_shape, &y = args.output_shape;
  const Meeting meeting = {y.height, y.width, 1, 0, 0, 0, 0, 0, 0, 1};
  const int tile_rows = (y.height + SIDE - 1) / SIDE, tile_columns = (y.width + SIDE - 1) / SIDE;
  const int first_out = blockIdx.x * CHANNELS, t = threadIdx.x;
  const int row = blockIdx.y / tile_columns % tile_rows * SIDE, column = blockIdx.y % tile_columns * SIDE;
  const int image = blockIdx.y / tile_columns / tile_rows;

  float* const patch = memory;
  float2* const weights = reinterpret_cast<float2*>(memory + PATCH_FLOATS);  // [row of taps][pair][output]
  copy_patch(args.input, x, args.geometry, image, row, column, patch);
  const int pairs = TAPS * x.channels / 2, all_pairs = TAPS * pairs;
  for (int i = t; i < all_pairs * CHANNELS; i += THREADS) {
    const int pair = i % all_pairs, out = i / all_pairs;
    const bool there = first_out + out < y.channels;
    const float* const from = args.weight + at(first_out + out, 2 * all_pairs, 2 * pair);
    cp_async8(smem_u32(weights + pair * PAIR_PITCH + out), there ? from : args.weight, there ? 8 : 0);
  }
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();

  const Lane lane;
  const int warp = t / 32, group = warp / 2, floats = PATCH_SIDE * x.channels;
  const float* const in = patch + (warp % 2 * 8 + group) * floats + lane.row * 2 * x.channels;
  const float2* const w = weights + group * pairs * PAIR_PITCH + lane.column;
  float sums[8][8] = {};
#pragma unroll 2
  for (int pair = 0; pair < pairs; pair++) {
    float2 values[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      values[i] = load_vector<float2>(in + i / 2 * 2 * floats + i % 2 * 8 * x.channels + 2 * pair);
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const float2 weight = load_vector<float2>(w + pair * PAIR_PITCH + j * 8);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        sums[i][j] = fmaf(values[i].x, weight.x, sums[i][j]);
        sums[i][j] = fmaf(values[i].y, weight.y, sums[i][j]);
      }
    }
  }
  finish<SIDE, false>(args, meeting, sums, memory, lane, 0, 0, image, row, column, first_out);
}

constexpr int WGRAD_SHARED = 98304;

// Calls use(offset in dweight, four values) in the block that has the whole gradient of 64 output channels.
//
// A tile of 8x8 pixels of dy and its patch of x are in shared memory, and those of the next tile on their way. Each
// group of warps has two rows of the tile; a thread of it has half a run of one row of taps, and eight output channels.
// x has INPUTS channels; k and the stride of dy are multiples of 4. A tile of the gradient has so many shares that each
// is small enough to be added up in one run.
template <int INPUTS, class Use>
__device__ __forceinline__ void wgrad_few(const ConvWgradShared& args, Use use) {
  constexpr int PATCH = PATCH_SIDE * PATCH_SIDE * INPUTS, STAGE = PATCH + PIXELS * CHANNELS;
  constexpr int WEIGHTS = TAPS * TAPS * INPUTS;  // of an output channel
  static_assert(2 * STAGE * 4 <= WGRAD_SHARED && GROUPS * CHANNELS * WEIGHTS * 4 <= WGRAD_SHARED);
  DYN_SMEM(float, memory, 128);
  STATIC_SMEM(unsigned, is_last, [1]);
  const Shape &x = args.x_shape, &dy = args.dy_shape;
  const int t = threadIdx.x, share = blockIdx.x % args.shares, tile_of_weights = blockIdx.x / args.shares;
  const int first_out = tile_of_weights * CHANNELS;
  const int tile_rows = (dy.height + SIDE - 1) / SIDE, tile_columns = (dy.width + SIDE - 1) / SIDE;
  const int tiles = dy.images * tile_rows * tile_columns;
  const int begin = share * tiles / args.shares, end = (share + 1) * tiles / args.shares;
  const auto start_copies = [&](int tile, float* stage) {
    const int row = tile / tile_columns % tile_rows * SIDE, column = tile % tile_columns * SIDE;
    const int image = tile / tile_columns / tile_rows;
    copy_patch(args.x, x, args.geometry, image, row, column, stage);
    const int out = first_out + t % 16 * 4;
#pragma unroll
    for (int i = 0; i < PIXELS / 16; i++) {
      const int pixel = t / 16 + i * 16, dy_row = row + pixel / SIDE, dy_column = column + pixel % SIDE;
      const bool there = dy_row < dy.height && dy_column < dy.width && out < dy.channels;
      cp_async16(smem_u32(stage + PATCH + (t + i * THREADS) * 4),
                 there ? args.dy + pixel_at(image, dy_row, dy_column, dy) + out : args.dy, there ? 16 : 0);
    }
    cp_async_commit();
  };

  const Lane lane;
  const int group = t / 64, half = t / 32 % 2;
  float sums[INPUTS * 2][8] = {};
  if (begin < end) start_copies(begin, memory);
  for (int tile = begin; tile < end; tile++) {
    cp_async_wait<0>();
    __syncthreads();  // the tile is there, and the one before it has been read
    if (tile + 1 < end) start_copies(tile + 1, memory + (tile + 1 - begin) % 2 * STAGE);
    const float* const patch =
        memory + (tile - begin) % 2 * STAGE + lane.row * (PATCH_SIDE * INPUTS) + half * 2 * INPUTS;
    const float* const gradients = memory + (tile - begin) % 2 * STAGE + PATCH + lane.column * 4;
#pragma unroll 4
    for (int i = 0; i < PIXELS / GROUPS; i++) {
      const int row = group * (SIDE / GROUPS) + i / SIDE, column = i % SIDE;
      const float4 low = load_vector<float4>(gradients + (row * SIDE + column) * CHANNELS);
      const float4 high = load_vector<float4>(gradients + (row * SIDE + column) * CHANNELS + 32);
      const float d[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
      for (int pair = 0; pair < INPUTS; pair++) {
        const float2 values = load_vector<float2>(patch + (row * PATCH_SIDE + column) * 2 * INPUTS + 2 * pair);
#pragma unroll
        for (int j = 0; j < 8; j++) {
          sums[2 * pair][j] = fmaf(values.x, d[j], sums[2 * pair][j]);
          sums[2 * pair + 1][j] = fmaf(values.y, d[j], sums[2 * pair + 1][j]);
        }
      }
    }
  }

  __syncthreads();  // all groups have read the last tile
  float* const mine = memory + group * (CHANNELS * WEIGHTS) + lane.row * (TAPS * INPUTS) + half * 2 * INPUTS;
#pragma unroll
  for (int j = 0; j < 8; j++) {
    const int out = j / 4 * 32 + lane.column * 4 + j % 4;
#pragma unroll
    for (int m = 0; m < 2 * INPUTS; m += 2) {
      store_vector(mine + out * WEIGHTS + m, make_float2(sums[m][j], sums[m + 1][j]));
    }
  }
  __syncthreads();
  constexpr int OWN = CHANNELS * WEIGHTS / 4 / THREADS;
  float4 totals[OWN];
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const float* const from = memory + (t + i * THREADS) * 4;
    totals[i] = load_vector<float4>(from);
    for (int other = 1; other < GROUPS; other++) {
      totals[i] = add(totals[i], load_vector<float4>(from + other * (CHANNELS * WEIGHTS)));
    }
  }
  if (!add_shares<OWN, THREADS>(totals, args.sums, args.tickets, tile_of_weights, share, args.shares, is_last)) return;
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const int weight = (t + i * THREADS) * 4;
    if (first_out + weight / WEIGHTS < dy.channels) use(size_t(first_out) * WEIGHTS + weight, totals[i]);
  }
}

// wgrad: dweight[k, tap, c] = sum over q of dy[q, k] * x[q * 2 + tap - pad, c], or the sum added to dweight. Shared
// memory: two tiles, or the sums of all groups. Grid: shares * ceil(k / 64).
template <int INPUTS>
__device__ __forceinline__ void conv_wgrad_few(const ConvWgradGrad& args) {
  wgrad_few<INPUTS>(args.wgrad, [&](size_t offset, float4 value) { write_gradient(args, offset, value); });
}
INSTANCE(conv_wgrad_few_1, THREADS, ConvWgradGrad, conv_wgrad_few<1>);
INSTANCE(conv_wgrad_few_2, THREADS, ConvWgradGrad, conv_wgrad_few<2>);
INSTANCE(conv_wgrad_few_3, THREADS, ConvWgradGrad, conv_wgrad_few<3>);
INSTANCE(conv_wgrad_few_4, THREADS, ConvWgradGrad, conv_wgrad_few<4>);
INSTANCE(conv_wgrad_few_6, THREADS, ConvWgradGrad, conv_wgrad_few<6>);

// The same gradient, by which the parameters and their moments are updated. Grid and shared memory as above.
template <int INPUTS>
__device__ __forceinline__ void conv_wgrad_adam_few(const ConvWgradAdam& args) {
  STATIC_SMEM(float, corrections, [2]);
  const AdamRule rule(args.state, corrections);
  wgrad_few<INPUTS>(args.wgrad, [&](size_t offset, float4 value) { rule.update(args.state, offset, value); });
}
INSTANCE(conv_wgrad_adam_few_1, THREADS, ConvWgradAdam, conv_wgrad_adam_few<1>);
INSTANCE(conv_wgrad_adam_few_2, THREADS, ConvWgradAdam, conv_wgrad_adam_few<2>);
INSTANCE(conv_wgrad_adam_few_3, THREADS, ConvWgradAdam, conv_wgrad_adam_few<3>);
INSTANCE(conv_wgrad_adam_few_4, THREADS, ConvWgradAdam, conv_wgrad_adam_few<4>);
INSTANCE(conv_wgrad_adam_few_6, THREADS, ConvWgradAdam, conv_wgrad_adam_few<6>);
