// Conversion of 16-bit samples to normalised floats, cropped and mirrored where requested (see src/engine/samples.rs).
#include "index.cuh"

constexpr int THREADS = 256;

// A sample, 0..65535, as a float in [-1, 1]. The intrinsics keep the rounding that of the CPU, to the bit.
__device__ __forceinline__ float convert(uint16_t sample) {
  return __fsub_rn(__fdiv_rn(float(sample), 32767.5f), 1.0f);
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
// The outputs have `height` and `width`, and the channels of their side.
struct SamplesCrop {
  const Crop* crops;
  const uint16_t* inputs;
  const uint16_t* targets;
  CropOutput outputs[OUTPUTS];
  int count, height, width;  // outputs, pixels
};

// Elements of a row that a thread converts before it writes them to each output.
constexpr int RUN = 3;

// out = convert(crops of inputs or of targets), for each output. A block has a row of one side, which it converts once
// for all outputs that show it. Grid: [images * height, 2], the inputs first.
KERNEL(samples_crop, THREADS, SamplesCrop args) {
  const int image = blockIdx.x / args.height, row = blockIdx.x % args.height, side = blockIdx.y;
  // The outputs that show this row, a bit for each.
  unsigned shown_by = 0, channels = 0;
  for (int o = 0; o < args.count; o++) {
    const CropOutput& output = args.outputs[o];
    const int image_of_output = image - output.first_image;
    if (output.is_target != side || image_of_output < 0 || image_of_output >= output.shape.images) continue;
    shown_by |= 1u << o;
    channels = output.shape.channels;
  }
  if (shown_by == 0) return;
  const Crop crop = args.crops[image];
  const uint16_t* const samples =
      (side ? args.targets : args.inputs) + (crop.pixel + size_t(row) * size_t(crop.width)) * size_t(channels);
  const unsigned width = args.width, elements = width * channels;
  for (unsigned start = threadIdx.x; start < elements; start += RUN * THREADS) {
    float values[RUN];
#pragma unroll
    for (int i = 0; i < RUN; i++) {
      const unsigned element = start + i * THREADS, column = element / channels, channel = element % channels;
      const unsigned from = crop.mirrored ? width - 1 - column : column;
      values[i] = element < elements ? convert(samples[at(from, channels, channel)]) : 0.0f;
    }
    for (int o = 0; o < args.count; o++) {
      if ((shown_by >> o & 1) == 0) continue;
      const CropOutput& output = args.outputs[o];
      float* const out = output.out + pixel_at(image - output.first_image, row, 0, output.shape);
#pragma unroll
      for (int i = 0; i < RUN; i++) {
        const unsigned element = start + i * THREADS;
        if (element < elements) out[at(element / channels, output.shape.stride, element % channels)] = values[i];
      }
    }
  }
}
