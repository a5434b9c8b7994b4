// Convolution with a patch of the input in shared memory: fprop and dgrad, in tiles of 8x8 pixels by 64 channels, or of
// 4x4 where the output is as small.
//
// A block computes a tile. For a chunk of input channels it brings the patch of pixels that the tile's taps read and
// the weights of all taps to shared memory, by asynchronous copies of 16 bytes, while it multiplies the chunk before.
// Every tap reads the patch at another shift, so an input value is loaded once for all taps. With stride 2 the columns
// of the patch lie by parity: neighbouring outputs then read neighbouring values.
//
// dgrad is the same sum with other taps. Where the stride is 2, the pixels of dx of one parity meet only the taps of
// one parity, and together these are a 2x2 convolution of dy with stride 1.
//
// The eight warps of a block are four groups of two, or eight groups for a small tile. A group has the whole tile and a
// part of the taps or channels; the groups' sums are added in order at the end. Where there are few tiles, several
// blocks share one, each with a part of the channels: the last of them to be done adds their sums, again in order.
#pragma once
#include "conv_tile.cuh"

// Four input channels are a quad. Those of a chunk, with 4x4, 3x3 and 2x2 taps: 32 or 36 for all taps together.
constexpr int DEPTH_4X4 = 2, DEPTH_3X3 = 4, DEPTH_2X2 = 8;
constexpr int STAGES = 2;
// Chunks after which a sum begins anew, so that its rounding error stays small.
constexpr int RUN = 4;

// The layout of a chunk in shared memory, in quads: the patch, then the weights.
template <int S, int TAPS, int STRIDE, bool DGRAD>
struct Chunk {
  // Pixels of the patch along a side, quads of each, and those of all taps.
  static constexpr int PATCH_SIDE = (S - 1) * STRIDE + TAPS;
  static constexpr int DEPTH = TAPS == 4 ? DEPTH_4X4 : TAPS == 3 ? DEPTH_3X3 : DEPTH_2X2;
  static constexpr int QUADS = TAPS * TAPS * DEPTH;
  static_assert(DGRAD || THREADS % QUADS == 0, "the copies of a thread have one quad");
  // From one parity of columns to the next, and from one quad of all pixels to the next: the copies of eight
  // neighbouring threads go to eight groups of banks.
  static constexpr int HALF = STRIDE == 1 ? PATCH_SIDE : PATCH_SIDE / 2 + 1;
  static constexpr int PLACES = PATCH_SIDE * STRIDE * HALF, PLANE = PLACES + (8 / DEPTH + 7 * PLACES) % 8;
  static constexpr int WEIGHTS = DEPTH * PLANE;
  // A row of weights is one quad of all outputs for fprop, whose inputs are contiguous in memory; for dgrad, whose
  // outputs are, all outputs of one input channel and tap.
  static constexpr int ROWS = DGRAD ? 4 * QUADS : QUADS;
  static constexpr int PITCH = DGRAD ? CHANNELS / 4 : CHANNELS + 1;
  static constexpr int SIZE = WEIGHTS + ROWS * PITCH;
  // Copies of a thread.
  static constexpr int PATCH_COPIES = (PATCH_SIDE * PATCH_SIDE * DEPTH + THREADS - 1) / THREADS;
  static constexpr int WEIGHT_COPIES = QUADS * CHANNELS / THREADS;

  // The offset of pixel (row, column) of the patch in a plane.
  __device__ __forceinline__ static constexpr int place(int row, int column) {
    return (row * STRIDE + column % STRIDE) * HALF + column / STRIDE;
  }
};

// Bytes of shared memory of the kernels: two chunks, or the sums of all groups.
template <int S, int TAPS, int STRIDE, bool DGRAD>
constexpr int shared_bytes() {
  using C = Chunk<S, TAPS, STRIDE, DGRAD>;
  constexpr int chunks = STAGES * C::SIZE * 16, sums = Exchange<S, DGRAD>::BYTES;
  return chunks > sums ? chunks : sums;
}
constexpr int FPROP_4X4S2_SHARED = 89856, FPROP_4X4S1_SHARED = 74496;
constexpr int DGRAD_4X4S2_SHARED = 86272, DGRAD_4X4S1_SHARED = 81920, DGRAD_3X3S1_SHARED = 87296;
constexpr int FPROP_4X4S2_SMALL_SHARED = 74496, DGRAD_4X4S2_SMALL_SHARED = 71936;
static_assert(FPROP_4X4S2_SHARED == shared_bytes<SIDE, 4, 2, false>());
static_assert(FPROP_4X4S2_SMALL_SHARED == shared_bytes<SMALL_SIDE, 4, 2, false>());
static_assert(FPROP_4X4S1_SHARED == shared_bytes<SIDE, 4, 1, false>());
static_assert(DGRAD_4X4S2_SHARED == shared_bytes<SIDE, 2, 1, true>());
static_assert(DGRAD_4X4S2_SMALL_SHARED == shared_bytes<SMALL_SIDE, 2, 1, true>());
static_assert(DGRAD_4X4S1_SHARED == shared_bytes<SIDE, 4, 1, true>());
static_assert(DGRAD_3X3S1_SHARED == shared_bytes<SIDE, 3, 1, true>());

