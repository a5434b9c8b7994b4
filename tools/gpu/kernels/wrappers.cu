// A probe for each function of ptx.cuh: it leaves in memory what the instruction leaves in registers, shared memory and
// global memory. wrappers.py runs the probes; what a GPU leaves is committed (tools/cudasim/tests/wrappers.json), and a
// test holds the simulator against that.
//
// Every value that a probe leaves is determined by the PTX ISA: no addresses, no order of threads, no rounding.
#include "ptx.cuh"

// The 16-bit values of `from` are 0, 1, 2, ...; `out` is filled with ones.
struct Probe {
    const unsigned char* from;
    uint32_t* out;
    // [rows, columns] of `from`, with boxes of 16 rows of 32, 32, 64 and 128 bytes and the swizzle of that width, the
    // first with none.
    TensorMap tiled[4];
    // [2, 5, 6, 8] of `from`, boxes of [2, 2, 3, 8]; and pixels for taps of 4x4, stride 2, padding 1.
    TensorMap four, im2col;
    // [32, 32] 16-bit values of `out`, boxes of 16 rows of 32 bytes.
    TensorMap target;
};

// ---- addresses and copies

KERNEL(probe_smem_u32, 32, Probe args) {
    STATIC_SMEM(uint4, memory, [32]);
    args.out[threadIdx.x] = smem_u32(&memory[threadIdx.x]) - smem_u32(&memory[0]);
}

// Each lane copies into 16 bytes of its own, as many bytes as its number says.
template <int BYTES, class Copy> PTX_DEV void probe_copy(const Probe& args, Copy copy) {
    STATIC_SMEM(uint32_t, memory, [32 * 4]);
    for (int i = 0; i < 4; i++) memory[threadIdx.x * 4 + i] = 0xABABABAB;
    __syncwarp();
    copy(smem_u32(&memory[threadIdx.x * 4]), args.from + threadIdx.x * 16, threadIdx.x % (BYTES + 1));
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();
    for (int i = 0; i < 4; i++) args.out[threadIdx.x * 4 + i] = memory[threadIdx.x * 4 + i];
}

KERNEL(probe_cp_async16, 32, Probe args) {
    probe_copy<16>(args, [](uint32_t to, const unsigned char* from, uint32_t bytes) { cp_async16(to, from, bytes); });
}
KERNEL(probe_cp_async8, 32, Probe args) {
    probe_copy<8>(args, [](uint32_t to, const unsigned char* from, uint32_t bytes) { cp_async8(to, from, bytes); });
}
KERNEL(probe_cp_async4, 32, Probe args) {
    probe_copy<4>(args, [](uint32_t to, const unsigned char* from, uint32_t bytes) { cp_async4(to, from, bytes); });
}

// Of two groups the first has arrived when at most one is under way.
KERNEL(probe_cp_async_groups, 32, Probe args) {
    STATIC_SMEM(uint32_t, memory, [2 * 32]);
    for (int group = 0; group < 2; group++) {
        cp_async4(smem_u32(&memory[group * 32 + threadIdx.x]), args.from + (group * 32 + threadIdx.x) * 4);
        cp_async_commit();
    }
    cp_async_wait<1>();
    args.out[threadIdx.x] = memory[threadIdx.x];
    cp_async_wait<0>();
    args.out[32 + threadIdx.x] = memory[32 + threadIdx.x];
}

// ---- matrices

// Matrix j, row r, column c hold j * 64 + r * 8 + c. Lane l gives the address of row l ^ 5, so that no two rows come in
// order.
template <int REGISTERS, class Load> PTX_DEV void probe_matrices(const Probe& args, Load load) {
    STATIC_SMEM(unsigned short, matrices, [32 * 8]);
    for (int i = threadIdx.x; i < 256; i += 32) matrices[i] = static_cast<unsigned short>(i);
    __syncwarp();
    uint32_t r[REGISTERS];
    load(r, smem_u32(&matrices[(threadIdx.x ^ 5) * 8]));
    for (int i = 0; i < REGISTERS; i++) args.out[threadIdx.x * REGISTERS + i] = r[i];
}

KERNEL(probe_ldmatrix_x4, 32, Probe args) {
    probe_matrices<4>(args, [](uint32_t (&r)[4], uint32_t row) { ldmatrix_x4(r, row); });
}
KERNEL(probe_ldmatrix_x4_trans, 32, Probe args) {
    probe_matrices<4>(args, [](uint32_t (&r)[4], uint32_t row) { ldmatrix_x4_trans(r, row); });
}
KERNEL(probe_ldmatrix_x2, 32, Probe args) {
    probe_matrices<2>(args, [](uint32_t (&r)[2], uint32_t row) { ldmatrix_x2(r, row); });
}

