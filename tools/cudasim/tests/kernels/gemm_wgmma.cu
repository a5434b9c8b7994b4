// Hopper: a producer warp that loads tiles by TMA and four warps that multiply them by wgmma, 128-byte swizzle, full
// and empty mbarriers between them (sm_90a). Beside it wgmma on operands that ordinary stores wrote, and TMA im2col.
#include "mutation.cuh"
#include "ptx.cuh"

typedef __nv_bfloat16 bf16;
constexpr int EDGE = 64, STAGES = 3, TILE = EDGE * EDGE * 2;  // a tile of bf16 is 8-row swizzle atoms of 128-byte rows

enum : int {
    NO_FULL_WAIT = 1, NO_EMPTY_WAIT, RELEASE_BEFORE_WAIT, NO_WGMMA_FENCE, HALF_THE_BYTES, NO_SWIZZLE_IN_DESCRIPTOR,
    NO_INIT_FENCE, ONE_ARRIVAL_TOO_MANY
};

// Rows and columns of this thread's accumulators, two at a time.
template <class Store> PTX_DEV void store_accumulators(const float (&acc)[32], int warp, int lane, Store store) {
    for (int j = 0; j < 8; j++)
        for (int h = 0; h < 2; h++)
            store(warp * 16 + (lane >> 2) + h * 8, j * 8 + (lane & 3) * 2,
                  make_float2(acc[j * 4 + h * 2], acc[j * 4 + h * 2 + 1]));
}

template <int MUTATION>
PTX_DEV void produce(const CUtensorMap* ta, const CUtensorMap* tb, uint32_t tiles, uint32_t full, uint32_t empty,
                     int steps, int m0, int n0) {
    for (int step = 0; step < steps; step++) {
        const int s = step % STAGES;
        const uint32_t phase = (step / STAGES) & 1, a = tiles + s * 2 * TILE;
        UNLESS(NO_EMPTY_WAIT, mbar_wait(empty + s * 8, phase ^ 1));
        mbar_arrive_expect_tx(full + s * 8, MUTATION == HALF_THE_BYTES ? TILE : 2 * TILE);
        tma_load_2d(a, ta, full + s * 8, step * EDGE, m0);
        tma_load_2d(a + TILE, tb, full + s * 8, step * EDGE, n0);
    }
}

template <int MUTATION>
PTX_DEV void gemm_body(const CUtensorMap* ta, const CUtensorMap* tb, float* c, int M, int N, int K) {
    DYN_SMEM(unsigned char, memory, 1024);
    const uint32_t tiles = smem_u32(memory), full = tiles + STAGES * 2 * TILE, empty = full + STAGES * 8;
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, steps = K / EDGE;
    const int m0 = blockIdx.y * EDGE, n0 = blockIdx.x * EDGE;
    if (tid == 0) {
        for (int s = 0; s < STAGES; s++) {
            mbar_init(full + s * 8, 1);
            mbar_init(empty + s * 8, MUTATION == ONE_ARRIVAL_TOO_MANY ? 5 : 4);
        }
        UNLESS(NO_INIT_FENCE, fence_mbar_init());
    }
    __syncthreads();
    if (warp == 4) {
        if (lane == 0) produce<MUTATION>(ta, tb, tiles, full, empty, steps, m0, n0);
        return;
    }
    float acc[32] = {};
    for (int step = 0; step < steps; step++) {
        const int s = step % STAGES;
        const uint32_t a = tiles + s * 2 * TILE;
        UNLESS(NO_FULL_WAIT, mbar_wait(full + s * 8, (step / STAGES) & 1));
        const uint64_t da = wgmma_desc(a, 16, 1024, MUTATION == NO_SWIZZLE_IN_DESCRIPTOR ? 0 : 1);
        const uint64_t db = wgmma_desc(a + TILE, 16, 1024, 1);
        UNLESS(NO_WGMMA_FENCE, wgmma_fence());
        for (int k = 0; k < EDGE / 16; k++)  // 16 elements are 32 bytes further inside the swizzled row
            wgmma_bf16<64, 0, 0>(acc, da + k * 2, db + k * 2, 1);
        wgmma_commit();
        UNLESS(RELEASE_BEFORE_WAIT, wgmma_wait<0>());
        if (lane == 0) mbar_arrive(empty + s * 8);
    }
    if constexpr (MUTATION == RELEASE_BEFORE_WAIT) wgmma_wait<0>();
    store_accumulators(acc, warp, lane, [=](int row, int column, float2 values) {
        if (m0 + row < M && n0 + column < N)
            *reinterpret_cast<float2*>(&c[(size_t)(m0 + row) * N + n0 + column]) = values;
    });
}

