// Weight gradients with a patch of the input in shared memory, and Adam updates behind them.
//
// A block computes the gradient of 4x4 taps, 16 input channels and OUTPUTS output channels. For a tile of 8x8 pixels of
// dy it brings these and the patch of x that their taps read to shared memory, by asynchronous copies of 16 bytes,
// while it multiplies the tile before. A warp has two taps and all channels of the block. With stride 2 the columns of
// the patch lie by parity, so that the two taps of a warp read other banks.
//
// Several blocks share a tile of a gradient that has few, each with a part of the pixels: the last of them to be done
// adds their sums, in order, and goes on with them. c, k and all strides are multiples of 4, and all addresses of 16
// bytes.
#pragma once
#include "conv_wgrad.cuh"

namespace wgrad_patch {

constexpr int THREADS = 256;

// Pixels of a tile along a side; taps along a side, and input channels of a block.
constexpr int SIDE = 8, TAPS = 4, INPUTS = 16;
constexpr int STAGES = 2;
// Tiles after which a sum begins anew, so that its rounding error stays small.
constexpr int RUN = 2;

// The layout of a tile in shared memory, in quads: four channels of a pixel.
template <int STRIDE, int OUTPUTS>
struct Layout {
  static constexpr int PATCH_SIDE = (SIDE - 1) * STRIDE + TAPS, PATCH_PIXELS = PATCH_SIDE * PATCH_SIDE;
  // Columns of one parity: an odd number, since a pixel has half of all banks.
  static constexpr int HALF = PATCH_SIDE / STRIDE;
  static_assert(HALF % 2 == 1, "the two taps of a warp read other banks");
  static constexpr int DEPTH = INPUTS / 4, DY = PATCH_PIXELS * DEPTH;
  static constexpr int SIZE = DY + SIDE * SIDE * OUTPUTS / 4;
  // Copies of a thread.
  static constexpr int PATCH_COPIES = (PATCH_PIXELS * DEPTH + THREADS - 1) / THREADS;
  static constexpr int DY_COPIES = SIDE * SIDE * OUTPUTS / 4 / THREADS;

  // The quad of pixel (row, column) of the patch.
  __device__ __forceinline__ static constexpr int place(int row, int column) {
    return ((row * STRIDE + column % STRIDE) * HALF + column / STRIDE) * DEPTH;
  }
};

// Bytes of shared memory of the kernels: two tiles.
constexpr int S2_64_SHARED = 74240, S2_32_SHARED = 57856, S1_64_SHARED = 48256, S1_32_SHARED = 31872;
static_assert(S2_64_SHARED == STAGES * Layout<2, 64>::SIZE * 16);
static_assert(S2_32_SHARED == STAGES * Layout<2, 32>::SIZE * 16);
static_assert(S1_64_SHARED == STAGES * Layout<1, 64>::SIZE * 16);
static_assert(S1_32_SHARED == STAGES * Layout<1, 32>::SIZE * 16);

// The place of a block: its channels, its share, and the tile of the gradient.
struct Part {
  int first_input, first_output, share, tile;

