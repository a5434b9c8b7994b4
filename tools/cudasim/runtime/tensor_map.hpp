// The content of this driver's CUtensorMap. The driver encodes it, TMA decodes it.
#pragma once
#include "../include/cudasim_types.hpp"
#include <cstring>

namespace cudasim {

struct TensorMap {
    static constexpr uint32_t MAGIC = 0x746d6170;
    uint32_t magic;
    uint8_t rank, element_bytes, swizzle, im2col;
    unsigned char* base;
    uint64_t stride[4];  // bytes; of dimensions 1 and up
    uint32_t dim[5];
    uint16_t box[5];
    uint16_t pixels, channels;  // im2col
    int16_t lower[3], upper[3];
    uint8_t element_stride[5];

    uint32_t boxed(int d) const { return d ? (box[d] + element_stride[d] - 1) / element_stride[d] : box[0]; }
    uint32_t box_bytes() const {
        if (im2col) return (uint32_t)pixels * channels * element_bytes;
        uint32_t bytes = element_bytes;
        for (int d = 0; d < rank; d++) bytes *= boxed(d);
        return bytes;
    }
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

inline TensorMap decode(const CUtensorMap& map) {
    TensorMap decoded;
    memcpy((void*)&decoded, &map, sizeof decoded);
    return decoded;
}

// Swizzle modes 1, 2, 3 permute 16-byte chunks within 32, 64, 128 bytes, by the absolute shared address.
inline uint32_t swizzled(uint32_t address, uint32_t mode) {
    static constexpr uint32_t bits[] = {0, 0x10, 0x30, 0x70};
    return address ^ (address >> 3 & bits[mode]);
}

}  // namespace cudasim
