//! Convolutions on CUDA with a patch of the input in shared memory (`kernels/conv_patch.cuh`): where they can run, how
//! many blocks share a tile, and their launches.

use super::cuda::bias_pointer;
use super::{Dgrad, Epilogue, Fprop, Geometry};
use crate::engine::access::Destination;
use crate::engine::kernel::cuda::kernels::conv_patch::{
    CHANNELS, DEPTH_2X2, DEPTH_3X3, DEPTH_4X4, DGRAD_3X3S1_SHARED, DGRAD_4X4S1_SHARED, DGRAD_4X4S2_SHARED,
    DGRAD_4X4S2_SMALL_SHARED, FPROP_4X4S1_SHARED, FPROP_4X4S2_SHARED, FPROP_4X4S2_SMALL_SHARED, SIDE, SMALL_SIDE,
};
use crate::engine::kernel::cuda::kernels::{
    CONV_DGRAD_PATCH_3X3S1, CONV_DGRAD_PATCH_4X4S1, CONV_DGRAD_PATCH_4X4S2, CONV_DGRAD_PATCH_4X4S2_SMALL,
    CONV_FPROP_PATCH_4X4S1, CONV_FPROP_PATCH_4X4S2, CONV_FPROP_PATCH_4X4S2_SMALL, ConvPatch,
};
use crate::engine::kernel::cuda::{
    Context, GpuFacts, Implementation, Kernel, Launch, Scratch, Shares, begins_with_quad, in_quads, to_int,
};
use crate::engine::tensor::Tensor;

/// The most blocks that share a tile: neighbours in the grid.
const MOST_SHARES: usize = 16;

/// The forward pass.
pub const FPROP: Implementation<Fprop> = Implementation {
    name: "patch",
    runs: |fprop, gpu| {
        let is_aligned = fprop.epilogue.tensors().all(in_quads);
        is_aligned && Tiles::fprop(fprop).is_some_and(|tiles| tiles.run([fprop.x, fprop.y.tensor], fprop.weight, gpu))
    },
    pays: |fprop, _| fprop.x.channels() >= 32 && fprop.y.tensor.channels() >= 32,
    scratch: |fprop, gpu| Tiles::fprop(fprop).map_or(Scratch::default(), |tiles| tiles.scratch(gpu)),
    launches: |fprop, context| {
        let Fprop { x, weight, bias, y, geometry, epilogue } = *fprop;
        launches(Tiles::fprop(fprop), context, [x, weight], bias, y, geometry, epilogue)
    },
};

/// The input gradient.
pub const DGRAD: Implementation<Dgrad> = Implementation {
    name: "patch",
    runs: |dgrad, gpu| {
        let is_aligned = dgrad.epilogue.tensors().all(in_quads) && dgrad.weight.stride == dgrad.weight.channels();
        is_aligned && Tiles::dgrad(dgrad).is_some_and(|tiles| tiles.run([dgrad.dy, dgrad.dx.tensor], dgrad.weight, gpu))
    },
    pays: |dgrad, _| dgrad.dy.channels() >= 8 && dgrad.dx.tensor.channels() >= 32,
    scratch: |dgrad, gpu| Tiles::dgrad(dgrad).map_or(Scratch::default(), |tiles| tiles.scratch(gpu)),
    launches: |dgrad, context| {
        let Dgrad { dy, weight, bias, dx, geometry, epilogue } = *dgrad;
        launches(Tiles::dgrad(dgrad), context, [dy, weight], bias, dx, geometry, epilogue)
    },
};

