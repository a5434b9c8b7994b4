// Casts between f32 and bf16 (see src/engine/ops/cast).
#include "index.cuh"
#include "ptx.cuh"

constexpr int THREADS = 256;

// x and y are [pixels, c].
struct CastToBf16 {
  const float* x;
  bf16* y;
  int pixels, channels, x_stride, y_stride, accumulate;
};

// The cast from f32 to bf16: y = x, or y += x, rounded to nearest, ties to even. One thread per element; grid:
// ceil(pixels * c / 256).
KERNEL(cast_to_bf16, THREADS, CastToBf16 args) {
  const unsigned element = thread_index();
  const unsigned pixel = element / args.channels, channel = element % args.channels;
  if (pixel >= unsigned(args.pixels)) return;
  bf16* const y = args.y + at(pixel, args.y_stride, channel);
  const float x = args.x[at(pixel, args.x_stride, channel)];
  *y = __float2bfloat16_rn(args.accumulate ? __bfloat162float(*y) + x : x);
}

// x and y are [pixels, c].
struct CastFromBf16 {
  const bf16* x;
  float* y;
  int pixels, channels, x_stride, y_stride, accumulate;
};

// The cast from bf16 to f32: y = x, or y += x. One thread per element; grid: ceil(pixels * c / 256).
KERNEL(cast_from_bf16, THREADS, CastFromBf16 args) {
  const unsigned element = thread_index();
  const unsigned pixel = element / args.channels, channel = element % args.channels;
  if (pixel >= unsigned(args.pixels)) return;
  const float x = __bfloat162float(args.x[at(pixel, args.x_stride, channel)]);
  store(args.y + at(pixel, args.y_stride, channel), x, args.accumulate);
}

constexpr int TMA_THREADS = 128;

// x is [pixels, c], by a tensor map with boxes of 256 pixels x 128 channels; y is [pixels, c].
struct CastFromBf16Tma {
  TensorMap map;
  float* y;
  int pixels, channels, y_stride, accumulate;
};

// The cast from bf16 to f32, with x loaded by TMA: a block loads one box to shared memory. For compute capability 9.0
// and above. Shared memory: 256 * 128 * 2 + 8 bytes. Grid: (ceil(c / 128), ceil(pixels / 256)).
KERNEL(cast_from_bf16_tma, TMA_THREADS, CastFromBf16Tma args) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  DYN_SMEM(bf16, box, 1024);
  constexpr int TMA_PIXELS = 256, TMA_CHANNELS = 128;
  constexpr uint32_t BYTES = TMA_PIXELS * TMA_CHANNELS * sizeof(bf16);
  const int first_channel = blockIdx.x * TMA_CHANNELS, first_pixel = blockIdx.y * TMA_PIXELS;
  const uint32_t tile = smem_u32(box), barrier = tile + BYTES;
  if (threadIdx.x == 0) {
    mbar_init(barrier, 1);
    fence_mbar_init();
    mbar_arrive_expect_tx(barrier, BYTES);
    tma_load_2d(tile, &args.map.encoded, barrier, first_channel, first_pixel);
  }
  __syncthreads();
  mbar_wait(barrier, 0);
  for (int i = threadIdx.x; i < TMA_PIXELS * TMA_CHANNELS; i += TMA_THREADS) {
    const int pixel = first_pixel + i / TMA_CHANNELS, channel = first_channel + i % TMA_CHANNELS;
    if (pixel >= args.pixels || channel >= args.channels) continue;
    store(args.y + at(pixel, args.y_stride, channel), __bfloat162float(box[i]), args.accumulate);
  }
#else
  __trap();
#endif
}
