// Deliberately wrong kernels (bug_*), each with the line marked that must be reported, and right ones (ok_*) beside
// them, which must not be. tests/seeded_bugs.rs says how each is launched.
#include "ptx.cuh"

#define BUG(name) extern "C" __global__ void bug_##name(float* out)
#define OK(name) extern "C" __global__ void ok_##name(float* out)

// ---- warps

BUG(missing_syncwarp) {
    STATIC_SMEM(float, values, [32]);
    const int t = threadIdx.x;
    values[t] = t;           // HERE
    out[t] = values[t ^ 1];  // HERE
}
REGISTER_KERNEL(bug_missing_syncwarp);

OK(syncwarp) {
    STATIC_SMEM(float, values, [32]);
    const int t = threadIdx.x;
    values[t] = t;
    __syncwarp();
    out[t] = values[t ^ 1];
    __syncwarp();
    values[t] = 0;
    __syncwarp();
    out[t] += values[t ^ 2];
}
REGISTER_KERNEL(ok_syncwarp);

BUG(shuffle_from_exited_lane) {
    const int t = threadIdx.x;
    if (t >= 24) return;
    out[t] = t + __shfl_down_sync(0xffffffffu, (float)t, 16);  // HERE
}
REGISTER_KERNEL(bug_shuffle_from_exited_lane);

OK(exited_lanes) {
    const int t = threadIdx.x;
    if (t >= 24) return;
    out[t] = __shfl_xor_sync(0x00ffffffu, (float)t, 1);
    __syncwarp();
}
REGISTER_KERNEL(ok_exited_lanes);

BUG(shuffle_divergent) {
    const int t = threadIdx.x;
    float value = t;
    if (t & 1) value = __shfl_xor_sync(0xffffffffu, value, 1);  // HERE
    else value += __shfl_sync(0xffffffffu, value, 0);           // HERE
    out[t] = value;
}
REGISTER_KERNEL(bug_shuffle_divergent);

// ---- barriers

BUG(divergent_syncthreads) {
    const int t = threadIdx.x;
    if (t < 32) {
        out[t] = 1;
        __syncthreads();  // HERE
    } else {
        out[t] = 2;
        __syncthreads();  // HERE
    }
}
REGISTER_KERNEL(bug_divergent_syncthreads);

OK(barrier_reductions) {
    const int t = threadIdx.x;
    const int any = __syncthreads_or(t == 5), all = __syncthreads_and(t != 5), count = __syncthreads_count(t < 7);
    const int none = __syncthreads_or(0);
    out[t] = any == 1 && all == 0 && count == 7 && none == 0 ? 1.f : -1.f;
}
REGISTER_KERNEL(ok_barrier_reductions);

BUG(named_barrier_count) {
    const int t = threadIdx.x;
    if (t < 32) named_bar_sync(1, 64);  // HERE
    out[t] = 1;
}
REGISTER_KERNEL(bug_named_barrier_count);

// Warp 0 produces, warp 1 consumes; barrier 1 says full, barrier 2 says empty.
OK(named_barrier_pipeline) {
    STATIC_SMEM(float, values, [32]);
    const int lane = threadIdx.x & 31;
    for (int i = 0; i < 4; i++) {
        if (threadIdx.x < 32) {
            if (i) named_bar_sync(2, 64);
            values[lane] = i * 100 + lane;
            named_bar_arrive(1, 64);
        } else {
            named_bar_sync(1, 64);
            out[i * 32 + lane] = values[lane ^ 5];
            if (i < 3) named_bar_arrive(2, 64);
        }
    }
}
REGISTER_KERNEL(ok_named_barrier_pipeline);