  __device__ __forceinline__ Part(const ConvWgradShared& args, int block, int outputs) {
    share = block % args.shares;
    tile = block / args.shares;
    const int input_tiles = (args.x_shape.channels + INPUTS - 1) / INPUTS;
    first_input = tile % input_tiles * INPUTS;
    first_output = tile / input_tiles * outputs;
  }
};

// Starts the copies of pixel tile `tile` of dy, and of the patch of x that it meets.
template <int STRIDE, int OUTPUTS>
__device__ __forceinline__ void start_copies(const ConvWgradShared& args, const Part& part, const float4* memory,
                                             int tile) {
  using L = Layout<STRIDE, OUTPUTS>;
  const Shape &x = args.x_shape, &dy = args.dy_shape;
  const int t = threadIdx.x;
  const int tile_columns = (dy.width + SIDE - 1) / SIDE, tile_rows = (dy.height + SIDE - 1) / SIDE;
  const int column = tile % tile_columns * SIDE, row = tile / tile_columns % tile_rows * SIDE;
  const int image = tile / tile_columns / tile_rows;
  const uint32_t to = smem_u32(memory);

  const int input = part.first_input + t % L::DEPTH * 4;
#pragma unroll
  for (int i = 0; i < L::PATCH_COPIES; i++) {
    const int pixel = (t + i * THREADS) / L::DEPTH, patch_row = pixel / L::PATCH_SIDE;
    const int patch_column = pixel % L::PATCH_SIDE;
    if (patch_row >= L::PATCH_SIDE) break;
    const int x_row = row * STRIDE + patch_row - args.geometry.pad_top;
    const int x_column = column * STRIDE + patch_column - args.geometry.pad_left;
    const bool there = inside(x_row, x.height) && inside(x_column, x.width) && input < x.channels;
    cp_async16(to + 16 * (L::place(patch_row, patch_column) + t % L::DEPTH),
               there ? args.x + pixel_at(image, x_row, x_column, x) + input : args.x, there ? 16 : 0);
  }
  constexpr int QUADS = OUTPUTS / 4;
  const int output = part.first_output + t % QUADS * 4;
#pragma unroll
  for (int i = 0; i < L::DY_COPIES; i++) {
    const int pixel = t / QUADS + i * (THREADS / QUADS), dy_row = row + pixel / SIDE, dy_column = column + pixel % SIDE;
    const bool there = dy_row < dy.height && dy_column < dy.width && output < dy.channels;
    cp_async16(to + 16 * (L::DY + t + i * THREADS),
               there ? args.dy + pixel_at(image, dy_row, dy_column, dy) + output : args.dy, there ? 16 : 0);
  }
  cp_async_commit();
}

// The gradient of a thread: one tap, input channels input ... + 3 and input + 8 ... + 11, and the output channels
// output + j and output + OUTPUTS / 2 + j (of 64), j < 4, or output + j (of 32).
struct Lane {
  int tap, input, output;

  __device__ __forceinline__ Lane() {
    // Lanes l and l ^ 1 have one row of the warp's 4 x 8 threads, and l and l ^ 2 one column: two quarters of the warp
    // then read shared memory at once.
    const int lane = threadIdx.x % 32, row = (lane >> 1 & 1) | (lane >> 2 & 2);
    tap = threadIdx.x / 32 * 2 + row / 2;
    input = row % 2 * 4;
    output = ((lane & 1) | (lane >> 1 & 2) | (lane >> 2 & 4)) * 4;
  }
};

__device__ __forceinline__ void multiply_add(float (&sums)[4], float4 x, float dy) {
  sums[0] = fmaf(x.x, dy, sums[0]);
  sums[1] = fmaf(x.y, dy, sums[1]);
  sums[2] = fmaf(x.z, dy, sums[2]);
  sums[3] = fmaf(x.w, dy, sums[3]);
}

// sums[j][i][...] += the products of output j and input quad i, over `rows` rows of the tile in `memory`.
template <int STRIDE, int OUTPUTS>
__device__ __forceinline__ void multiply(float (&sums)[OUTPUTS / 8][2][4], const float4* memory, const Lane& lane,
                                         int rows) {
  using L = Layout<STRIDE, OUTPUTS>;
  const float4* x = memory + L::place(lane.tap / TAPS, 0) + L::place(0, lane.tap % TAPS) + lane.input / 4;
  const float4* dy = memory + L::DY + lane.output / 4;
#pragma unroll 1
  for (int row = 0; row < rows; row++, x += L::place(STRIDE, 0), dy += SIDE * OUTPUTS / 4) {
#pragma unroll
    for (int column = 0; column < SIDE; column++) {
      const float4 x0 = load_vector<float4>(x + L::place(0, column * STRIDE));
      const float4 x1 = load_vector<float4>(x + L::place(0, column * STRIDE) + 2);
#pragma unroll
      for (int half = 0; half < OUTPUTS / 32; half++) {
        const float4 d = load_vector<float4>(dy + column * (OUTPUTS / 4) + half * 8);
        const float values[4] = {d.x, d.y, d.z, d.w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
          multiply_add(sums[half * 4 + j][0], x0, values[j]);
          multiply_add(sums[half * 4 + j][1], x1, values[j]);
        }
      }
    }
  }
}

// Calls use(offset in dweight, four values) for the gradient of this thread, in the block that has all of it.
template <int STRIDE, int OUTPUTS, class Use>
__device__ __forceinline__ void wgrad(const ConvWgradShared& args, int block, Use use) {
  using L = Layout<STRIDE, OUTPUTS>;
  constexpr int OWN = OUTPUTS / 8;  // output channels of a thread
  DYN_SMEM(float4, memory, 128);
  STATIC_SMEM(unsigned, is_last, [1]);
  const Part part(args, block, OUTPUTS);
  const Lane lane;
  const Shape& dy = args.dy_shape;
  const int tile_columns = (dy.width + SIDE - 1) / SIDE, tile_rows = (dy.height + SIDE - 1) / SIDE;
  const int tiles = dy.images * tile_rows * tile_columns;
  const int begin = part.share * tiles / args.shares, end = (part.share + 1) * tiles / args.shares;

  float totals[OWN][2][4] = {}, run[OWN][2][4] = {};
  if (begin < end) start_copies<STRIDE, OUTPUTS>(args, part, memory, begin);
  for (int tile = begin; tile < end; tile++) {
    cp_async_wait<0>();
    __syncthreads();  // the tile is there, and the one before it has been read
    if (tile + 1 < end) {
      start_copies<STRIDE, OUTPUTS>(args, part, memory + (tile + 1 - begin) % STAGES * L::SIZE, tile + 1);
    }
    const int rows = min(SIDE, dy.height - tile / tile_columns % tile_rows * SIDE);
    multiply<STRIDE, OUTPUTS>(run, memory + (tile - begin) % STAGES * L::SIZE, lane, rows);
    if ((tile + 1 - begin) % RUN != 0 && tile + 1 < end) continue;
#pragma unroll
    for (int j = 0; j < OWN; j++) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        totals[j][i / 4][i % 4] += run[j][i / 4][i % 4];
        run[j][i / 4][i % 4] = 0.0f;
      }
    }
  }

  float4 quads[OWN * 2];
