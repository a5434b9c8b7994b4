// Common parts of the kernels of instance normalisation with accesses of 16 bytes: the share of an image that a block
// and a thread have, and sums over it.
#pragma once
#include "norm_act.cuh"
#include "tickets.cuh"

constexpr int THREADS = 256, FEW_THREADS = 128, WIDE_THREADS = 512;

// Quads of channels of the blocks that hold all pixels: a sector of memory.
constexpr int HELD_QUADS = 2;

// Bytes of 4096 pixels of these channels.
constexpr int HELD_SHARED = 131072;

// Pixels of a thread in kernels that sum up a part of an image, and quads of channels of their blocks.
constexpr int PART_HELD = 4, PART_QUADS = 4;
constexpr int PART_PIXELS = THREADS / PART_QUADS * PART_HELD;

__device__ __forceinline__ float4 splat(float value) { return make_float4(value, value, value, value); }
__device__ __forceinline__ float4 scaled(float4 a, float b) { return make_float4(a.x * b, a.y * b, a.z * b, a.w * b); }
__device__ __forceinline__ float4 minus(float4 a, float4 b) {
  return make_float4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w);
}
__device__ __forceinline__ float4 times(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
// a * b + c.
__device__ __forceinline__ float4 fused(float4 a, float4 b, float4 c) {
  return make_float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w));
}
__device__ __forceinline__ float4 reciprocal_root(float4 variance) {
  return make_float4(1.0f / sqrtf(variance.x + EPSILON), 1.0f / sqrtf(variance.y + EPSILON),
                     1.0f / sqrtf(variance.z + EPSILON), 1.0f / sqrtf(variance.w + EPSILON));
}

// Adds up `value` over the lanes of a warp whose numbers differ in the bits from `least` to below `end`.
__device__ __forceinline__ float4 sum_of_lanes(float4 value, int end, int least) {
#pragma unroll
  for (int distance = end / 2; distance >= least; distance /= 2) {
    value.x += __shfl_xor_sync(0xffffffffu, value.x, distance);
    value.y += __shfl_xor_sync(0xffffffffu, value.y, distance);
    value.z += __shfl_xor_sync(0xffffffffu, value.z, distance);
    value.w += __shfl_xor_sync(0xffffffffu, value.w, distance);
  }
  return value;
}

// The sum over all threads of a block that have the same quad, threadIdx.x % QUADS: over each warp, then over the sums
// of the warps, of which `shared` has QUADS quads for each. All threads must call this.
template <int COUNT, int QUADS>
__device__ __forceinline__ float4 sum_of_quad(float4 value, float4* shared) {
  constexpr int SUMS = COUNT / 32 * QUADS;
  static_assert(SUMS <= 32);
  value = sum_of_lanes(value, 32, QUADS);
  __syncthreads();  // `shared` may still be read from a sum before this one
  if (threadIdx.x % 32 < QUADS) store_vector(shared + threadIdx.x / 32 * QUADS + threadIdx.x % 32, value);
  __syncthreads();
  return sum_of_lanes(load_vector<float4>(shared + threadIdx.x % SUMS), SUMS, QUADS);
}

// The channels and pixels of a thread: a quad of channels of one image, and the pixels first, first + STEP, ...
template <int COUNT, int QUADS>
struct Part {
  static constexpr int STEP = COUNT / QUADS;
  int image, channel, first;
  bool active;  // false beyond the last channel

  __device__ __forceinline__ Part(unsigned block, int channels) {
    const int groups = (channels + QUADS * 4 - 1) / (QUADS * 4);
    image = block / groups;
    channel = block % groups * (QUADS * 4) + threadIdx.x % QUADS * 4;
    first = threadIdx.x / QUADS;
    active = channel < channels;
  }
};

// Gain and bias of four channels; 1 and -0 without affine, which change no bit of any number.
struct WideAffine {
  float4 gain = splat(1.0f), bias = splat(-0.0f);

  __device__ __forceinline__ WideAffine(const float* gains, const float* biases, int channel, bool active) {
    if (!gains || !active) return;
    gain = load_vector<float4>(gains + channel);
    bias = load_vector<float4>(biases + channel);
  }

  __device__ __forceinline__ float4 operator()(float4 value) const { return fused(value, gain, bias); }
};

// The sums of one part of an image and 16 channels, kept as two rows of 16 floats.
__device__ __forceinline__ float* sums_of_part(float* sums, int parts, int group, int part) {
  return sums + (size_t(group) * parts + part) * (2 * PART_QUADS * 4) + threadIdx.x % PART_QUADS * 4;
}

// The element of a thread in kernels with a thread for each quad of one image.
struct Element {
  unsigned pixel;
  int image, channel;
  bool there;

  __device__ __forceinline__ Element(int pixels, int channels) {
    const unsigned quad = thread_index(), quads = channels / 4;
    pixel = quad / quads;
    channel = quad % quads * 4;
    image = blockIdx.y;
    there = pixel < unsigned(pixels);
  }
};
