// The kernels of conv_patch.cuh: fprop and dgrad with a patch of the input in shared memory.
#include "conv_patch.cuh"

KERNEL(conv_fprop_patch_4x4s2, THREADS, ConvPatch args) { fprop_patch<SIDE, 4, 2>(args, own_place()); }
KERNEL(conv_fprop_patch_4x4s2_small, THREADS, ConvPatch args) { fprop_patch<SMALL_SIDE, 4, 2>(args, own_place()); }
KERNEL(conv_fprop_patch_4x4s1, THREADS, ConvPatch args) { fprop_patch<SIDE, 4, 1>(args, own_place()); }
KERNEL(conv_dgrad_patch_4x4s2, THREADS, ConvPatch args) { dgrad_patch_4x4s2<SIDE>(args, own_place()); }
KERNEL(conv_dgrad_patch_4x4s2_small, THREADS, ConvPatch args) { dgrad_patch_4x4s2<SMALL_SIDE>(args, own_place()); }
KERNEL(conv_dgrad_patch_4x4s1, THREADS, ConvPatch args) { dgrad_patch_4x4s1(args, own_place()); }
KERNEL(conv_dgrad_patch_3x3s1, THREADS, ConvPatch args) { dgrad_patch_3x3s1(args, own_place()); }
