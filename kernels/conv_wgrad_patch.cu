// The kernels of conv_wgrad_patch.cuh: weight gradients, and Adam updates by them.
#include "conv_wgrad_patch.cuh"

using namespace wgrad_patch;

KERNEL(conv_wgrad_patch_4x4s2_64, THREADS, ConvWgradGrad args) { write<2, 64>(args); }
KERNEL(conv_wgrad_patch_4x4s2_32, THREADS, ConvWgradGrad args) { write<2, 32>(args); }
KERNEL(conv_wgrad_patch_4x4s1_64, THREADS, ConvWgradGrad args) { write<1, 64>(args); }
KERNEL(conv_wgrad_patch_4x4s1_32, THREADS, ConvWgradGrad args) { write<1, 32>(args); }
KERNEL(conv_wgrad_adam_patch_4x4s2_64, THREADS, ConvWgradAdam args) { update<2, 64>(args, blockIdx.x); }
KERNEL(conv_wgrad_adam_patch_4x4s2_32, THREADS, ConvWgradAdam args) { update<2, 32>(args, blockIdx.x); }
KERNEL(conv_wgrad_adam_patch_4x4s1_64, THREADS, ConvWgradAdam args) { update<1, 64>(args, blockIdx.x); }
KERNEL(conv_wgrad_adam_patch_4x4s1_32, THREADS, ConvWgradAdam args) { update<1, 32>(args, blockIdx.x); }
