// Vector types, dim3 and the opaque tensor map, with the sizes and alignments that CUDA gives them.
#pragma once
#include <cstdint>

#define CUDASIM_VECTOR2(T, NAME, ALIGNMENT) \
    struct alignas(ALIGNMENT) NAME##2 { T x, y; }; \
    inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }
#define CUDASIM_VECTOR4(T, NAME, ALIGNMENT) \
    struct alignas(ALIGNMENT) NAME##4 { T x, y, z, w; }; \
    inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }

CUDASIM_VECTOR2(float, float, 8)
CUDASIM_VECTOR4(float, float, 16)
CUDASIM_VECTOR2(double, double, 16)
CUDASIM_VECTOR2(int, int, 8)
CUDASIM_VECTOR4(int, int, 16)
CUDASIM_VECTOR2(unsigned, uint, 8)
CUDASIM_VECTOR4(unsigned, uint, 16)
CUDASIM_VECTOR2(unsigned short, ushort, 4)
CUDASIM_VECTOR4(unsigned short, ushort, 8)
CUDASIM_VECTOR2(unsigned char, uchar, 2)
CUDASIM_VECTOR4(unsigned char, uchar, 4)

#undef CUDASIM_VECTOR2
#undef CUDASIM_VECTOR4

struct float3 { float x, y, z; };
struct int3 { int x, y, z; };
struct uint3 { unsigned x, y, z; };
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

// One load or store of the whole vector, as the instruction of a GPU is.
namespace cudasim {
template <unsigned BYTES> struct Bits;
template <> struct Bits<8> { typedef uint64_t type __attribute__((may_alias)); };
template <> struct Bits<16> { typedef uint64_t type __attribute__((vector_size(16), may_alias)); };
}  // namespace cudasim
template <class Vector, class T> inline Vector load_vector(const T* from) {
    const auto bits = *reinterpret_cast<const typename cudasim::Bits<sizeof(Vector)>::type*>(from);
    Vector value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
template <class Vector, class T> inline void store_vector(T* to, Vector value) {
    typename cudasim::Bits<sizeof(Vector)>::type bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    *reinterpret_cast<typename cudasim::Bits<sizeof(Vector)>::type*>(to) = bits;
}

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(128) CUtensorMap { uint64_t opaque[16]; };
