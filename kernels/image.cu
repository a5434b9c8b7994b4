// From 8-bit pictures to the floats that the network sees, with crop and flip on the way (see src/data/augment.rs).
#include "index.cuh"

constexpr int THREADS = 256;

// 0..255 to [-1, 1], rounded as the CPU rounds: the same bits.
__device__ __forceinline__ float convert(uint8_t byte) { return __fsub_rn(__fdiv_rn(float(byte), 127.5f), 1.0f); }

// Cuts the same window out of both pictures of a pair. The sources are [count, source_height, source_width, 3] bytes;
// the windows are [count, 3]: left and top of the window, and whether it is mirrored.
// The input and the target are [count, height, width, 3].
// One thread per element of `input`, which does that of `target` too; grid: ceil(count * height * width * 3 / 256).
extern "C" __global__ void __launch_bounds__(THREADS) image_prepare(
    const uint8_t* __restrict__ input_source,
    const uint8_t* __restrict__ target_source,
    const int* __restrict__ windows,
    float* __restrict__ input,
    float* __restrict__ target,
    int count,
    int source_height,
    int source_width,
    int height,
    int width,
    int input_stride,
    int target_stride) {
  const unsigned element = thread_index();
  const unsigned pixel = element / 3, channel = element % 3;
  const int column = pixel % width, row = pixel / width % height;
  const int image = pixel / width / height;
  if (image >= count) return;
  const int left = windows[3 * image], top = windows[3 * image + 1], flip = windows[3 * image + 2];
  const int source_column = left + (flip ? width - 1 - column : column);
  const size_t from = pixel_at(image, top + row, source_column, source_height, source_width, 3) + channel;
  input[at(pixel, input_stride, channel)] = convert(input_source[from]);
  target[at(pixel, target_stride, channel)] = convert(target_source[from]);
}
KERNEL(image_prepare);
