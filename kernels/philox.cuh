// Philox4x32-10 and the dropout drawn with it: the same bits as src/engine/philox.rs and `Mask` in
// src/engine/ops/norm_act/cpu.rs.
//
// Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
#pragma once
#include "control.cuh"

// Ten rounds of Philox4x32: four words that depend on every bit of `counter` and `key`.
__device__ __forceinline__ uint4 philox4x32(uint4 counter, uint2 key) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * counter.x;
    const uint64_t p1 = uint64_t(0xCD9E8D57u) * counter.z;
    counter = make_uint4(uint32_t(p1 >> 32) ^ counter.y ^ key.x, uint32_t(p1), uint32_t(p0 >> 32) ^ counter.w ^ key.y,
                         uint32_t(p0));
    key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
  }
  return counter;
}

// The dropout mask of one image: each element is zeroed or multiplied by 1 / (1 - probability).
struct Mask {
  bool drops;
  uint2 key;
  uint32_t counter_word;  // layer | pass << 16
  uint2 step;             // low word first
  uint32_t threshold;     // a draw below this is dropped
  float scale;

  // `value` after dropout, if it is element `element` of the batch that is drawn for.
  __device__ __forceinline__ float apply(float value, size_t element) const {
    if (!drops) return value;
    const uint4 draws = philox4x32(make_uint4(uint32_t(element / 4), counter_word, step.x, step.y), key);
    const unsigned word = unsigned(element % 4);
    const uint32_t draw = word == 0 ? draws.x : word == 1 ? draws.y : word == 2 ? draws.z : draws.w;
    return draw < threshold ? 0.0f : value * scale;
  }

  // Four values after dropout, of elements `element` ... + 3; a multiple of 4, so that one draw serves all.
  __device__ __forceinline__ float4 apply(float4 values, size_t element) const {
    if (!drops) return values;
    const uint4 draws = philox4x32(make_uint4(uint32_t(element / 4), counter_word, step.x, step.y), key);
    return make_float4(draws.x < threshold ? 0.0f : values.x * scale, draws.y < threshold ? 0.0f : values.y * scale,
                       draws.z < threshold ? 0.0f : values.z * scale, draws.w < threshold ? 0.0f : values.w * scale);
  }
};

// The dropout of a step. The step's image 0 is image `first_image` of the batch that is drawn for. Image i of that
// batch draws by its index, or if `by_step`, what image 0 would draw i steps later. `control` is null unless `drops`.
struct DropoutDraw {
  const Control* control;
  int drops;
  unsigned counter_word;  // layer | pass << 16
  unsigned threshold;     // a draw below this is dropped
  float scale;            // 1 / (1 - probability)
  int first_image, by_step;
};

// The mask of the step's image `image`.
__device__ __forceinline__ Mask make_mask(const DropoutDraw& draw, int image) {
  if (!draw.drops) return Mask{};
  const size_t later = draw.by_step ? size_t(draw.first_image) + image : 0;
  const unsigned long long seed = draw.control->seed, step = draw.control->step + later;
  return Mask{true,
              make_uint2(uint32_t(seed), uint32_t(seed >> 32)),
              draw.counter_word,
              make_uint2(uint32_t(step), uint32_t(step >> 32)),
              draw.threshold,
              draw.scale};
}

// The index among all draws of the first element of the step's image `image`, which has `elements` elements.
__device__ __forceinline__ size_t first_drawn(const DropoutDraw& draw, int image, size_t elements) {
  return draw.by_step ? 0 : (size_t(draw.first_image) + image) * elements;
}
