// Gradient of a convolution's bias.
#include "channel_sums.cuh"

constexpr int THREADS = 512;
static_assert(THREADS == LANES * ROWS, "a block is 32 channels x 16 rows of threads");

// bias[c] = sum over pixels p of gradient[p, c]. A block sums 32 channels over all pixels of all images.
// Grid: ceil(channels / 32).
extern "C" __global__ void __launch_bounds__(THREADS) bias_grad(
    const float* __restrict__ gradient,
    float* bias,
    int pixels,
    int channels,
    int gradient_stride,
    int accumulate) {
  STATIC_SMEM(float, rows, [1][ROWS][LANES]);
  const unsigned channel = blockIdx.x * LANES + threadIdx.x % LANES;
  const bool active = channel < unsigned(channels);

  float total[1];
  channel_sums(total, active ? unsigned(pixels) : 0, rows,
               [&](unsigned p, float (&sum)[1]) { sum[0] += gradient[at(p, gradient_stride, channel)]; });
  if (active && threadIdx.x < LANES) store(bias + channel, total[0], accumulate);
}
KERNEL(bias_grad);