// The copies of one thread for a chunk: the same for every chunk, but for the channel.
template <int S, int TAPS, int STRIDE, bool DGRAD>
struct Copies {
  using C = Chunk<S, TAPS, STRIDE, DGRAD>;

  // Offsets in `input` and `weight` for channel 0, and in shared memory. Bit i of a mask: copy i brings something.
  unsigned pixel[C::PATCH_COPIES], weight[C::WEIGHT_COPIES];
  int place[C::PATCH_COPIES], weight_place, channel;
  unsigned pixels_there = 0, weights_there = 0;

  __device__ __forceinline__ Copies(const ConvPatch& args, const Meeting& meeting, int image, int row, int column,
                                    int first_out) {
    const int t = threadIdx.x;
    channel = t % C::DEPTH * 4;
#pragma unroll
    for (int i = 0; i < C::PATCH_COPIES; i++) {
      const int p = (t + i * THREADS) / C::DEPTH, patch_row = p / C::PATCH_SIDE, patch_column = p % C::PATCH_SIDE;
      const int in_row = row * STRIDE + patch_row - meeting.pad_row;
      const int in_column = column * STRIDE + patch_column - meeting.pad_column;
      place[i] = patch_row < C::PATCH_SIDE ? t % C::DEPTH * C::PLANE + C::place(patch_row, patch_column) : -1;
      const bool there =
          place[i] >= 0 && inside(in_row, args.input_shape.height) && inside(in_column, args.input_shape.width);
      pixel[i] = there ? unsigned(pixel_at(image, in_row, in_column, args.input_shape)) : 0;
      pixels_there |= unsigned(there) << i;
    }
    const int taps = args.geometry.kernel_columns;
    const auto tap_of = [&](int tap) {
      return (meeting.tap_row + tap / TAPS * meeting.tap_step) * taps + meeting.tap_column +
             tap % TAPS * meeting.tap_step;
    };
#pragma unroll
    for (int i = 0; i < C::WEIGHT_COPIES; i++) {
      if (DGRAD) {
        const int in_row = t / (CHANNELS / 4) + i * (THREADS / (CHANNELS / 4)),
                  out = first_out + t % (CHANNELS / 4) * 4;
        const int tap = in_row / (4 * C::DEPTH), k = in_row % (4 * C::DEPTH);
        weight[i] = unsigned(at(k * taps * taps + tap_of(tap), args.output_shape.channels, out));
        weights_there |= unsigned(out < args.output_shape.channels) << i;
      } else {
        const int out = first_out + t / C::QUADS + i * (THREADS / C::QUADS);
        weight[i] =
            unsigned(at(out * taps * taps + tap_of(t % C::QUADS / C::DEPTH), args.input_shape.channels, channel));
        weights_there |= unsigned(out < args.output_shape.channels) << i;
      }
    }
    weight_place = C::WEIGHTS + (DGRAD ? t : t % C::QUADS * C::PITCH + t / C::QUADS);
  }

  // Starts the copies of the input channels from `first` on to `chunk`.
  __device__ __forceinline__ void start(const ConvPatch& args, const float4* chunk, int first) const {
    const int channels = args.input_shape.channels;
    const uint32_t to = smem_u32(chunk);
#pragma unroll
    for (int i = 0; i < C::PATCH_COPIES; i++) {
      if (place[i] < 0) continue;
      const bool there = pixels_there >> i & 1 && first + channel < channels;
      cp_async16(to + 16 * place[i], args.input + (there ? pixel[i] + first + channel : 0), there ? 16 : 0);
    }
    const int taps = args.geometry.kernel_rows * args.geometry.kernel_columns;
    const float* const weights = args.weight + (DGRAD ? at(first * taps, args.output_shape.channels, 0) : first);
#pragma unroll
    for (int i = 0; i < C::WEIGHT_COPIES; i++) {
      const int k = DGRAD ? (threadIdx.x / (CHANNELS / 4) + i * (THREADS / (CHANNELS / 4))) % (4 * C::DEPTH) : channel;
      const bool there = weights_there >> i & 1 && first + k < channels;
      const int next = DGRAD ? THREADS : THREADS / C::QUADS;
      cp_async16(to + 16 * (weight_place + i * next), there ? weights + weight[i] : args.weight, there ? 16 : 0);
    }
    cp_async_commit();
  }
};

