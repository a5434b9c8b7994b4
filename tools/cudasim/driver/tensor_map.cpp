// Encoding of tensor maps, with the checks of the real driver.
#include "../runtime/tensor_map.hpp"
#include "api.hpp"

namespace cudasim {

constexpr int ELEMENT_BYTES[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};

// The fields that both kinds of map share. Null, or what is wrong.
static const char* encode_common(TensorMap& map, int type, unsigned rank, void* base, const uint64_t* dim,
                                 const uint64_t* stride, const unsigned* element_stride, int interleave, int swizzle,
                                 int fill) {
    if (type < 0 || type >= (int)std::size(ELEMENT_BYTES)) return "the element type";
    if (!rank || rank > 5) return "the rank";
    if (interleave || fill) return "interleaving or a fill value, which are not simulated";
    if (swizzle < 0 || swizzle > 3) return "the swizzle";
    if ((uintptr_t)base % 16) return "the address, which is not aligned to 16 bytes";
    map.magic = TensorMap::MAGIC;
    map.rank = rank;
    map.element_bytes = ELEMENT_BYTES[type];
    map.swizzle = swizzle;
    map.base = (unsigned char*)base;
    for (unsigned i = 0; i < rank; i++) {
        if (!dim[i] || dim[i] > 0xffffffff) return "a dimension";
        if (!element_stride[i] || element_stride[i] > 8) return "an element stride";
        map.dim[i] = (uint32_t)dim[i];
        map.element_stride[i] = element_stride[i];
    }
    for (unsigned i = 0; i + 1 < rank; i++) {
        if (stride[i] % 16 || stride[i] >= 1ull << 40) return "a stride, which must be a multiple of 16 bytes";
        map.stride[i] = stride[i];
    }
    return nullptr;
}

static const char* check_row(const TensorMap& map, unsigned elements) {
    const unsigned bytes = elements * map.element_bytes;
    if (bytes % 16) return "the box, whose rows must be multiples of 16 bytes";
    if (map.swizzle && bytes > (16u << map.swizzle)) return "the box, whose rows are longer than the swizzle";
    return nullptr;
}

static Result finish(CUtensorMap* out, const TensorMap& map, const char* wrong) {
    if ((uintptr_t)out % 64) wrong = "the tensor map, which is not aligned to 64 bytes";
    if (wrong) return fail(INVALID_VALUE, std::string("tensor map: ") + wrong);
    memset((void*)out, 0, sizeof *out);
    memcpy((void*)out, &map, sizeof map);
    return SUCCESS;
}

}  // namespace cudasim

using namespace cudasim;

CUDA_API cuTensorMapEncodeTiled(CUtensorMap* out, int type, unsigned rank, void* base, const uint64_t* dim,
                                const uint64_t* stride, const unsigned* box, const unsigned* element_stride,
                                int interleave, int swizzle, int, int fill) {
    TensorMap map{};
    const char* wrong =
        encode_common(map, type, rank, base, dim, stride, element_stride, interleave, swizzle, fill);
    for (unsigned i = 0; !wrong && i < rank; i++) {
        if (!box[i] || box[i] > 256) wrong = "the box";
        map.box[i] = (uint16_t)box[i];
    }
    if (!wrong) wrong = check_row(map, box[0]);
    return finish(out, map, wrong);
}

CUDA_API cuTensorMapEncodeIm2col(CUtensorMap* out, int type, unsigned rank, void* base, const uint64_t* dim,
                                 const uint64_t* stride, const int* lower, const int* upper, unsigned channels,
                                 unsigned pixels, const unsigned* element_stride, int interleave, int swizzle, int,
                                 int fill) {
    TensorMap map{};
    const char* wrong =
        encode_common(map, type, rank, base, dim, stride, element_stride, interleave, swizzle, fill);
    if (!wrong && rank != 4) wrong = "the rank: im2col is simulated for 4 dimensions";
    if (!wrong && (channels > 256 || pixels > 1024)) wrong = "the box";
    map.im2col = 1;
    map.pixels = (uint16_t)pixels;
    map.channels = (uint16_t)channels;
    for (int i = 0; !wrong && i < 2; i++) {
        if (lower[i] < -128 || lower[i] > 127 || upper[i] < -128 || upper[i] > 127) wrong = "a corner";
        map.lower[i] = (int16_t)lower[i];
        map.upper[i] = (int16_t)upper[i];
    }
    if (!wrong) wrong = check_row(map, channels);
    return finish(out, map, wrong);
}
