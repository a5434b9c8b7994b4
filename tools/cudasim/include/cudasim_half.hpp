// bfloat16 and half: storage types that round to nearest even, as cuda_bf16.h and cuda_fp16.h do.
#pragma once
#include "cudasim_math.hpp"
#include "cudasim_types.hpp"
#include <immintrin.h>

struct __nv_bfloat16 {
    uint16_t x;
    __nv_bfloat16() = default;
    __nv_bfloat16(float f) : x(round_to_nearest_even(f)) {}
    operator float() const { return __uint_as_float((unsigned)x << 16); }

    static uint16_t round_to_nearest_even(float f) {
        unsigned bits = __float_as_uint(f);
        if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;  // the NaN that cuda_bf16.hpp gives
        return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
};
struct alignas(4) __nv_bfloat162 { __nv_bfloat16 x, y; };
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

inline __nv_bfloat16 __float2bfloat16(float f) { return __nv_bfloat16(f); }
inline __nv_bfloat16 __float2bfloat16_rn(float f) { return __nv_bfloat16(f); }
inline float __bfloat162float(__nv_bfloat16 b) { return (float)b; }
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {__nv_bfloat16(a), __nv_bfloat16(b)}; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {(float)v.x, (float)v.y}; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { __nv_bfloat16 b; b.x = bits; return b; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b) { return b.x; }

struct __half {
    uint16_t x;
    __half() = default;
    __half(float f) : x(_cvtss_sh(f, 0)) {}
    operator float() const { return _cvtsh_ss(x); }
};
struct alignas(4) __half2 { __half x, y; };
inline __half __float2half(float f) { return __half(f); }
inline __half __float2half_rn(float f) { return __half(f); }
inline float __half2float(__half h) { return (float)h; }
