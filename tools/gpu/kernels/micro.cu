// Micro-benchmarks for the constants of the time model (src/profile/gpu.toml). micro.py launches them and turns their
// times into rates. Each kernel keeps one resource busy; what it loads ends in a sum that is written, so that no
// compiler leaves a load out.
#include "ptx.cuh"

// The clock of the multiprocessor; there is none on the simulator.
#ifdef __CUDACC__
PTX_DEV long long clocks() { return clock64(); }
#define DEPENDENT_LAUNCH() cudaTriggerProgrammaticLaunchCompletion()
#define DEPENDENT_WAIT() cudaGridDependencySynchronize()
#else
PTX_DEV long long clocks() { return 0; }
#define DEPENDENT_LAUNCH()
#define DEPENDENT_WAIT()
#endif

// ---- launches

struct Touch {
    const float4* from;
    float4* to;
};

PTX_DEV void touch_one(const Touch& args) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    float4 value = load_vector<float4>(args.from + i);
    value.x += 1.f;
    store_vector(args.to + i, value);
}

KERNEL(nothing, 256, Touch args) {}

// A load and a store of 16 bytes by each thread: the shortest kernel that does any work.
KERNEL(touch, 256, Touch args) { touch_one(args); }

// The same under programmatic dependent launch: the next kernel's blocks may start at once, and wait for these.
KERNEL(touch_dependent, 256, Touch args) {
    DEPENDENT_LAUNCH();
    DEPENDENT_WAIT();
    touch_one(args);
}

// ---- bandwidth of L2 and of memory

constexpr int STREAM_THREADS = 256, CHUNK = STREAM_THREADS * 16;

struct Stream {
    const unsigned char* from;
    // Bytes of the region that the blocks read, over and over: a multiple of CHUNK and of at least a chunk a block.
    uint64_t bytes;
    // Times that the ring is filled behind the first.
    int rounds;
    uint32_t* sums;
};

// Block b reads the chunks b, b + blocks, ... through a ring of STAGES chunks by cp.async, which does not go through
// L1. CHUNK * (STAGES - 1) to CHUNK * STAGES bytes of a block are under way.
template <int STAGES> PTX_DEV void stream(const Stream& args) {
    DYN_SMEM(uint32_t, ring, 16);
    const size_t own = size_t(threadIdx.x) * 16, step = size_t(gridDim.x) * CHUNK;
    const uint32_t slot = smem_u32(ring) + uint32_t(own);
    size_t next = size_t(blockIdx.x) * CHUNK;
    const auto load = [&](int stage) {
        cp_async16(slot + stage * CHUNK, args.from + next + own);
        cp_async_commit();
        next += step;
        if (next >= args.bytes) next = size_t(blockIdx.x) * CHUNK;
    };
#pragma unroll
    for (int stage = 0; stage < STAGES; stage++) load(stage);
    uint32_t sum = 0;
    for (int round = 0; round < args.rounds; round++) {
#pragma unroll
        for (int stage = 0; stage < STAGES; stage++) {
            cp_async_wait<STAGES - 1>();
            sum += ring[stage * (CHUNK / 4) + threadIdx.x * 4];
            load(stage);
        }
    }
    cp_async_wait<0>();
    args.sums[blockIdx.x * STREAM_THREADS + threadIdx.x] = sum;
}

INSTANCE(stream_8k, STREAM_THREADS, Stream, stream<2>);
INSTANCE(stream_16k, STREAM_THREADS, Stream, stream<4>);
INSTANCE(stream_32k, STREAM_THREADS, Stream, stream<8>);
INSTANCE(stream_64k, STREAM_THREADS, Stream, stream<16>);

// ---- latency

struct Chase {
    const uint32_t* from;
    // Words of the region, a power of two, of the first load, and from one load to the next; and a zero that the
    // compiler does not know.
    uint32_t words, begin, stride, zero;
    int hops;
    uint32_t* last;
};

// Loads of one thread, each of which waits for the one before.
KERNEL(chase, 32, Chase args) {
    if (threadIdx.x != 0) return;
    uint32_t i = args.begin;
    for (int hop = 0; hop < args.hops; hop++) 
        i = (i + args.stride + (args.from[i] & args.zero)) & (args.words - 1);
    *args.last = i;
}

// ---- requests of 1, 4, 8 and 32 lines

struct Requests {
    const uint32_t* from;
    // Words of the region that the requests go round in, a power of two: few, and they hit L1.
    uint32_t words;
    int rounds;
    uint32_t* sums;
};

constexpr int REQUEST_THREADS = 1024, REQUESTS_OF_A_ROUND = 8;

// A warp's request of 128 bytes that lie in LINES lines. No two lanes have the same bank.
template <int LINES> PTX_DEV void requests(const Requests& args) {
    const uint32_t lane = threadIdx.x & 31, warp = (blockIdx.x * REQUEST_THREADS + threadIdx.x) >> 5;
    const uint32_t own = lane / (32 / LINES) * 32 + lane;
    uint32_t at = warp * (LINES * 32 * REQUESTS_OF_A_ROUND), sum = 0;
    for (int round = 0; round < args.rounds; round++) {
        const uint32_t* const from = args.from + (at & (args.words - 1)) + own;
        uint32_t values[REQUESTS_OF_A_ROUND];
#pragma unroll
        for (int i = 0; i < REQUESTS_OF_A_ROUND; i++) values[i] = from[i * (LINES * 32)];
#pragma unroll
        for (int i = 0; i < REQUESTS_OF_A_ROUND; i++) sum += values[i];
        // The rounds of the other warps lie between.
        at += gridDim.x * (REQUEST_THREADS / 32) * (LINES * 32 * REQUESTS_OF_A_ROUND);
    }
    args.sums[blockIdx.x * REQUEST_THREADS + threadIdx.x] = sum;
}