#define VARIANT(number) \
    extern "C" __global__ void __launch_bounds__(160) wgmma_tma_##number( \
        const GRID_CONSTANT CUtensorMap a, const GRID_CONSTANT CUtensorMap b, float* c, int M, int N, int K) { \
        gemm_body<number>(&a, &b, c, M, N, K); \
    } \
    REGISTER_KERNEL(wgmma_tma_##number)
VARIANT(0);
VARIANT(1);
VARIANT(2);
VARIANT(3);
VARIANT(4);
VARIANT(5);
VARIANT(6);
VARIANT(7);
VARIANT(8);
#undef VARIANT

enum : int { NO_PROXY_FENCE = 1, NO_BARRIER, NO_WGMMA_WAIT };

// One tile. a [m, k] has contiguous k, b [k, n] contiguous n; ordinary stores write both, with a manual swizzle.
template <int MUTATION> PTX_DEV void generic_body(const bf16* a, const bf16* b, float* c) {
    DYN_SMEM(unsigned char, memory, 1024);
    const uint32_t tiles = smem_u32(memory);
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    for (int i = tid; i < 64 * 8; i += 128) {
        const int row = i >> 3, chunk = i & 7, offset = row * 128 + ((chunk ^ (row & 7)) << 4);
        *reinterpret_cast<uint4*>(memory + offset) = *reinterpret_cast<const uint4*>(a + row * 64 + chunk * 8);
        *reinterpret_cast<uint4*>(memory + TILE + offset) = *reinterpret_cast<const uint4*>(b + row * 64 + chunk * 8);
    }
    UNLESS(NO_PROXY_FENCE, fence_proxy_async());
    UNLESS(NO_BARRIER, __syncthreads());
    float acc[32] = {};
    wgmma_fence();
    for (int k = 0; k < 4; k++)  // 16 rows of k of b are 2048 bytes
        wgmma_bf16<64, 0, 1>(acc, wgmma_desc(tiles, 16, 1024, 1) + k * 2,
                             wgmma_desc(tiles + TILE + k * 2048, 8192, 1024, 1), 1);
    wgmma_commit();
    UNLESS(NO_WGMMA_WAIT, wgmma_wait<0>());
    store_accumulators(acc, warp, lane, [=](int row, int column, float2 values) {
        *reinterpret_cast<float2*>(&c[row * 64 + column]) = values;
    });
}

#define VARIANT(number) \
    extern "C" __global__ void __launch_bounds__(128) \
    wgmma_generic_##number(const bf16* a, const bf16* b, float* c) { generic_body<number>(a, b, c); } \
    REGISTER_KERNEL(wgmma_generic_##number)
VARIANT(0);
VARIANT(1);
VARIANT(2);
VARIANT(3);
#undef VARIANT

// `pixels` x 64 channels of an NHWC image, for filter tap (s, r), as TMA im2col brings them.
extern "C" __global__ void __launch_bounds__(32)
im2col(const GRID_CONSTANT CUtensorMap image, bf16* out, int w0, int h0, int n0, int s, int r, int pixels) {
    DYN_SMEM(unsigned char, memory, 1024);
    const uint32_t tile = smem_u32(memory), bar = tile + pixels * 128;
    if (threadIdx.x == 0) {
        mbar_init(bar, 1);
        fence_mbar_init();
        mbar_arrive_expect_tx(bar, pixels * 128);
        tma_load_im2col_4d(tile, &image, bar, 0, w0, h0, n0, (uint16_t)s, (uint16_t)r);
    }
    __syncwarp();
    mbar_wait(bar, 0);
    for (int i = threadIdx.x; i < pixels * 8; i += 32) {
        const int pixel = i >> 3, chunk = i & 7;
        *reinterpret_cast<uint4*>(out + pixel * 64 + chunk * 8) =
            *reinterpret_cast<const uint4*>(memory + pixel * 128 + ((chunk ^ (pixel & 7)) << 4));
    }
}
REGISTER_KERNEL(im2col);

// A tile from global to shared memory and back, both ways by TMA.
extern "C" __global__ void __launch_bounds__(32)
tma_copy(const GRID_CONSTANT CUtensorMap from, const GRID_CONSTANT CUtensorMap to, int x, int y, int bytes) {
    DYN_SMEM(unsigned char, memory, 1024);
    const uint32_t tile = smem_u32(memory), bar = tile + bytes;
    if (threadIdx.x != 0) return;
    mbar_init(bar, 1);
    fence_mbar_init();
    mbar_arrive_expect_tx(bar, bytes);
    tma_load_2d(tile, &from, bar, x, y);
    mbar_wait(bar, 0);
    tma_store_2d(&to, tile, x, y);
    bulk_commit();
    bulk_wait<0>();
}
REGISTER_KERNEL(tma_copy);
