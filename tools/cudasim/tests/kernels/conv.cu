// A tiled 4x4 convolution, stride 2, padding 1, NHWC f32, with sum and sum of squares of each channel, reduced by
// shuffles and atomics.
#include "mutation.cuh"

constexpr int CHANNELS = 8, OUTPUTS = 16, PATCH = 18, THREADS = 128;

enum : int {
    NO_BARRIER_AFTER_LOAD = 1, NO_BARRIER_BEFORE_RELOAD, NO_BARRIER_BEFORE_REDUCE, PLAIN_SUM, READ_PAST_IMAGE,
    HALO_NOT_ZEROED
};

template <int MUTATION>
__device__ __forceinline__ void conv_body(const float* x, const float* w, float* y, float* sums, int H, int W, int Ci,
                                          int Co) {
    STATIC_SMEM(float, patch, [PATCH * PATCH * CHANNELS]);
    STATIC_SMEM(float, weights, [OUTPUTS * 16 * CHANNELS]);
    STATIC_SMEM(float, partial, [4][8][2]);
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
    const int pixel = tid & 63, group = tid >> 6, py = pixel >> 3, px = pixel & 7;
    const int co0 = blockIdx.z % (Co / OUTPUTS) * OUTPUTS, n = blockIdx.z / (Co / OUTPUTS);
    const int oy0 = blockIdx.y * 8, ox0 = blockIdx.x * 8, OH = H / 2, OW = W / 2;
    float acc[8] = {};
    for (int c0 = 0; c0 < Ci; c0 += CHANNELS) {
        for (int i = tid; i < PATCH * PATCH * CHANNELS / 4; i += THREADS) {
            const int c4 = i % (CHANNELS / 4) * 4, q = i / (CHANNELS / 4);
            const int iy = oy0 * 2 - 1 + q / PATCH, ix = ox0 * 2 - 1 + q % PATCH;
            const int rows = MUTATION == READ_PAST_IMAGE ? H + 1 : H;
            const bool inside = iy >= 0 && iy < rows && ix >= 0 && ix < W;
            float4 v = make_float4(0.f, 0.f, 0.f, 0.f);
            if (inside) v = *reinterpret_cast<const float4*>(&x[((size_t)(n * H + iy) * W + ix) * Ci + c0 + c4]);
            if (MUTATION != HALO_NOT_ZEROED || inside) *reinterpret_cast<float4*>(&patch[q * CHANNELS + c4]) = v;
        }
        for (int i = tid; i < OUTPUTS * 16 * CHANNELS; i += THREADS) {
            const int c = i % CHANNELS, tap = i / CHANNELS % 16, co = i / CHANNELS / 16;
            weights[(tap * CHANNELS + c) * OUTPUTS + co] = w[((size_t)(co0 + co) * 16 + tap) * Ci + c0 + c];
        }
        UNLESS(NO_BARRIER_AFTER_LOAD, __syncthreads());
        for (int kh = 0; kh < 4; kh++)
            for (int kw = 0; kw < 4; kw++)
                for (int c = 0; c < CHANNELS; c++) {
                    const float value = patch[((py * 2 + kh) * PATCH + px * 2 + kw) * CHANNELS + c];
                    const float* wp = &weights[((kh * 4 + kw) * CHANNELS + c) * OUTPUTS + group * 8];
                    for (int j = 0; j < 8; j++) acc[j] = fmaf(value, wp[j], acc[j]);
                }
        UNLESS(NO_BARRIER_BEFORE_RELOAD, __syncthreads());
    }
    float* yp = &y[((size_t)(n * OH + oy0 + py) * OW + ox0 + px) * Co + co0 + group * 8];
    for (int j = 0; j < 8; j++) {
        yp[j] = acc[j];
        float sum = acc[j], squares = acc[j] * acc[j];
        for (int o = 16; o; o >>= 1) {
            sum += __shfl_xor_sync(0xffffffffu, sum, o);
            squares += __shfl_xor_sync(0xffffffffu, squares, o);
        }
        if (lane == 0) {
            partial[warp][j][0] = sum;
            partial[warp][j][1] = squares;
        }
    }
    UNLESS(NO_BARRIER_BEFORE_REDUCE, __syncthreads());
    if (tid < 32) {
        const int co = tid >> 1, k = tid & 1, g = co >> 3, j = co & 7;
        const float value = partial[g * 2][j][k] + partial[g * 2 + 1][j][k];
        float* total = &sums[((size_t)n * Co + co0 + co) * 2 + k];
        if constexpr (MUTATION == PLAIN_SUM) *total += value;
        else atomicAdd(total, value);
    }
}

#define VARIANT(number) \
    extern "C" __global__ void __launch_bounds__(128) conv_##number( \
        const float* x, const float* w, float* y, float* sums, int H, int W, int Ci, int Co) { \
        conv_body<number>(x, w, y, sums, H, W, Ci, Co); \
    } \
    REGISTER_KERNEL(conv_##number)
VARIANT(0);
VARIANT(1);
VARIANT(2);
VARIANT(3);
VARIANT(4);
VARIANT(5);
VARIANT(6);
