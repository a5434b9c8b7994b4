// Conversion of 16-bit samples to normalised floats, cropped and mirrored where requested (see src/engine/samples.rs).
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

// The part of a pair that one image of a step shows, with the fields of `DeviceCrop` in src/engine/kernel/cuda/crop.rs.
struct Crop {
  unsigned long long pixel;  // index of the part's first pixel among those of all pairs
  int width;                 // of the whole pictures, in pixels
  int mirrored;              // 1 if the columns of the part are reversed
};

static_assert(sizeof(Crop) == 16, "the host uploads a word of 8 bytes and two of 4");

// The most outputs of a launch.
constexpr int OUTPUTS = 32;

// A tensor that shows crops: of inputs, or of targets if `is_target`. Its images show the crops from `first_image` on.
struct CropOutput {
  float* out;
  Shape shape;
  int first_image, is_target;
};

// `inputs` and `targets` are the pictures of all pairs, one after the other, [height, width, channels] without gaps.
// The outputs have equal heights and widths.
struct SamplesCrop {
  const Crop* crops;
  const uint16_t* inputs;
  const uint16_t* targets;
  CropOutput outputs[OUTPUTS];
};

// out = convert(crops of inputs or of targets), for each output. One block per row; grid: [n * height, outputs], with
// n the most images of an output.
KERNEL(samples_crop, THREADS, SamplesCrop args) {
  const CropOutput output = args.outputs[blockIdx.y];
  const uint16_t* const samples = output.is_target ? args.targets : args.inputs;
  float* const out = output.out;
  const Shape shape = output.shape;
  const int image = blockIdx.x / shape.height, row = blockIdx.x % shape.height;
  if (image >= shape.images) return;
  const Crop crop = args.crops[output.first_image + image];
  const size_t start = (crop.pixel + size_t(row) * size_t(crop.width)) * size_t(shape.channels);
  const size_t out_start = pixel_at(image, row, 0, shape);
  for (unsigned element = threadIdx.x; element < unsigned(shape.width * shape.channels); element += THREADS) {
    const unsigned column = element / shape.channels, channel = element % shape.channels;
    const unsigned from = crop.mirrored ? shape.width - 1 - column : column;
    out[out_start + at(column, shape.stride, channel)] = convert(samples[start + at(from, shape.channels, channel)]);
  }
}