// sums[i][j] += the products of pixel i and output j, for the part of `chunk` that the thread's group has: some taps, a
// row of 4x4 or one of 2x2, or of all 3x3 taps some quads.
template <int S, int TAPS, int STRIDE, bool DGRAD>
__device__ __forceinline__ void multiply(float (&sums)[S][8], const float4* chunk, const Lane& lane) {
  using C = Chunk<S, TAPS, STRIDE, DGRAD>;
  using T = Tile<S>;
  constexpr int GROUPS = T::GROUPS;
  constexpr bool BY_TAP = TAPS * TAPS % GROUPS == 0;
  static_assert(BY_TAP || C::DEPTH % GROUPS == 0, "every group has as much to do");
  constexpr int OWN_TAPS = BY_TAP ? TAPS * TAPS / GROUPS : TAPS * TAPS, DEPTHS = BY_TAP ? C::DEPTH : C::DEPTH / GROUPS;
  constexpr int OF_QUAD = DGRAD ? 4 : 1;  // rows of weights
  const int warp = threadIdx.x / 32, group = warp / T::WARPS;
  const int first_tap = BY_TAP ? group * OWN_TAPS : 0, first_depth = BY_TAP ? 0 : group * DEPTHS;
  // A warp of a group has four rows of pixels.
  const float4* const patch = chunk + first_depth * C::PLANE + C::place(first_tap / TAPS, first_tap % TAPS) +
                              C::place(warp % T::WARPS * 4 * STRIDE, 0) + lane.row;
  const float4* const weights =
      chunk + C::WEIGHTS + (first_tap * C::DEPTH + first_depth) * OF_QUAD * C::PITCH + lane.column;
#pragma unroll
  for (int step = 0; step < OWN_TAPS * DEPTHS; step++) {
    const int tap = step / DEPTHS, depth = step % DEPTHS;
    const float4* const from = patch + depth * C::PLANE + C::place(tap / TAPS, tap % TAPS);
    const float4* const rows = weights + (tap * C::DEPTH + depth) * OF_QUAD * C::PITCH;
    float4 in[T::OWN];
#pragma unroll
    for (int i = 0; i < T::OWN; i++) {
      in[i] = load_vector<float4>(from + C::place(T::row(i) * STRIDE, T::column(i) * STRIDE));
    }
    if (DGRAD) {
#pragma unroll
      for (int k = 0; k < 4; k++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const float4 w = load_vector<float4>(rows + k * C::PITCH + half * 8);
#pragma unroll
          for (int i = 0; i < T::OWN; i++) {
            const float value = k == 0 ? in[i].x : k == 1 ? in[i].y : k == 2 ? in[i].z : in[i].w;
            sums[i][half * 4 + 0] = fmaf(value, w.x, sums[i][half * 4 + 0]);
            sums[i][half * 4 + 1] = fmaf(value, w.y, sums[i][half * 4 + 1]);
            sums[i][half * 4 + 2] = fmaf(value, w.z, sums[i][half * 4 + 2]);
            sums[i][half * 4 + 3] = fmaf(value, w.w, sums[i][half * 4 + 3]);
          }
        }
      }
    } else {
#pragma unroll
      for (int j = 0; j < 8; j++) {
        const float4 w = load_vector<float4>(rows + j * 8);
#pragma unroll
        for (int i = 0; i < T::OWN; i++) {
          sums[i][j] = fmaf(in[i].x, w.x, sums[i][j]);
          sums[i][j] = fmaf(in[i].y, w.y, sums[i][j]);
          sums[i][j] = fmaf(in[i].z, w.z, sums[i][j]);
          sums[i][j] = fmaf(in[i].w, w.w, sums[i][j]);
        }
      }
    }
  }
}

