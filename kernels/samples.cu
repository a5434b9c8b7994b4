// Conversion of 16-bit samples to normalised floats, mirrored where requested (see src/engine/samples.rs).
#include "index.cuh"

constexpr int THREADS = 256;

// A sample, 0..65535, as a float in [-1, 1]. The intrinsics keep the rounding that of the CPU, to the bit.
__device__ __forceinline__ float convert(uint16_t sample) {
  return __fsub_rn(__fdiv_rn(float(sample), 32767.5f), 1.0f);
}

// `samples` are [n, height, width, channels] without gaps, out has the shape `out_shape`; `mirrored` is 1 for each
// image whose columns are reversed.
struct SamplesNormalize {
  const uint16_t* samples;
  const int* mirrored;
  float* out;
  Shape out_shape;
};

// out = convert(samples). One thread per element; grid: ceil(n * height * width * channels / 256).
KERNEL(samples_normalize, THREADS, SamplesNormalize args) {
  const Shape shape = args.out_shape;
  const unsigned element = thread_index();
  const unsigned pixel = element / shape.channels, channel = element % shape.channels;
  const int column = pixel % shape.width, row = pixel / shape.width % shape.height;
  const int image = pixel / shape.width / shape.height;
  if (image >= shape.images) return;
  const int from = args.mirrored[image] ? shape.width - 1 - column : column;
  const unsigned source = (image * shape.height + row) * shape.width + from;
  args.out[at(pixel, shape.stride, channel)] = convert(args.samples[at(source, shape.channels, channel)]);
}
