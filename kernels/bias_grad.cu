// Gradient of a convolution's bias (see src/engine/ops/conv).
#include "channel_sums.cuh"

constexpr int THREADS = 512;
static_assert(THREADS == LANES * ROWS, "a block is 32 channels x 16 rows of threads");

struct BiasGrad {
  const float* dy;
  float* dbias;
  int pixels, channels, dy_stride, accumulate;
};

// The bias gradient: dbias[c] = sum over pixels p of dy[p, c], or the sum added to dbias[c]. A block sums 32
// channels over all pixels of all images. Grid: ceil(channels / 32).
KERNEL(bias_grad, THREADS, BiasGrad args) {
  STATIC_SMEM(float, rows, [1][ROWS][LANES]);
  const unsigned channel = blockIdx.x * LANES + threadIdx.x % LANES;
  const bool active = channel < unsigned(args.channels);

  float total[1];
  channel_sums(total, active ? unsigned(args.pixels) : 0, rows,
               [&](unsigned p, float (&sum)[1]) { sum[0] += args.dy[at(p, args.dy_stride, channel)]; });
  if (active && threadIdx.x < LANES) store(args.dbias + channel, total[0], args.accumulate);
}
