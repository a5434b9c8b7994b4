// Kernels that show where a warp's registers keep matrix elements, and kernels whose only purpose is to be timed.
#include "ptx.cuh"

// Matrix j, row r, column c hold j * 64 + r * 8 + c.
extern "C" __global__ void __launch_bounds__(32) probe_ldmatrix(unsigned* out, int transposed) {
    STATIC_SMEM(unsigned short, matrices, [32 * 8]);
    for (int i = threadIdx.x; i < 256; i += 32) matrices[i] = i;
    __syncwarp();
    uint32_t r[4];
    const uint32_t row = smem_u32(&matrices[threadIdx.x * 8]);
    if (transposed) ldmatrix_x4_trans(r, row);
    else ldmatrix_x4(r, row);
    for (int j = 0; j < 4; j++) out[threadIdx.x * 4 + j] = r[j];
}
REGISTER_KERNEL(probe_ldmatrix);

// d = a b for one fragment of each, as the registers hold them.
extern "C" __global__ void __launch_bounds__(32) probe_mma(const unsigned* a, const unsigned* b, float* d) {
    const int t = threadIdx.x;
    const uint32_t fragment[4] = {a[t * 4], a[t * 4 + 1], a[t * 4 + 2], a[t * 4 + 3]};
    float sum[4] = {0.f, 0.f, 0.f, 0.f};
    mma_bf16_m16n8k16(sum, fragment, b[t * 2], b[t * 2 + 1]);
    for (int i = 0; i < 4; i++) d[t * 4 + i] = sum[i];
}
REGISTER_KERNEL(probe_mma);

extern "C" __global__ void fill(float* out, float value, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = value;
}
REGISTER_KERNEL(fill);

// out[i] = sum over k of x[i + k] w[k]: two loads a step, and hardly anything else.
extern "C" __global__ void __launch_bounds__(256)
correlate(float* out, const float* x, const float* w, int count, int taps) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    float sum = 0.f;
    for (int k = 0; k < taps; k++) sum = fmaf(x[i + k], w[k], sum);
    out[i] = sum;
}
REGISTER_KERNEL(correlate);

// values[i] = factor values[i] + summand, in place: the order of two of these shows in the result.
extern "C" __global__ void scale_add(float* values, float factor, float summand, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] = fmaf(values[i], factor, summand);
}
REGISTER_KERNEL(scale_add);

extern "C" __global__ void __launch_bounds__(1024) meet(int* out, int times) {
    for (int i = 0; i < times; i++) __syncthreads();
    if (threadIdx.x == 0) out[blockIdx.x] = times;
}
REGISTER_KERNEL(meet);

// The linear index of each thread, computed from its block and thread indices, for comparison with the launch.
extern "C" __global__ void where_am_i(unsigned* out) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    out[block * threads + thread] = block * threads + thread;
}
REGISTER_KERNEL(where_am_i);