// The consumer never says empty, so the producer writes over what is still being read.
BUG(named_barrier_pipeline) {
    STATIC_SMEM(float, values, [32]);
    const int lane = threadIdx.x & 31;
    for (int i = 0; i < 4; i++) {
        if (threadIdx.x < 32) {
            values[lane] = i * 100 + lane;  // HERE
            named_bar_sync(1, 64);
        } else {
            named_bar_sync(1, 64);
            out[i * 32 + lane] = values[lane ^ 5];  // HERE
        }
    }
}
REGISTER_KERNEL(bug_named_barrier_pipeline);

// ---- mbarriers

OK(mbarrier_pipeline) {
    DYN_SMEM(float, values, 16);
    const uint32_t full = smem_u32(values + 32), empty = full + 8;
    const int lane = threadIdx.x & 31;
    if (threadIdx.x == 0) {
        mbar_init(full, 32);
        mbar_init(empty, 32);
    }
    __syncthreads();
    for (int i = 0; i < 4; i++) {
        if (threadIdx.x < 32) {
            mbar_wait(empty, (i & 1) ^ 1);
            values[lane] = i * 100 + lane;
            mbar_arrive(full);
        } else {
            mbar_wait(full, i & 1);
            out[i * 32 + lane] = values[lane ^ 5];
            mbar_arrive(empty);
        }
    }
}
REGISTER_KERNEL(ok_mbarrier_pipeline);

// Says empty before it has read.
BUG(mbarrier_pipeline) {
    DYN_SMEM(float, values, 16);
    const uint32_t full = smem_u32(values + 32), empty = full + 8;
    const int lane = threadIdx.x & 31;
    if (threadIdx.x == 0) {
        mbar_init(full, 32);
        mbar_init(empty, 32);
    }
    __syncthreads();
    for (int i = 0; i < 4; i++) {
        if (threadIdx.x < 32) {
            mbar_wait(empty, (i & 1) ^ 1);
            values[lane] = i * 100 + lane;  // HERE
            mbar_arrive(full);
        } else {
            mbar_wait(full, i & 1);
            mbar_arrive(empty);
            out[i * 32 + lane] = values[lane ^ 5];  // HERE
        }
    }
}
REGISTER_KERNEL(bug_mbarrier_pipeline);

// No thread may use it before its initialisation is known to have been.
BUG(mbarrier_without_syncthreads) {
    DYN_SMEM(unsigned char, memory, 16);
    const uint32_t bar = smem_u32(memory);
    if (threadIdx.x == 0) mbar_init(bar, 32);
    mbar_arrive(bar);  // HERE
    mbar_wait(bar, 0);  // HERE
    out[threadIdx.x] = 1;
}
REGISTER_KERNEL(bug_mbarrier_without_syncthreads);

BUG(wrong_parity) {
    DYN_SMEM(unsigned char, memory, 16);
    const uint32_t bar = smem_u32(memory);
    if (threadIdx.x == 0) mbar_init(bar, 32);
    __syncthreads();
    mbar_arrive(bar);
    mbar_wait(bar, 0);
    mbar_wait(bar, 1);  // HERE
    out[threadIdx.x] = 1;
}
REGISTER_KERNEL(bug_wrong_parity);

// ---- addresses

BUG(misaligned_float4) {
    const int t = threadIdx.x;
    const float4 v = *reinterpret_cast<float4*>(out + 1 + t * 4);  // HERE
    *reinterpret_cast<float4*>(out + 256 + t * 4) = v;
}
REGISTER_KERNEL(bug_misaligned_float4);

BUG(shared_out_of_bounds) {
    DYN_SMEM(float, values, 16);
    const int t = threadIdx.x;
    values[t * 2] = t;  // HERE
    __syncthreads();
    out[t] = values[t & ~1];
}
REGISTER_KERNEL(bug_shared_out_of_bounds);

BUG(shared_uninitialised) {
    STATIC_SMEM(float, values, [64]);
    const int t = threadIdx.x;
    values[t] = t;
    __syncthreads();
    out[t] = values[t + 8];  // HERE
}
REGISTER_KERNEL(bug_shared_uninitialised);