// An integer from -2 to 2 in bf16, by a number.
PTX_DEV uint32_t small(uint32_t i) {
    const int value = int((i * 2654435761u >> 16) % 5) - 2;
    return uint32_t(__float_as_int(float(value))) >> 16;
}
PTX_DEV uint32_t two_small(uint32_t i) { return small(2 * i) | small(2 * i + 1) << 16; }

// Two products on top of each other; integers, so that no order of summation shows.
KERNEL(probe_mma_bf16_m16n8k16, 32, Probe args) {
    const uint32_t t = threadIdx.x;
    float sums[4] = {float(t), -float(t), 1.f, 2.f};
    for (uint32_t step = 0; step < 2; step++) {
        uint32_t a[4];
        for (uint32_t i = 0; i < 4; i++) a[i] = two_small(step * 512 + t * 4 + i);
        mma_bf16_m16n8k16(sums, a, two_small(step * 512 + 256 + t * 2), two_small(step * 512 + 257 + t * 2));
    }
    for (int i = 0; i < 4; i++) args.out[t * 4 + i] = uint32_t(int(sums[i]));
}

// ---- atomics and barriers

// The value before each addition, over the end of 32 bits.
KERNEL(probe_atomic_add_acq_rel, 32, Probe args) {
    if (threadIdx.x != 0) return;
    unsigned* const counter = args.out + 8;
    *counter = 0xFFFFFFFE;
    for (unsigned i = 0; i < 4; i++) args.out[i] = atomic_add_acq_rel(counter, i + 1);
}

// Warp 0 writes and arrives, warp 1 waits and reads.
KERNEL(probe_named_bar, 64, Probe args) {
    STATIC_SMEM(uint32_t, memory, [32]);
    if (threadIdx.x < 32) {
        memory[threadIdx.x] = threadIdx.x * 3;
        named_bar_arrive(3, 64);
    } else {
        named_bar_sync(3, 64);
        args.out[threadIdx.x - 32] = memory[63 - threadIdx.x];
    }
}

// A barrier for two arrivals goes through three phases. In each it says that the one before is over; if a phase does
// not end as it should, the probe does not end. (A question for a phase that is not over may take as long as it likes.)
KERNEL(probe_mbarrier, 32, Probe args) {
    STATIC_SMEM(uint64_t, bar, [1]);
    if (threadIdx.x != 0) return;
    const uint32_t at = smem_u32(bar);
    mbar_init(at, 2);
    fence_mbar_init();
    args.out[0] = mbar_try_wait(at, 1);
    mbar_arrive(at);
    args.out[1] = mbar_try_wait(at, 1);
    mbar_arrive(at);
    mbar_wait(at, 0);
    args.out[2] = mbar_try_wait(at, 0);
    mbar_arrive(at);
    mbar_arrive_expect_tx(at, 0);
    mbar_wait(at, 1);
    args.out[3] = mbar_try_wait(at, 1);
    mbar_expect_tx(at, 0);
    mbar_arrive(at);
    args.out[4] = mbar_try_wait(at, 1);
    mbar_arrive(at);
    mbar_wait(at, 0);
    args.out[5] = mbar_try_wait(at, 0);
}

// ---- tensor memory accelerator

// Fills shared memory, has one thread load `bytes` bytes, and writes `words` words of what is there then.
template <class Load> PTX_DEV void probe_tma(const Probe& args, uint32_t bytes, int words, Load load) {
    DYN_SMEM(uint32_t, tile, 1024);
    STATIC_SMEM(uint64_t, bar, [1]);
    for (int i = threadIdx.x; i < words; i += 32) tile[i] = 0xABABABAB;
    fence_proxy_async();
    __syncwarp();
    if (threadIdx.x == 0) {
        mbar_init(smem_u32(bar), 1);
        fence_mbar_init();
        mbar_arrive_expect_tx(smem_u32(bar), bytes);
        load(smem_u32(tile), smem_u32(bar));
    }
    __syncwarp();
    mbar_wait(smem_u32(bar), 0);
    for (int i = threadIdx.x; i < words; i += 32) args.out[i] = tile[i];
}

// A box that begins two rows and eight columns outside.
template <int SWIZZLE> PTX_DEV void probe_tma_2d(const Probe& args) {
    constexpr int WIDTH = SWIZZLE ? 16 << SWIZZLE : 32;
    probe_tma(args, 16 * WIDTH, 4 * WIDTH + 16, [&](uint32_t to, uint32_t bar) {
        tma_load_2d(to, &args.tiled[SWIZZLE].encoded, bar, -8, -2);
    });
}
INSTANCE(probe_tma_load_2d, 32, Probe, probe_tma_2d<0>);
INSTANCE(probe_tma_load_2d_swizzle_32, 32, Probe, probe_tma_2d<1>);
INSTANCE(probe_tma_load_2d_swizzle_64, 32, Probe, probe_tma_2d<2>);
INSTANCE(probe_tma_load_2d_swizzle_128, 32, Probe, probe_tma_2d<3>);