/// A kernel with the pixels of its tile along a side, and the bytes of shared memory of a block.
type Patch = (&'static Kernel<ConvPatch>, usize, usize);

/// The tiles of a convolution: 8x8 pixels by 64 channels of the output, or 4x4 where it has no more; for a dgrad of
/// stride 2 of the output pixels of one parity.
struct Tiles {
    kernel: &'static Kernel<ConvPatch>,
    /// Pixels along a side.
    side: usize,
    /// Bytes of shared memory of a block.
    shared: usize,
    images: usize,
    /// Tiles of channels, of the pixels of all images, and parities.
    grid: [usize; 3],
    /// Parts in which the input channels are brought to shared memory.
    chunks: usize,
}

impl Tiles {
    /// The tiles of a forward pass; `None` if there is no kernel for its geometry.
    fn fprop(fprop: &Fprop) -> Option<Tiles> {
        let Geometry { kernel: [4, 4], stride, dilation: 1, .. } = fprop.geometry else { return None };
        let (x, y) = (fprop.x, fprop.y.tensor);
        let patch: Patch = match stride {
            1 => (&CONV_FPROP_PATCH_4X4S1, SIDE, FPROP_4X4S1_SHARED),
            2 if is_small(y, 1) => (&CONV_FPROP_PATCH_4X4S2_SMALL, SMALL_SIDE, FPROP_4X4S2_SMALL_SHARED),
            2 => (&CONV_FPROP_PATCH_4X4S2, SIDE, FPROP_4X4S2_SHARED),
            _ => return None,
        };
        Some(Tiles::new(patch, x, y, 1, DEPTH_4X4))
    }

    /// As [`Tiles::fprop`], of an input gradient.
    fn dgrad(dgrad: &Dgrad) -> Option<Tiles> {
        let (dy, dx) = (dgrad.dy, dgrad.dx.tensor);
        match dgrad.geometry {
            Geometry::HALVING => {
                let patch: Patch = match is_small(dx, 2) {
                    true => (&CONV_DGRAD_PATCH_4X4S2_SMALL, SMALL_SIDE, DGRAD_4X4S2_SMALL_SHARED),
                    false => (&CONV_DGRAD_PATCH_4X4S2, SIDE, DGRAD_4X4S2_SHARED),
                };
                Some(Tiles::new(patch, dy, dx, 2, DEPTH_2X2))
            }
            Geometry { kernel: [4, 4], stride: 1, dilation: 1, .. } => {
                Some(Tiles::new((&CONV_DGRAD_PATCH_4X4S1, SIDE, DGRAD_4X4S1_SHARED), dy, dx, 1, DEPTH_4X4))
            }
            Geometry { kernel: [3, 3], stride: 1, dilation: 1, .. } => {
                Some(Tiles::new((&CONV_DGRAD_PATCH_3X3S1, SIDE, DGRAD_3X3S1_SHARED), dy, dx, 1, DEPTH_3X3))
            }
            _ => None,
        }
    }

    /// The tiles of `output`, of whose pixels along a side every `step`-th has one parity. A chunk of the input has
    /// `depth` quads of channels.
    fn new((kernel, side, shared): Patch, input: Tensor, output: Tensor, step: usize, depth: usize) -> Tiles {
        let [images, height, width, channels] = output.shape;
        let along = |length: usize| length.div_ceil(step).div_ceil(side);
        let grid = [channels.div_ceil(CHANNELS), images * along(height) * along(width), step * step];
        Tiles { kernel, side, shared, images: images.max(1), grid, chunks: input.channels().div_ceil(4 * depth) }
    }

    /// True if the kernel can use these activations and this weight on `gpu`: its copies are of 16 bytes.
    fn run(&self, activations: [Tensor; 2], weight: Tensor, gpu: &GpuFacts) -> bool {
        gpu.shared_memory >= self.shared && activations.into_iter().all(in_quads) && begins_with_quad(weight)
    }

    fn count(&self) -> usize {
        self.grid.iter().product()
    }

    /// The number of blocks that share a tile: that for which the busiest multiprocessor has the fewest chunks of one
    /// image, so that an image's result does not depend on its batch. Adding up the sums of one more block takes as
    /// long as an eighth of a chunk.
    fn shares(&self, gpu: &GpuFacts) -> usize {
        let eighths = |shares: usize| {
            let blocks_of_one = (self.count() / self.images * shares).div_ceil(gpu.multiprocessors.max(1));
            blocks_of_one * (8 * self.chunks.div_ceil(shares) + shares)
        };
        let shares = std::iter::successors(Some(1), |shares| Some(2 * shares));
        let shares = shares.take_while(|&shares| shares <= MOST_SHARES.min(self.chunks.max(1)));
        shares.min_by_key(|&shares| eighths(shares)).unwrap_or(1)
    }

    fn scratch(&self, gpu: &GpuFacts) -> Scratch {
        self.shared_tiles(gpu).scratch()
    }

    fn shared_tiles(&self, gpu: &GpuFacts) -> Shares {
        Shares { tiles: self.count(), shares: self.shares(gpu), elements: self.side * self.side * CHANNELS }
    }
}

/// True if a small tile has all pixels of an image of `output`, or all of one parity where every `step`-th has one.
fn is_small(output: Tensor, step: usize) -> bool {
    let [_, height, width, _] = output.shape;
    height.max(width).div_ceil(step) <= SMALL_SIDE
}

fn launches(
    tiles: Option<Tiles>,
    context: &Context<'_>,
    [input, weight]: [Tensor; 2],
    bias: Option<Tensor>,
    output: Destination,
    geometry: Geometry,
    epilogue: Epilogue,
) -> Vec<Launch> {
    let tiles = tiles.expect("the implementation runs only where there are tiles");
    let shares = tiles.shares(context.gpu);
    let (sums, tickets) = context.shared(&tiles.shared_tiles(context.gpu));
    let argument = ConvPatch {
        input: context.read(input),
        weight: context.read(weight),
        bias: bias_pointer(bias, context),
        output: context.write(output.access()),
        sums,
        tickets,
        input_shape: input.into(),
        output_shape: output.tensor.into(),
        geometry: geometry.into(),
        epilogue: epilogue.argument(context),
        shares: to_int(shares),
        accumulate: i32::from(output.accumulates()),
    };
    let [channels, pixels, parities] = tiles.grid;
    vec![tiles.kernel.launch([shares * channels, pixels, parities], argument).shared(tiles.shared)]
}
