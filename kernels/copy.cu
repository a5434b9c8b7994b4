// Copies between views (see src/engine/ops/copy), and filling with a constant (see src/engine/tape/fill.rs).
#include "index.cuh"

constexpr int THREADS = 256;

struct Copy {
  const float* from;
  float* to;
  int pixels, channels, from_stride, to_stride, accumulate;
};

// The copy to = from, or to += from; both are [pixels, c]. One thread per element; grid: ceil(pixels * c / 256).
KERNEL(copy, THREADS, Copy args) {
  const unsigned element = thread_index();
  const unsigned pixel = element / args.channels, channel = element % args.channels;
  if (pixel >= unsigned(args.pixels)) return;
  store(args.to + at(pixel, args.to_stride, channel), args.from[at(pixel, args.from_stride, channel)], args.accumulate);
}

struct Fill {
  float* to;
  int pixels, channels, stride;
  float value;
};

struct FillBf16 {
  bf16* to;
  int pixels, channels, stride;
  float value;
};

// Sets every element of `to`, [pixels, c], to `value`. One thread per element; grid: ceil(pixels * c / 256).
template <class Element, class Arguments> __device__ void fill_with(const Arguments& args, Element value) {
  const unsigned element = thread_index();
  const unsigned pixel = element / args.channels, channel = element % args.channels;
  if (pixel >= unsigned(args.pixels)) return;
  args.to[at(pixel, args.stride, channel)] = value;
}

KERNEL(fill, THREADS, Fill args) { fill_with(args, args.value); }
KERNEL(fill_bf16, THREADS, FillBf16 args) { fill_with(args, __float2bfloat16_rn(args.value)); }
