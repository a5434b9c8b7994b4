// Convolutions with few output channels, as dot products over the input channels: fprop, a warp for each output, and
// wgrad. The heads of discriminators are such.
#include "adam.cuh"
#include "conv_geometry.cuh"

constexpr int THREADS = 256, WGRAD_THREADS = 1024;

// Channels that a warp takes at once, a quad each lane.
constexpr int CHANNELS = 128;

__device__ __forceinline__ float dot(float4 a, float4 b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

// x [n, h, w, c], weight [k, rows, columns, c], bias [k] or null, y [n, h', w', k]. c and the stride of x are multiples
// of 4.
struct ConvFpropDot {
  const float* x;
  const float* weight;
  const float* bias;
  float* y;
  Shape x_shape, y_shape;
  Geometry geometry;
  int accumulate;
};

// fprop of any geometry. Each lane sums over its quads of channels, tap by tap, and the warp adds up its lanes. Grid:
// ceil(n * h' * w' * k / 8).
KERNEL(conv_fprop_dot, THREADS, ConvFpropDot args) {
  const Geometry& g = args.geometry;
  const Shape &x = args.x_shape, &y = args.y_shape;
  const unsigned output = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, pixel = output / y.channels;
  const int lane = threadIdx.x % 32, k = output % y.channels;
  const int column = pixel % y.width, row = pixel / y.width % y.height, image = pixel / y.width / y.height;
  if (image >= y.images) return;

  const float* const filter = args.weight + at(k * g.kernel_rows * g.kernel_columns, x.channels, 0);
  float sum = 0.0f;
  for (int i = 0; i < g.kernel_rows; i++) {
    const int x_row = row * g.stride + i * g.dilation - g.pad_top;
    if (!inside(x_row, x.height)) continue;
    for (int j = 0; j < g.kernel_columns; j++) {
      const int x_column = column * g.stride + j * g.dilation - g.pad_left;
      if (!inside(x_column, x.width)) continue;
      const float* const from = args.x + pixel_at(image, x_row, x_column, x);
      const float* const weights = filter + (i * g.kernel_columns + j) * x.channels;
      float run = 0.0f;
#pragma unroll 2
      for (int c = lane * 4; c < x.channels; c += CHANNELS) {
        run = dot(load_vector<float4>(from + c), load_vector<float4>(weights + c), run);
      }
      sum += run;
    }
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  if (lane != 0) return;
  store(args.y + at(pixel, y.stride, k), args.bias ? sum + args.bias[k] : sum, args.accumulate);
}

// x [n, h, w, c], dy [n, h', w', k], dweight and the parameters [k, rows, columns, c]. c and the stride of x are
// multiples of 4.
struct ConvWgradDot {
  const float* x;
  const float* dy;
  Shape x_shape, dy_shape;
  Geometry geometry;
};

struct ConvWgradDotGrad {
  ConvWgradDot wgrad;
  float* dweight;
  int accumulate;
};

struct ConvWgradDotAdam {
  ConvWgradDot wgrad;
  AdamState state;
};

// Calls use(offset in dweight, four values) for the gradient of one tap, one output channel and 128 input channels.
// Each of 32 warps sums every 32nd pixel, and the first adds up the sums of all, in order.
template <class Use>
__device__ __forceinline__ void wgrad_dot(const ConvWgradDot& args, Use use) {
  STATIC_SMEM(float4, sums, [WGRAD_THREADS / 32][32]);
  const Geometry& g = args.geometry;
  const Shape &x = args.x_shape, &dy = args.dy_shape;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int c = blockIdx.x * CHANNELS + lane * 4, k_tap = blockIdx.y, taps = g.kernel_rows * g.kernel_columns;
  const int i = k_tap % taps / g.kernel_columns, j = k_tap % g.kernel_columns, k = k_tap / taps;
  const unsigned pixels = dy.images * dy.height * dy.width;
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 4
  for (unsigned pixel = warp; pixel < pixels; pixel += WGRAD_THREADS / 32) {
    const int x_row = int(pixel / dy.width % dy.height) * g.stride + i * g.dilation - g.pad_top;
    const int x_column = int(pixel % dy.width) * g.stride + j * g.dilation - g.pad_left;
    if (c >= x.channels || !inside(x_row, x.height) || !inside(x_column, x.width)) continue;
    const float value = args.dy[at(pixel, dy.stride, k)];
    const float4 from = load_vector<float4>(args.x + pixel_at(pixel / dy.width / dy.height, x_row, x_column, x) + c);
    sum = make_float4(fmaf(from.x, value, sum.x), fmaf(from.y, value, sum.y), fmaf(from.z, value, sum.z),
                      fmaf(from.w, value, sum.w));
  }
  store_vector(&sums[warp][lane], sum);
  __syncthreads();
  if (warp != 0 || c >= x.channels) return;
  for (int other = 1; other < WGRAD_THREADS / 32; other++) sum = add(sum, load_vector<float4>(&sums[other][lane]));
  use(at(k_tap, x.channels, c), sum);
}

// wgrad of any geometry: dweight[k, tap, c] = sum over q of dy[q, k] * x[q * stride + tap * dilation - pad, c], or the
// sum added to dweight. Grid: (ceil(c / 128), k * rows * columns).
KERNEL(conv_wgrad_dot, WGRAD_THREADS, ConvWgradDotGrad args) {
  wgrad_dot(args.wgrad, [&](size_t offset, float4 value) {
    float* const to = args.dweight + offset;
    store_vector(to, args.accumulate ? add_rounded(load_vector<float4>(to), value) : value);
  });
}

// The same gradient, by which the parameters and their moments are updated. Grid as above.
KERNEL(conv_wgrad_adam_dot, WGRAD_THREADS, ConvWgradDotAdam args) {
  STATIC_SMEM(float, corrections, [2]);
  const AdamRule rule(args.state, corrections);
  wgrad_dot(args.wgrad, [&](size_t offset, float4 value) { rule.update(args.state, offset, value); });
}
