// ldmatrix and mma.sync, with the elements spread over the lanes as in CUTLASS mma_traits_sm80.hpp and
// copy_traits_sm75.hpp.
#include "../include/cudasim_ptx.hpp"
#include "collective.hpp"
#include <cstring>

namespace cudasim {

struct LoadArgument {
    uint32_t* registers;
    uint32_t row_address;
};

void ldmatrix(uint32_t* registers, int matrices, bool transposed, uint32_t row_address, Site at) {
    LoadArgument mine{registers, row_address};
    const int variant = matrices * 2 + transposed;
    collective(Collective::LoadMatrix, ALL_LANES, variant, &mine, at, [=](Warp& warp, uint32_t) {
        for (int j = 0; j < matrices; j++) {
            uint16_t matrix[8][8];
            for (int row = 0; row < 8; row++) {
                const int lane = j * 8 + row;
                const uint32_t address = ((LoadArgument*)warp.arguments[lane])->row_address;
                if (address % 16) report(at, "ldmatrix: row %u of lane %d is not 16-byte aligned", address, lane);
                if (address % 16 || outside_shared(address, 16, "ldmatrix", at)) abandon_block();
                if (engine->check) engine->shared.read(lane_thread(lane), address, 16, false, at);
                if (engine->count)
                    engine->counter.note(lane_thread(lane)->linear, Counted::LoadMatrix, at, address, 16);
                memcpy(matrix[row], engine->window + address, 16);
            }
            for (int lane = 0; lane < 32; lane++) {
                const int pair = 2 * (lane & 3), other = lane >> 2;
                const uint32_t low = transposed ? matrix[pair][other] : matrix[other][pair];
                const uint32_t high = transposed ? matrix[pair + 1][other] : matrix[other][pair + 1];
                ((LoadArgument*)warp.arguments[lane])->registers[j] = low | high << 16;
            }
        }
    });
}

struct MmaArgument {
    float* d;
    const uint32_t* a;
    uint32_t b[2];
};

static float low_bf16(uint32_t bits) { uint32_t u = bits << 16; float f; memcpy(&f, &u, 4); return f; }
static float high_bf16(uint32_t bits) { uint32_t u = bits & 0xffff0000u; float f; memcpy(&f, &u, 4); return f; }

void mma_bf16_m16n8k16(float* d, const uint32_t* a, uint32_t b0, uint32_t b1, Site at) {
    MmaArgument mine{d, a, {b0, b1}};
    collective(Collective::Mma, ALL_LANES, 0, &mine, at, [=](Warp& warp, uint32_t) {
        if (engine->count) engine->counter.add(Counted::Product, at, 32, 16 * 8 * 16);
        float A[16][16], B[16][8], D[16][8];
        for (int lane = 0; lane < 32; lane++) {
            const MmaArgument& of = *(MmaArgument*)warp.arguments[lane];
            const int group = lane >> 2, pair = (lane & 3) * 2;
            for (int r = 0; r < 4; r++) {
                float* element = &A[group + (r & 1) * 8][pair + (r >> 1) * 8];
                element[0] = low_bf16(of.a[r]);
                element[1] = high_bf16(of.a[r]);
            }
            for (int r = 0; r < 2; r++) {
                B[pair + 8 * r][group] = low_bf16(of.b[r]);
                B[pair + 8 * r + 1][group] = high_bf16(of.b[r]);
            }
            for (int r = 0; r < 4; r++) D[group + (r >> 1) * 8][pair + (r & 1)] = of.d[r];
        }
        for (int i = 0; i < 16; i++)
            for (int k = 0; k < 16; k++)
                for (int j = 0; j < 8; j++) D[i][j] += A[i][k] * B[k][j];
        for (int lane = 0; lane < 32; lane++) {
            const int group = lane >> 2, pair = (lane & 3) * 2;
            for (int r = 0; r < 4; r++)
                ((MmaArgument*)warp.arguments[lane])->d[r] = D[group + (r >> 1) * 8][pair + (r & 1)];
        }
    });
}

}  // namespace cudasim
