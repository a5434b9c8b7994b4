// c [M, N] f32 = a [M, K] b, bf16, by mma.sync with ldmatrix and double-buffered cp.async. tn: b is [N, K]; nn: b is
// [K, N] and goes through ldmatrix.trans.
#include "mutation.cuh"
#include "ptx.cuh"

typedef __nv_bfloat16 bf16;
constexpr int BM = 64, BN = 64, BK = 32, THREADS = 128;
constexpr int ROW = BK + 8, ROW_NN = BN + 8;  // padded, so that ldmatrix has no bank conflicts

enum : int { NO_WAIT = 1, NO_BARRIER_AFTER_WAIT, NO_BARRIER_BEFORE_REFILL };

template <bool NN>
PTX_DEV void load_stage(bf16* sa, bf16* sb, const bf16* a, const bf16* b, int m0, int n0, int k0, int M, int N, int K) {
    for (int i = threadIdx.x; i < BM * BK / 8; i += THREADS) {
        const int r = i / (BK / 8), c = i % (BK / 8) * 8;
        const bool inside = m0 + r < M;
        cp_async16(smem_u32(&sa[r * ROW + c]), a + (inside ? (size_t)(m0 + r) * K + k0 + c : 0), inside ? 16 : 0);
    }
    for (int i = threadIdx.x; i < BN * BK / 8; i += THREADS) {
        const int chunks = NN ? BN / 8 : BK / 8, r = i / chunks, c = i % chunks * 8;
        const bool inside = NN ? n0 + c < N : n0 + r < N;
        const size_t offset = NN ? (size_t)(k0 + r) * N + n0 + c : (size_t)(n0 + r) * K + k0 + c;
        cp_async16(smem_u32(&sb[r * (NN ? ROW_NN : ROW) + c]), b + (inside ? offset : 0), inside ? 16 : 0);
    }
}

template <bool NN, int MUTATION>
PTX_DEV void gemm_body(const bf16* a, const bf16* b, float* c, int M, int N, int K) {
    DYN_SMEM(bf16, stages, 128);
    constexpr int STAGE = BM * ROW + (NN ? BK * ROW_NN : BN * ROW);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, wm = warp >> 1 << 5, wn = (warp & 1) << 5;
    const int m0 = blockIdx.y * BM, n0 = blockIdx.x * BN, steps = K / BK;
    float acc[2][4][4] = {};
    load_stage<NN>(stages, stages + BM * ROW, a, b, m0, n0, 0, M, N, K);
    cp_async_commit();
    for (int step = 0; step < steps; step++) {
        bf16* next = stages + ((step + 1) & 1) * STAGE;
        if (step + 1 < steps) load_stage<NN>(next, next + BM * ROW, a, b, m0, n0, (step + 1) * BK, M, N, K);
        cp_async_commit();
        UNLESS(NO_WAIT, cp_async_wait<1>());
        UNLESS(NO_BARRIER_AFTER_WAIT, __syncthreads());
        const bf16 *sa = stages + (step & 1) * STAGE, *sb = sa + BM * ROW;
        for (int k = 0; k < BK; k += 16) {
            uint32_t fa[2][4], fb[2][4];
            for (int i = 0; i < 2; i++)
                ldmatrix_x4(fa[i], smem_u32(&sa[(wm + i * 16 + (lane & 15)) * ROW + k + (lane >> 4) * 8]));
            for (int j = 0; j < 2; j++) {
                const int row = NN ? k + (lane & 15) : wn + j * 16 + (lane & 7) + ((lane >> 4) << 3);
                const int column = NN ? wn + j * 16 + (lane >> 4) * 8 : k + ((lane >> 3) & 1) * 8;
                if (NN) ldmatrix_x4_trans(fb[j], smem_u32(&sb[row * ROW_NN + column]));
                else ldmatrix_x4(fb[j], smem_u32(&sb[row * ROW + column]));
            }
            for (int i = 0; i < 2; i++)
                for (int j = 0; j < 4; j++)
                    mma_bf16_m16n8k16(acc[i][j], fa[i], fb[j >> 1][(j & 1) * 2], fb[j >> 1][(j & 1) * 2 + 1]);
        }
        UNLESS(NO_BARRIER_BEFORE_REFILL, __syncthreads());
    }
    cp_async_wait<0>();
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++)
            for (int h = 0; h < 2; h++) {
                const int row = m0 + wm + i * 16 + (lane >> 2) + h * 8, column = n0 + wn + j * 8 + (lane & 3) * 2;
                if (row < M && column < N)
                    *reinterpret_cast<float2*>(&c[(size_t)row * N + column]) =
                        make_float2(acc[i][j][h * 2], acc[i][j][h * 2 + 1]);
            }
}

#define VARIANT(layout, nn, number) \
    extern "C" __global__ void __launch_bounds__(128) \
    gemm_##layout##_##number(const bf16* a, const bf16* b, float* c, int M, int N, int K) { \
        gemm_body<nn, number>(a, b, c, M, N, K); \
    } \
    REGISTER_KERNEL(gemm_##layout##_##number)
VARIANT(nn, true, 0);
VARIANT(tn, false, 0);
VARIANT(tn, false, 1);
VARIANT(tn, false, 2);
VARIANT(tn, false, 3);
