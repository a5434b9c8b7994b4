// Tiles of a convolution's output, 8x8 or 4x4 pixels by 64 channels, computed by a block of eight warps in groups. Each
// group has the whole tile and a part of the sum; where several blocks share a tile, each has a part.
#pragma once
#include "conv_geometry.cuh"
#include "tickets.cuh"

constexpr int THREADS = 256;

// Pixels of a tile along a side, and its channels.
constexpr int SIDE = 8, SMALL_SIDE = 4, CHANNELS = 64;

// The layout of a tile of S x S pixels over the threads: a thread has eight channels of each of its pixels, and a warp
// four rows.
template <int S>
struct Tile {
  static constexpr int PIXELS = S * S, WARPS = S / 4, GROUPS = THREADS / 32 / WARPS;  // warps of a group
  static constexpr int OWN = S;                                                       // pixels of a thread
  // The row and the column of a thread's pixel i, from its warp's first row and its lane's first column.
  __device__ __forceinline__ static constexpr int row(int i) { return i / WARPS; }
  __device__ __forceinline__ static constexpr int column(int i) { return i % WARPS * 4; }
};

// `input` is x [n, h, w, c] or dy [n, h', w', k], `output` y or dx, weight [k, taps, taps, c], bias one number for each
// channel of `output` or null. All channels and strides are multiples of 4, and all addresses of 16 bytes.
//
// `shares` blocks share a tile; `sums` has room for the sums of each, and `tickets` a zero for each tile.
struct ConvPatch {
  const float* input;
  const float* weight;
  const float* bias;
  float* output;
  float* sums;
  unsigned* tickets;
  Shape input_shape, output_shape;
  Geometry geometry;
  Epilogue epilogue;
  int shares, accumulate;
};

// A block's place in the grid of a convolution, and the grid's columns and rows.
struct Place {
  int x, y, z, columns, rows;
};

// The place in a launch of that convolution alone.
__device__ __forceinline__ Place own_place() {
  return {int(blockIdx.x), int(blockIdx.y), int(blockIdx.z), int(gridDim.x), int(gridDim.y)};
}

// The pixels and taps that meet: output (row, column) of a grid of rows x columns is pixel (row * step + first_row,
// column * step + first_column) of `output`. Its tap (i, j) reads pixel (row * STRIDE + i - pad_row, column * STRIDE +
// j - pad_column) of `input`, and is tap (tap_row + i * tap_step, tap_column + j * tap_step) of the weight.
struct Meeting {
  int rows, columns, step, first_row, first_column;
  int pad_row, pad_column;
  int tap_row, tap_column, tap_step;
};

// The lane of a thread in its warp's 4 x 8 threads: four columns of pixels by eight of channels. Lanes l and l ^ 1 have
// one row, and l and l ^ 2 one column: two quarters of a warp then read shared memory at once.
struct Lane {
  int row, column;

  __device__ __forceinline__ Lane() {
    const int lane = threadIdx.x % 32;
    row = (lane >> 1 & 1) | (lane >> 2 & 2);
    column = (lane & 1) | (lane >> 1 & 2) | (lane >> 2 & 4);
  }
};

// Output j of a thread's eight: of fprop every eighth channel, of dgrad two quads.
template <bool DGRAD>
__device__ __forceinline__ int out_of(const Lane& lane, int j) {
  return DGRAD ? j / 4 * 32 + lane.column * 4 + j % 4 : j * 8 + lane.column;
}

// Floats from one pixel to the next where the groups exchange their sums: the stores of a warp go to other banks.
template <int S, bool DGRAD>
struct Exchange {
  static constexpr int PITCH = DGRAD ? CHANNELS + 16 : CHANNELS + 8;
  static constexpr int BYTES = Tile<S>::GROUPS * Tile<S>::PIXELS * PITCH * 4;
};

// As `finished`, of four channels from `channel` on.
__device__ __forceinline__ float4 finished_quad(const Epilogue& epilogue, float4 value, int image, int pixel,
                                                int pixels, int channel) {
  if (epilogue.activates) return rectified(value, value, epilogue.negative_slope);
  if (!epilogue.y) return value;
  if (epilogue.addend) {
    const float* const addend = epilogue.addend + at(image * pixels + pixel, epilogue.addend_stride, channel);
    value = add_rounded(load_vector<float4>(addend), value);
  }
  const int y_pixel = image % epilogue.y_images * pixels + pixel;
  return rectified(value, load_vector<float4>(epilogue.y + at(y_pixel, epilogue.y_stride, channel)),
                   epilogue.negative_slope);
}

// The tile of the block: its sums of all groups and shares, with the bias, through the epilogue to `output`.
template <int S, bool DGRAD>
__device__ __forceinline__ void finish(const ConvPatch& args, const Meeting& meeting, const float (&sums)[S][8],
                                       float* exchange, const Lane& lane, int tile, int share, int image, int row,
                                       int column, int first_out) {
  using T = Tile<S>;
  constexpr int PITCH = Exchange<S, DGRAD>::PITCH, PIXELS = T::PIXELS;
  STATIC_SMEM(unsigned, is_last, [1]);
  const int t = threadIdx.x, warp = t / 32;
  __syncthreads();  // all groups have read the last chunk
  float* const first = exchange + (warp / T::WARPS * PIXELS + warp % T::WARPS * (4 * S) + lane.row) * PITCH;
#pragma unroll
  for (int i = 0; i < T::OWN; i++) {
    float* const mine = first + (T::row(i) * S + T::column(i)) * PITCH;
    if (DGRAD) {
      for (int half = 0; half < 2; half++) {
        store_vector(mine + out_of<DGRAD>(lane, half * 4), make_float4(sums[i][half * 4], sums[i][half * 4 + 1],
                                                                       sums[i][half * 4 + 2], sums[i][half * 4 + 3]));
      }
    } else {
      for (int j = 0; j < 8; j++) mine[out_of<DGRAD>(lane, j)] = sums[i][j];
    }
  }
  __syncthreads();

  // From here on a thread has four outputs of every sixteenth pixel.
  constexpr int STEP = THREADS / (CHANNELS / 4), OWN = PIXELS / STEP;
  const int out = first_out + t % (CHANNELS / 4) * 4, first_pixel = t / (CHANNELS / 4);
  float4 totals[OWN];
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const float* const from = exchange + (first_pixel + i * STEP) * PITCH + t % (CHANNELS / 4) * 4;
    totals[i] = load_vector<float4>(from);
    for (int group = 1; group < T::GROUPS; group++) {
      totals[i] = add(totals[i], load_vector<float4>(from + group * PIXELS * PITCH));
    }
  }
  if (!add_shares<OWN, THREADS>(totals, args.sums, args.tickets, tile, share, args.shares, is_last)) return;
  if (out >= args.output_shape.channels) return;
  const float4 bias = args.bias ? load_vector<float4>(args.bias + out) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
  for (int i = 0; i < OWN; i++) {
    const int pixel = first_pixel + i * STEP, grid_row = row + pixel / S, grid_column = column + pixel % S;
    if (grid_row >= meeting.rows || grid_column >= meeting.columns) continue;
    const int out_row = grid_row * meeting.step + meeting.first_row;
    const int out_column = grid_column * meeting.step + meeting.first_column;
    float* const to = args.output + pixel_at(image, out_row, out_column, args.output_shape) + out;
    const float4 value =
        finished_quad(args.epilogue, add(totals[i], bias), image, out_row * args.output_shape.width + out_column,
                      args.output_shape.height * args.output_shape.width, out);
    store_vector(to, args.accumulate ? add_rounded(load_vector<float4>(to), value) : value);
  }
}