template <int S, int TAPS, int STRIDE, bool DGRAD>
__device__ __forceinline__ void convolve(const ConvPatch& args, const Place& place, const Meeting& meeting) {
  using C = Chunk<S, TAPS, STRIDE, DGRAD>;
  DYN_SMEM(float4, memory, 128);
  const int tile_rows = (meeting.rows + S - 1) / S, tile_columns = (meeting.columns + S - 1) / S;
  const int share = place.x % args.shares, first_out = place.x / args.shares * CHANNELS;
  const int row = place.y / tile_columns % tile_rows * S, column = place.y % tile_columns * S;
  const int image = place.y / tile_columns / tile_rows;
  if (image >= args.input_shape.images) return;
  const int tile = (place.z * place.rows + place.y) * (place.columns / args.shares) + place.x / args.shares;

  const Copies<S, TAPS, STRIDE, DGRAD> copies(args, meeting, image, row, column, first_out);
  constexpr int STEP = 4 * C::DEPTH;  // input channels of a chunk
  const int chunks = (args.input_shape.channels + STEP - 1) / STEP;
  const int begin = share * chunks / args.shares, end = (share + 1) * chunks / args.shares;
  const Lane lane;
  float totals[S][8] = {}, run[S][8] = {};
  if (begin < end) copies.start(args, memory, begin * STEP);
  for (int chunk = begin; chunk < end; chunk++) {
    cp_async_wait<0>();
    __syncthreads();  // the chunk is there, and the one before it has been read
    if (chunk + 1 < end) copies.start(args, memory + (chunk + 1 - begin) % STAGES * C::SIZE, (chunk + 1) * STEP);
    multiply<S, TAPS, STRIDE, DGRAD>(run, memory + (chunk - begin) % STAGES * C::SIZE, lane);
    if ((chunk + 1 - begin) % RUN != 0 && chunk + 1 < end) continue;
#pragma unroll
    for (int i = 0; i < S; i++) {
#pragma unroll
      for (int j = 0; j < 8; j++) {
        totals[i][j] += run[i][j];
        run[i][j] = 0.0f;
      }
    }
  }
  finish<S, DGRAD>(args, meeting, totals, reinterpret_cast<float*>(memory), lane, tile, share, image, row, column,
                   first_out);
}

// fprop with TAPS x TAPS taps: y[q, k] = bias[k] + sum over taps and c of weight[k, tap, c] * x[q * STRIDE + tap - pad,
// c]. Shared memory: two chunks. Grid: (shares * ceil(k / 64), n * ceil(h' / S) * ceil(w' / S)).
template <int S, int TAPS, int STRIDE>
__device__ __forceinline__ void fprop_patch(const ConvPatch& args, const Place& place) {
  const Geometry& g = args.geometry;
  const Meeting meeting = {args.output_shape.height, args.output_shape.width, 1, 0, 0, g.pad_top, g.pad_left, 0, 0, 1};
  convolve<S, TAPS, STRIDE, false>(args, place, meeting);
}

// dgrad with 4x4 taps of stride 1: dx[p, c] = bias[c] + sum over taps and k of weight[k, tap, c] * dy[p + pad - tap,
// k]. Shared memory: two chunks. Grid: (shares * ceil(c / 64), n * ceil(h / 8) * ceil(w / 8)).
__device__ __forceinline__ void dgrad_patch_4x4s1(const ConvPatch& args, const Place& place) {
  const Geometry& g = args.geometry;
  const Meeting meeting = {
      args.output_shape.height, args.output_shape.width, 1, 0, 0, 3 - g.pad_top, 3 - g.pad_left, 3, 3, -1};
  convolve<SIDE, 4, 1, true>(args, place, meeting);
}

// The same with 3x3 taps.
__device__ __forceinline__ void dgrad_patch_3x3s1(const ConvPatch& args, const Place& place) {
  const Geometry& g = args.geometry;
  const Meeting meeting = {
      args.output_shape.height, args.output_shape.width, 1, 0, 0, 2 - g.pad_top, 2 - g.pad_left, 2, 2, -1};
  convolve<SIDE, 3, 1, true>(args, place, meeting);
}

// dgrad with 4x4 taps of stride 2 and padding 1. Rows 2r + a of dx meet row r - 1 + a of dy by tap 3 - a, and row r + a
// by tap 1 - a. Shared memory: two chunks. Grid: (shares * ceil(c / 64), n * ceil(h / 2 S) * ceil(w / 2 S), 4
// parities).
template <int S>
__device__ __forceinline__ void dgrad_patch_4x4s2(const ConvPatch& args, const Place& place) {
  const int a = place.z / 2, b = place.z % 2;
  const Meeting meeting = {(args.output_shape.height + 1 - a) / 2,
                           (args.output_shape.width + 1 - b) / 2,
                           2,
                           a,
                           b,
                           1 - a,
                           1 - b,
                           3 - a,
                           3 - b,
                           -2};
  convolve<S, 2, 1, true>(args, place, meeting);
}
