// Two independent convolutions in one launch: the input gradient of a layer, and the weight gradient of the layer above
// with the Adam update by it. A layer's own two gradients cannot share a launch, since the update would change the
// weight that the other reads.
#include "conv_patch.cuh"
#include "conv_wgrad_patch.cuh"

// `patch` is a convolution in a grid of columns x rows x any, of `blocks` blocks in all, and `wgrad` has the blocks
// behind these. Shared memory: that of the one which needs more.
struct ConvBeside {
  ConvPatch patch;
  ConvWgradAdam wgrad;
  int columns, rows, blocks;
};

// The place of a block of the convolution.
__device__ __forceinline__ Place place_beside(const ConvBeside& args) {
  const int block = blockIdx.x;
  return {block % args.columns, block / args.columns % args.rows, block / args.columns / args.rows, args.columns,
          args.rows};
}

// fprop, the input gradient of a transposed convolution, beside the weight gradient in tiles of OUTPUTS channels.
template <int S, int OUTPUTS>
__device__ __forceinline__ void fprop_beside(const ConvBeside& args) {
  const int block = int(blockIdx.x) - args.blocks;
  if (block < 0) {
    fprop_patch<S, 4, 2>(args.patch, place_beside(args));
  } else {
    wgrad_patch::update<2, OUTPUTS>(args.wgrad, block);
  }
}
INSTANCE(conv_fprop_beside_wgrad_32, THREADS, ConvBeside, fprop_beside<SIDE, 32>);
INSTANCE(conv_fprop_beside_wgrad_64, THREADS, ConvBeside, fprop_beside<SIDE, 64>);
INSTANCE(conv_fprop_small_beside_wgrad_64, THREADS, ConvBeside, fprop_beside<SMALL_SIDE, 64>);

// dgrad, the input gradient of a convolution, beside the same.
template <int S, int OUTPUTS>
__device__ __forceinline__ void dgrad_beside(const ConvBeside& args) {
  const int block = int(blockIdx.x) - args.blocks;
  if (block < 0) {
    dgrad_patch_4x4s2<S>(args.patch, place_beside(args));
  } else {
    wgrad_patch::update<2, OUTPUTS>(args.wgrad, block);
  }
}
INSTANCE(conv_dgrad_beside_wgrad_32, THREADS, ConvBeside, dgrad_beside<SIDE, 32>);
INSTANCE(conv_dgrad_beside_wgrad_64, THREADS, ConvBeside, dgrad_beside<SIDE, 64>);
INSTANCE(conv_dgrad_small_beside_wgrad_64, THREADS, ConvBeside, dgrad_beside<SMALL_SIDE, 64>);
