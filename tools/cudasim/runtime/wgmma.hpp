// Shared-memory operands of wgmma: where an element lies, by the operand's descriptor (CUTLASS mma_sm90_desc.hpp,
// canonical layouts in mma_traits_sm90_gmma.hpp).
#pragma once
#include "tensor_map.hpp"

namespace cudasim {

struct MatrixDescriptor {
    uint32_t start, leading, stride;
    uint32_t swizzle;      // as in TensorMap
    uint32_t base_offset;  // must be 0 here

    explicit MatrixDescriptor(uint64_t bits)
        : start((uint32_t)(bits & 0x3fff) << 4), leading((uint32_t)(bits >> 16 & 0x3fff) << 4),
          stride((uint32_t)(bits >> 32 & 0x3fff) << 4), base_offset(bits >> 49 & 7) {
        static constexpr uint32_t modes[] = {0, 3, 2, 1};
        swizzle = modes[bits >> 62];
    }

    // The shared address of the 16-bit element (mn, k); mn is the row of A or the column of B. `transposed`: mn is the
    // contiguous dimension.
    uint32_t address(int mn, int k, bool transposed) const {
        const uint32_t chunks = 1u << swizzle;  // of 16 bytes in a row of the swizzle
        uint32_t offset;
        if (!transposed)
            offset = mn % 8 * 16 * chunks + mn / 8 * stride + k / 8 * (swizzle ? 16 : leading) + k % 8 * 2;
        else if (swizzle)
            offset = mn % 8 * 2 + mn / 8 % chunks * 16 + mn / (8 * chunks) * leading + k % 8 * 16 * chunks +
                     k / 8 * stride;
        else
            offset = mn % 8 * 2 + mn / 8 * stride + k % 8 * 16 + k / 8 * leading;
        return swizzled(start + offset, swizzle);
    }
};

}  // namespace cudasim