BUG(local_array) {
    float values[4] = {1, 2, 3, 4};
    const int t = threadIdx.x;
    out[t] = values[t & 7];  // HERE
}
REGISTER_KERNEL(bug_local_array);

// out has 2048 floats.
BUG(global_out_of_bounds) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[2040 + i] = i;  // HERE
}
REGISTER_KERNEL(bug_global_out_of_bounds);

BUG(global_before_beginning) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = out[i - 3 + 64 * (i & 1)];  // HERE
}
REGISTER_KERNEL(bug_global_before_beginning);

BUG(not_device_memory) {
    float* const nowhere = reinterpret_cast<float*>(uintptr_t(64));
    if (threadIdx.x == 7) out[0] = *nowhere;  // HERE
}
REGISTER_KERNEL(bug_not_device_memory);

BUG(shared_atomic) {
    STATIC_SMEM(int, count, [1]);
    if (threadIdx.x == 0) count[0] = 0;  // HERE
    atomicAdd(&count[0], 1);             // HERE
    __syncthreads();
    out[threadIdx.x] = count[0];
}
REGISTER_KERNEL(bug_shared_atomic);

OK(shared_atomic) {
    STATIC_SMEM(int, count, [1]);
    if (threadIdx.x == 0) count[0] = 0;
    __syncthreads();
    atomicAdd(&count[0], 1);
    __syncthreads();
    out[threadIdx.x] = count[0];
}
REGISTER_KERNEL(ok_shared_atomic);

// ---- global memory, between threads

// Blocks of 64 threads overlap by four elements.
BUG(blocks_overlap) {
    const int i = blockIdx.x * 60 + threadIdx.x;
    out[i] = i;  // HERE
}
REGISTER_KERNEL(bug_blocks_overlap);

OK(blocks_disjoint) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = i;
}
REGISTER_KERNEL(ok_blocks_disjoint);

// There is no barrier between blocks.
BUG(read_of_other_block) {
    const int i = blockIdx.x * 64 + threadIdx.x;
    out[i] = 1;  // HERE
    __syncthreads();
    out[512 + i] = i ? out[i - 1] : 0.f;  // HERE
}
REGISTER_KERNEL(bug_read_of_other_block);

BUG(write_after_read_of_other_block) {
    const int i = blockIdx.x * 64 + threadIdx.x;
    out[512 + i] = out[(i + 64) % 256];  // HERE
    __syncthreads();
    out[i] = 1;  // HERE
}
REGISTER_KERNEL(bug_write_after_read_of_other_block);

BUG(global_missing_syncthreads) {
    const int t = threadIdx.x;
    out[t] = t;              // HERE
    out[64 + t] = out[t ^ 1];  // HERE
}
REGISTER_KERNEL(bug_global_missing_syncthreads);

BUG(plain_sum) {
    out[threadIdx.x & 7] += 1.f;  // HERE
}
REGISTER_KERNEL(bug_plain_sum);

OK(atomic_sum) { atomicAdd(&out[threadIdx.x & 7], 1.f); }
REGISTER_KERNEL(ok_atomic_sum);

BUG(atomic_and_plain) {
    if (blockIdx.x == 0) out[0] = 1.f;  // HERE
    else atomicAdd(&out[0], 1.f);       // HERE
}
REGISTER_KERNEL(bug_atomic_and_plain);

// Neighbouring bytes and halves of one word belong to different threads.
OK(small_elements) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    reinterpret_cast<unsigned char*>(out)[i] = i;
    reinterpret_cast<__nv_bfloat16*>(out + 1024)[i] = __float2bfloat16(i);
}
REGISTER_KERNEL(ok_small_elements);

BUG(small_elements) {
    const int i = blockIdx.x * 63 + threadIdx.x;
    reinterpret_cast<__nv_bfloat16*>(out)[i] = __float2bfloat16(i);  // HERE
}
REGISTER_KERNEL(bug_small_elements);
