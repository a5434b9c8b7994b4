// From 16-bit pictures to the floats that the network sees, mirrored on the way (see src/engine/samples.rs).
#include "index.cuh"

constexpr int THREADS = 256;

// 0..65535 to [-1, 1], rounded as the CPU rounds: the same bits.
__device__ __forceinline__ float convert(uint16_t sample) {
  return __fsub_rn(__fdiv_rn(float(sample), 32767.5f), 1.0f);
}

// `source` and `out` are [count, height, width, channels]; `flips` says of each picture whether it is mirrored left to
// right. One thread per element; grid: ceil(count * height * width * channels / 256).
extern "C" __global__ void __launch_bounds__(THREADS) image_prepare(
    const uint16_t* __restrict__ source,
    const int* __restrict__ flips,
    float* __restrict__ out,
    int count,
    int height,
    int width,
    int channels,
    int stride) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  const int column = pixel % width, row = pixel / width % height;
  const int image = pixel / width / height;
  if (image >= count) return;
  const int from = flips[image] ? width - 1 - column : column;
  out[at(pixel, stride, channel)] = convert(source[pixel_at(image, row, from, height, width, channels) + channel]);
}
KERNEL(image_prepare);
