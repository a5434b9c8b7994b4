// Offsets of the elements of a tensor.
//
// A tensor is a pointer to its first element and, where it has pixels, the distance from one pixel to the next in
// elements: element [n, h, w, c] lies at ((n * height + h) * width + w) * stride + c, and a slice of channels has a
// stride larger than its channels. Elements and pixels are *counted* in 32 bits, since a buffer has at most 2^31 - 1 of
// them; offsets are computed in 64.
#pragma once
#include "prelude.cuh"

using bf16 = __nv_bfloat16;

// The shape of a tensor, and its stride: the elements from one pixel to the next.
struct Shape {
  int images, height, width, channels, stride;
};

// The index of this thread in a one-dimensional grid.
__device__ __forceinline__ unsigned thread_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

// The offset of channel `channel` of pixel `pixel`.
__device__ __forceinline__ size_t at(unsigned pixel, int stride, unsigned channel) {
  return size_t(pixel) * size_t(stride) + channel;
}

// The offset of the first channel of pixel [image, row, column].
__device__ __forceinline__ size_t pixel_at(int image, int row, int column, const Shape& shape) {
  const size_t rows = size_t(image) * size_t(shape.height) + size_t(row);
  return (rows * size_t(shape.width) + size_t(column)) * size_t(shape.stride);
}

// True if a row or column, computed from that of another tensor, is inside of `size` rows or columns: not padding.
__device__ __forceinline__ bool inside(int position, int size) { return position >= 0 && position < size; }

// The sums of the components.
__device__ __forceinline__ float4 add(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// The sums of the components. They are never fused with a product before, so that all compilers round alike.
__device__ __forceinline__ float4 add_rounded(float4 a, float4 b) {
  return make_float4(__fadd_rn(a.x, b.x), __fadd_rn(a.y, b.y), __fadd_rn(a.z, b.z), __fadd_rn(a.w, b.w));
}

// Stores `value` to `to`, or adds it if `accumulate`. The addition is never fused with the computation of `value`, so
// that all compilers round alike.
__device__ __forceinline__ void store(float* to, float value, int accumulate) {
  if (accumulate) {
    *to = __fadd_rn(*to, value);
  } else {
    *to = value;
  }
}

// value where `sign` is positive, value * slope elsewhere: an activation, if `sign` is the value itself, or its
// gradient.
__device__ __forceinline__ float4 rectified(float4 value, float4 sign, float slope) {
  return make_float4(sign.x > 0.0f ? value.x : value.x * slope, sign.y > 0.0f ? value.y : value.y * slope,
                     sign.z > 0.0f ? value.z : value.z * slope, sign.w > 0.0f ? value.w : value.w * slope);
}