INSTANCE(requests_1, REQUEST_THREADS, Requests, requests<1>);
INSTANCE(requests_4, REQUEST_THREADS, Requests, requests<4>);
INSTANCE(requests_8, REQUEST_THREADS, Requests, requests<8>);
INSTANCE(requests_32, REQUEST_THREADS, Requests, requests<32>);

// ---- inside of a multiprocessor

PTX_DEV uint32_t float_bits(float value) { return uint32_t(__float_as_int(value)); }

struct Loop {
    int rounds;
    uint32_t* sums;
    // Clocks of the first block.
    long long* clocks;
};

constexpr int LOOP_THREADS = 1024, PRODUCT_THREADS = 256;

// The clocks that `body` takes.
template <class Body> PTX_DEV void clocked(const Loop& args, Body body) {
    const long long begin = clocks();
    body();
    if (blockIdx.x == 0 && threadIdx.x == 0) *args.clocks = clocks() - begin;
}

// 8 multiply-adds of f32 of a thread a round, which do not wait for each other.
KERNEL(multiply_adds, LOOP_THREADS, Loop args) {
    float sums[8];
    for (int i = 0; i < 8; i++) sums[i] = float(threadIdx.x + i);
    const float factor = 1.f - 0x1p-20f * float(blockIdx.x + 1);
    clocked(args, [&] {
#pragma unroll 8
        for (int round = 0; round < args.rounds; round++) {
#pragma unroll
            for (int i = 0; i < 8; i++) sums[i] = fmaf(sums[i], factor, 1.f);
        }
    });
    float sum = 0.f;
    for (int i = 0; i < 8; i++) sum += sums[i];
    args.sums[blockIdx.x * LOOP_THREADS + threadIdx.x] = float_bits(sum);
}

// 4 loads of 16 bytes of a thread a round from shared memory, without conflicts.
KERNEL(shared_loads, LOOP_THREADS, Loop args) {
    STATIC_SMEM(uint4, values, [2 * LOOP_THREADS]);
    for (int i = threadIdx.x; i < 2 * LOOP_THREADS; i += LOOP_THREADS) values[i] = make_uint4(i, i, i, i);
    __syncthreads();
    uint32_t sum = 0;
    clocked(args, [&] {
        for (int round = 0; round < args.rounds; round++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const unsigned at = (threadIdx.x + (round * 4 + i) * 8) % (2 * LOOP_THREADS);
                const uint4 value = load_vector<uint4>(&values[at]);
                sum += value.x ^ value.y ^ value.z ^ value.w;
            }
        }
    });
    args.sums[blockIdx.x * LOOP_THREADS + threadIdx.x] = sum;
}

// Two values of bf16, between 0.5 and 1 or -1 and -0.5: a product of zeros takes less power, and so less time.
PTX_DEV uint32_t operands(uint32_t i) { return (i * 2654435761u & 0x807f807fu) | 0x3f003f00u; }

PTX_DEV uint4 four_operands(uint32_t i) {
    return make_uint4(operands(i * 4), operands(i * 4 + 1), operands(i * 4 + 2), operands(i * 4 + 3));
}

// 8 products m16n8k16 of a warp a round, with the operands of each round from shared memory (half an ldmatrix.x4 a
// product) or always the same ones from registers.
template <bool FROM_SHARED> PTX_DEV void products(const Loop& args) {
    STATIC_SMEM(uint4, tile, [PRODUCT_THREADS * 2]);
    for (int i = threadIdx.x; i < PRODUCT_THREADS * 2; i += PRODUCT_THREADS) tile[i] = four_operands(i);
    __syncthreads();
    const uint32_t lane = threadIdx.x & 31, own = smem_u32(&tile[(threadIdx.x & ~31u) * 2 + lane]);
    uint32_t a[2][4], b[2][4];
    const auto load = [&] {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            ldmatrix_x4(a[i], own);
            ldmatrix_x4(b[i], own + 512);
        }
    };
    load();
    float sums[8][4] = {};
    for (int round = 0; round < args.rounds; round++) {
        if (FROM_SHARED) load();
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                mma_bf16_m16n8k16(sums[i * 4 + j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
    }
    float sum = 0.f;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 4; j++) sum += sums[i][j];
    args.sums[blockIdx.x * PRODUCT_THREADS + threadIdx.x] = float_bits(sum);
}

INSTANCE(products_in_registers, PRODUCT_THREADS, Loop, products<false>);
INSTANCE(products_from_shared, PRODUCT_THREADS, Loop, products<true>);

// 4 products m64n64k16 of a warp group a round, both operands in shared memory.
KERNEL(products_of_groups, PRODUCT_THREADS, Loop args) {
    DYN_SMEM(unsigned char, tiles, 1024);
    // Two tiles of 64 rows of 128 bytes for each of the two warp groups.
    for (int i = threadIdx.x; i < 4 * 8192 / 16; i += PRODUCT_THREADS)
        store_vector(tiles + i * 16, four_operands(i));
    fence_proxy_async();
    __syncthreads();
    const uint32_t own = smem_u32(tiles) + threadIdx.x / 128 * 16384;
    const uint64_t a = wgmma_desc(own, 16, 1024, 1), b = wgmma_desc(own + 8192, 16, 1024, 1);
    float sums[32] = {};
    for (int round = 0; round < args.rounds; round++) {
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < 4; k++) wgmma_bf16<64, 0, 0>(sums, a + k * 2, b + k * 2, 1);
        wgmma_commit();
        wgmma_wait<0>();
    }
    float sum = 0.f;
    for (int i = 0; i < 32; i++) sum += sums[i];
    args.sums[blockIdx.x * PRODUCT_THREADS + threadIdx.x] = float_bits(sum);
}
