// From 16-bit pictures to the floats that the network sees, with crop and flip on the way (see src/data/augment.rs).
#include "index.cuh"

constexpr int THREADS = 256;

// 0..65535 to [-1, 1], rounded as the CPU rounds: the same bits.
__device__ __forceinline__ float convert(uint16_t sample) {
  return __fsub_rn(__fdiv_rn(float(sample), 32767.5f), 1.0f);
}

// Cuts a window out of each picture. The sources are [count, source_height, source_width, channels]; the windows are
// [count, 3]: left and top of the window, and whether it is mirrored. `out` is [count, height, width, channels].
// One thread per element of `out`; grid: ceil(count * height * width * channels / 256).
extern "C" __global__ void __launch_bounds__(THREADS) image_prepare(
    const uint16_t* __restrict__ source,
    const int* __restrict__ windows,
    float* __restrict__ out,
    int count,
    int source_height,
    int source_width,
    int height,
    int width,
    int channels,
    int stride) {
  const unsigned element = thread_index();
  const unsigned pixel = element / channels, channel = element % channels;
  const int column = pixel % width, row = pixel / width % height;
  const int image = pixel / width / height;
  if (image >= count) return;
  const int left = windows[3 * image], top = windows[3 * image + 1], flip = windows[3 * image + 2];
  const int source_column = left + (flip ? width - 1 - column : column);
  const size_t from = pixel_at(image, top + row, source_column, source_height, source_width, channels) + channel;
  out[at(pixel, stride, channel)] = convert(source[from]);
}
KERNEL(image_prepare);
