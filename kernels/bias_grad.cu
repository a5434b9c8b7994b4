// Gradient of a convolution's bias (see src/engine/ops/conv).
#include "channel_sums.cuh"
#include "tickets.cuh"

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

constexpr int SHARED_THREADS = 256;

// The most gradients of a launch.
constexpr int BIAS_GRADS = 16;

// A gradient whose channels are summed by groups of them, and each group by `shares` blocks. `sums` and `tickets` are
// as add_shares needs them for each group; `first_block` is the gradient's first among the blocks of a launch.
struct SharedBiasGrad {
  BiasGrad grad;
  float* sums;
  unsigned* tickets;
  int shares, first_block;
};

struct BiasGradShared {
  SharedBiasGrad grads[BIAS_GRADS];
  int count;  // gradients
};

// The same gradient, or several, by `shares` blocks for each group of channels, each with a part of the pixels. A group
// is all channels, or 256 of them; a thread has one channel of every `step`-th pixel. Grid: the sum of
// shares * ceil(channels / 256) of all gradients.
KERNEL(bias_grad_shared, SHARED_THREADS, BiasGradShared args) {
  STATIC_SMEM(float, sums, [SHARED_THREADS]);
  STATIC_SMEM(unsigned, is_last, [1]);
  int index = 0;
  while (index + 1 < args.count && int(blockIdx.x) >= args.grads[index + 1].first_block) index++;
  const SharedBiasGrad shared = args.grads[index];
  const BiasGrad& grad = shared.grad;
  const int block = blockIdx.x - shared.first_block, t = threadIdx.x;
  const int share = block % shared.shares, group = block / shared.shares;
  const int channels = min(grad.channels, SHARED_THREADS), step = SHARED_THREADS / channels;
  const int channel = group * SHARED_THREADS + t % channels;
  const bool active = t < step * channels && channel < grad.channels;
  const int end = int(size_t(share + 1) * grad.pixels / shared.shares);
  float sum = 0.0f;
  if (active) {
#pragma unroll 8
    for (int p = int(size_t(share) * grad.pixels / shared.shares) + t / channels; p < end; p += step) {
      sum += grad.dy[at(p, grad.dy_stride, channel)];
    }
  }
  float4 total[1] = {make_float4(sum, 0.0f, 0.0f, 0.0f)};
  if (!add_shares<1, SHARED_THREADS>(total, shared.sums, shared.tickets, group, share, shared.shares, is_last)) return;
  sums[t] = total[0].x;
  __syncthreads();
  if (t >= channels || !active) return;
  for (int other = 1; other < step; other++) total[0].x += sums[t + other * channels];
  store(grad.dbias + channel, total[0].x, grad.accumulate);
}