#pragma unroll
  for (int i = 0; i < OWN * 2; i++) {
    const float* const four = totals[i / 2][i % 2];
    quads[i] = make_float4(four[0], four[1], four[2], four[3]);
  }
  if (!add_shares<OWN * 2, THREADS>(quads, args.sums, args.tickets, part.tile, part.share, args.shares, is_last)) {
    return;
  }
#pragma unroll
  for (int j = 0; j < OWN; j++) {
    const int output = part.first_output + lane.output + j / 4 * (OUTPUTS / 2) + j % 4;
    if (output >= dy.channels) continue;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int input = part.first_input + lane.input + i * 8;
      if (input >= args.x_shape.channels) continue;
      use(at(output * (TAPS * TAPS) + lane.tap, args.x_shape.channels, input), quads[j * 2 + i]);
    }
  }
}

// wgrad with 4x4 taps: dweight[k, tap, c] = sum over q of dy[q, k] * x[q * STRIDE + tap - pad, c], or the sum added to
// dweight. Shared memory: two tiles. Grid: shares * ceil(c / 16) * ceil(k / OUTPUTS).
template <int STRIDE, int OUTPUTS>
__device__ __forceinline__ void write(const ConvWgradGrad& args) {
  wgrad<STRIDE, OUTPUTS>(args.wgrad, blockIdx.x,
                         [&](size_t offset, float4 value) { write_gradient(args, offset, value); });
}

// The same gradient, by which the parameters and their moments are updated; `block` is the block's index in that grid.
template <int STRIDE, int OUTPUTS>
__device__ __forceinline__ void update(const ConvWgradAdam& args, int block) {
  STATIC_SMEM(float, corrections, [2]);
  const AdamRule rule(args.state, corrections);
  wgrad<STRIDE, OUTPUTS>(args.wgrad, block,
                         [&](size_t offset, float4 value) { rule.update(args.state, offset, value); });
}

}  // namespace wgrad_patch