KERNEL(probe_tma_load_4d, 32, Probe args) {
    probe_tma(args, 2 * 2 * 3 * 16, 2 * 2 * 3 * 4 + 16, [&](uint32_t to, uint32_t bar) {
        tma_load_4d(to, &args.four.encoded, bar, 0, -1, 4, 0);
    });
}

// All 12 pixels of tap (1, 3), in the [2, 5, 6, 8] image: rows of 2, columns of 3, two images.
KERNEL(probe_tma_load_im2col_4d, 32, Probe args) {
    probe_tma(args, 12 * 16, 12 * 4 + 16, [&](uint32_t to, uint32_t bar) {
        tma_load_im2col_4d(to, &args.im2col.encoded, bar, 0, -1, -1, 0, 3, 1);
    });
}

// Two boxes, one of them over the right and the lower edge.
KERNEL(probe_tma_store_2d, 32, Probe args) {
    DYN_SMEM(uint32_t, tile, 128);
    for (int i = threadIdx.x; i < 128; i += 32) tile[i] = i;
    fence_proxy_async();
    __syncwarp();
    if (threadIdx.x != 0) return;
    tma_store_2d(&args.target.encoded, smem_u32(tile), 3, 1);
    bulk_commit();
    bulk_wait_read<0>();
    tma_store_2d(&args.target.encoded, smem_u32(tile), 24, 20);
    bulk_commit();
    bulk_wait<0>();
}

// ---- matrix products of a warp group

KERNEL(probe_wgmma_desc, 32, Probe args) {
    for (uint32_t swizzle = 0; swizzle < 4; swizzle++) {
        const uint64_t descriptor = wgmma_desc(threadIdx.x * 1040, 16 * threadIdx.x, 1024 + 512 * threadIdx.x, swizzle);
        args.out[(threadIdx.x * 4 + swizzle) * 2] = uint32_t(descriptor);
        args.out[(threadIdx.x * 4 + swizzle) * 2 + 1] = uint32_t(descriptor >> 32);
    }
}

// A product over shared memory whose 16-bit values say where they lie, on top of which comes a second one. A thread's
// 32 sums, integers of at most 128, are four to a word.
template <int SWIZZLE, int TRANS_A, int TRANS_B> PTX_DEV void probe_wgmma(const Probe& args) {
    DYN_SMEM(uint32_t, memory, 1024);
    constexpr int WORDS = 32768 / 4;
    for (int i = threadIdx.x; i < WORDS; i += 128) memory[i] = two_small(i);
    fence_proxy_async();
    __syncthreads();
    // Offsets of the canonical layouts: rows of 8 x 16 bytes without a swizzle, else of the swizzle's width.
    const uint32_t a = smem_u32(memory), b = a + 16384, stride = SWIZZLE ? 8 * (256 >> SWIZZLE) : 256;
    const uint32_t leading = SWIZZLE ? 4096 : 2048;
    float sums[32];
    for (int i = 0; i < 32; i++) sums[i] = 0.f;
    wgmma_fence();
    wgmma_bf16<64, TRANS_A, TRANS_B>(sums, wgmma_desc(a, leading, stride, SWIZZLE),
                                     wgmma_desc(b, leading, stride, SWIZZLE), 0);
    wgmma_bf16<64, TRANS_A, TRANS_B>(sums, wgmma_desc(a + 8192, leading, stride, SWIZZLE),
                                     wgmma_desc(b, leading, stride, SWIZZLE), 1);
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int word = 0; word < 8; word++) {
        uint32_t packed = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) packed |= (uint32_t(int(sums[word * 4 + i])) & 0xFF) << (8 * i);
        args.out[threadIdx.x * 8 + word] = packed;
    }
}

#define WGMMA(name, swizzle) \
    INSTANCE(probe_wgmma_##name##_nn, 128, Probe, probe_wgmma<swizzle, 0, 0>); \
    INSTANCE(probe_wgmma_##name##_nt, 128, Probe, probe_wgmma<swizzle, 0, 1>); \
    INSTANCE(probe_wgmma_##name##_tn, 128, Probe, probe_wgmma<swizzle, 1, 0>); \
    INSTANCE(probe_wgmma_##name##_tt, 128, Probe, probe_wgmma<swizzle, 1, 1>)
WGMMA(plain, 0);
WGMMA(swizzle_128, 1);
WGMMA(swizzle_64, 2);
WGMMA(swizzle_32, 3);

// A warp group hands registers to two others, which compute with more of them than before.
KERNEL(probe_setmaxnreg, 384, Probe args) {
    if (threadIdx.x < 128) {
        setmaxnreg_dec<24>();
        args.out[threadIdx.x] = threadIdx.x;
    } else {
        setmaxnreg_inc<240>();
        args.out[threadIdx.x] = threadIdx.x * 7;
    }
}
