// Kernels whose counts can be worked out by hand: tests/check/counts.rs says what each line must count.
#include "ptx.cuh"

#define COUNTED(name) \
    extern "C" __global__ void name(float* out); \
    REGISTER_KERNEL(name); \
    extern "C" __global__ void name(float* out)

// A warp reads 32 neighbouring floats, then every second, then every 32nd, then one for all lanes.
COUNTED(count_global) {
    const int t = threadIdx.x;
    float sum = out[t];          // COALESCED
    sum += out[t * 2];           // STRIDE2
    sum += out[t * 32];          // STRIDE32
    sum += out[1];               // SAME
    sum += out[t + 1];           // SHIFTED
    out[2048 + t] = sum;         // STORE
    __syncthreads();
    sum = out[t * 32];           // AGAIN
    atomicAdd(&out[4000], sum);  // ATOMIC
}

// Loads of 16 bytes from global memory, and of 4, 8 and 16 bytes from shared memory with and without conflicts.
COUNTED(count_shared) {
    STATIC_SMEM(float4, memory, [256]);
    const int t = threadIdx.x;
    float* const words = &memory[0].x;
    float2* const pairs = reinterpret_cast<float2*>(words);
    store_vector(&memory[t], load_vector<float4>(out + 4 * t));  // WIDE
    __syncthreads();
    float sum = words[t];         // WORDS
    sum += words[t * 2];          // TWO_WAY
    sum += words[t * 32];         // THIRTYTWO_WAY
    sum += words[t * 33 % 1024];  // PADDED
    sum += words[5];              // BROADCAST
    sum += load_vector<float4>(&memory[t * 2 % 256]).x;      // QUARTERS_TWO_WAY
    sum += load_vector<float4>(&memory[t / 2]).x;            // PAIRED
    sum += load_vector<float4>(&memory[t / 4 * 2 + t % 2]).x;  // PAIRED_BY_TWO
    sum += load_vector<float2>(&pairs[t]).x;    // HALVES
    atomicAdd(&words[7], 1.0f);   // SHARED_ATOMIC
    out[t] = sum;
}

// cp.async, its wait, and ldmatrix with and without conflicts, then a product.
COUNTED(count_copies) {
    STATIC_SMEM(float4, memory, [256]);
    const int t = threadIdx.x;
    cp_async16(smem_u32(&memory[t]), out + 4 * t);                            // COPY
    cp_async16(smem_u32(&memory[32 + t]), out + 128 + 4 * t, t < 8 ? 16 : 0);  // PART
    cp_async_commit();
    cp_async4(smem_u32(&memory[64].x + t), out + t);                          // SMALL
    cp_async_commit();
    cp_async_wait<1>();  // FIRST_WAIT
    cp_async_wait<0>();  // SECOND_WAIT
    __syncthreads();     // BARRIER
    uint32_t a[4], b[4];
    ldmatrix_x4(a, smem_u32(&memory[t]));      // ROWS
    ldmatrix_x4(b, smem_u32(&memory[t * 8]));  // SAME_BANKS
    float d[4] = {};
    mma_bf16_m16n8k16(d, a, b[0], b[1]);  // PRODUCT
    __threadfence();                      // FENCE
    out[t] = d[0];
}

// Sixteen blocks, of which each reads its own 128 bytes; some of them are sampled.
COUNTED(count_blocks) {
    out[blockIdx.x * 32 + threadIdx.x] *= 2.0f;  // SCALE
}
