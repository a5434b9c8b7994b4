//! Weight gradients on CUDA with a patch of the input in shared memory (`kernels/conv_wgrad_patch.cuh`), alone and with
//! the Adam update behind them.

use super::{Geometry, Wgrad, WgradAdam};
use crate::engine::kernel::cuda::kernels::conv_wgrad_patch::{
    INPUTS, S1_32_SHARED, S1_64_SHARED, S2_32_SHARED, S2_64_SHARED, SIDE,
};
use crate::engine::kernel::cuda::kernels::{
    CONV_WGRAD_ADAM_PATCH_4X4S1_32, CONV_WGRAD_ADAM_PATCH_4X4S1_64, CONV_WGRAD_ADAM_PATCH_4X4S2_32,
    CONV_WGRAD_ADAM_PATCH_4X4S2_64, CONV_WGRAD_PATCH_4X4S1_32, CONV_WGRAD_PATCH_4X4S1_64, CONV_WGRAD_PATCH_4X4S2_32,
    CONV_WGRAD_PATCH_4X4S2_64, ConvWgradAdam,
};
use crate::engine::kernel::cuda::{GpuFacts, Implementation, Kernel, Scratch, Shares, begins_with_quad, in_quads};
use crate::engine::tensor::Tensor;

/// The most blocks that share a tile: neighbours in the grid.
const MOST_SHARES: usize = 16;

/// Weights of a tile for each output channel: 4x4 taps and the input channels of a block.
const WEIGHTS: usize = 16 * INPUTS;

/// The weight gradient.
pub const WGRAD: Implementation<Wgrad> = Implementation {
    name: "patch",
    runs: |wgrad, gpu| runs(wgrad.x, wgrad.dy, wgrad.dw.tensor, wgrad.geometry, gpu),
    pays: |wgrad, _| pays(wgrad.x, wgrad.dy),
    scratch: |wgrad, gpu| Tiles::new(wgrad.x, wgrad.dy, gpu).scratch(),
    launches: |wgrad, context| {
        let Wgrad { x, dy, geometry, .. } = *wgrad;
        let tiles = Tiles::new(x, dy, context.gpu);
        let kernel = match (geometry.stride, tiles.outputs) {
            (2, 64) => &CONV_WGRAD_PATCH_4X4S2_64,
            (2, _) => &CONV_WGRAD_PATCH_4X4S2_32,
            (_, 64) => &CONV_WGRAD_PATCH_4X4S1_64,
            _ => &CONV_WGRAD_PATCH_4X4S1_32,
        };
        vec![
            kernel
                .launch(tiles.blocks(), wgrad.shared_argument(context, &tiles.shared_tiles()))
                .shared(tiles.shared(geometry)),
        ]
    },
};

/// The weight gradient with the update by it.
pub const WGRAD_ADAM: Implementation<WgradAdam> = Implementation {
    name: "patch",
    runs: |step, gpu| {
        runs(step.x, step.dy, step.weight, step.geometry, gpu)
            && begins_with_quad(step.first)
            && begins_with_quad(step.second)
    },
    pays: |step, _| pays(step.x, step.dy),
    scratch: |step, gpu| Tiles::new(step.x, step.dy, gpu).scratch(),
    launches: |step, context| {
        let WgradAdam { x, dy, geometry, .. } = *step;
        let tiles = Tiles::new(x, dy, context.gpu);
        let kernel: &Kernel<ConvWgradAdam> = match (geometry.stride, tiles.outputs) {
            (2, 64) => &CONV_WGRAD_ADAM_PATCH_4X4S2_64,
            (2, _) => &CONV_WGRAD_ADAM_PATCH_4X4S2_32,
            (_, 64) => &CONV_WGRAD_ADAM_PATCH_4X4S1_64,
            _ => &CONV_WGRAD_ADAM_PATCH_4X4S1_32,
        };
        vec![
            kernel
                .launch(tiles.blocks(), step.shared_argument(context, &tiles.shared_tiles()))
                .shared(tiles.shared(geometry)),
        ]
    },
};

/// True if the kernels can compute the gradient of `weight` on `gpu`: their copies are of 16 bytes.
fn runs(x: Tensor, dy: Tensor, weight: Tensor, geometry: Geometry, gpu: &GpuFacts) -> bool {
    let Geometry { kernel: [4, 4], stride: 1 | 2, dilation: 1, .. } = geometry else { return false };
    gpu.shared_memory >= S2_64_SHARED && in_quads(x) && in_quads(dy) && begins_with_quad(weight)
}

/// True if the channels fill most of a tile.
fn pays(x: Tensor, dy: Tensor) -> bool {
    x.channels() >= INPUTS && dy.channels() >= 32
}

/// The tiles of a weight gradient: 4x4 taps, 16 input channels and 64 or 32 output channels.
struct Tiles {
    outputs: usize,
    count: usize,
    /// Blocks that share a tile, each with a part of the pixels.
    shares: usize,
}

impl Tiles {
    /// Wide tiles where they are enough for every multiprocessor; else narrow ones, which several blocks share until
    /// there are enough.
    fn new(x: Tensor, dy: Tensor, gpu: &GpuFacts) -> Tiles {
        let multiprocessors = gpu.multiprocessors.max(1);
        let tiles = |outputs: usize| x.channels().div_ceil(INPUTS) * dy.channels().div_ceil(outputs);
        let [images, height, width, _] = dy.shape;
        let pixel_tiles = images * height.div_ceil(SIDE) * width.div_ceil(SIDE);
        let outputs = if tiles(64) < multiprocessors { 32 } else { 64 };
        let count = tiles(outputs);
        let shares = std::iter::successors(Some(1), |shares| Some(2 * shares));
        let shares = shares.take_while(|&shares| {
            shares == 1 || (shares <= MOST_SHARES.min(pixel_tiles) && count * shares <= 2 * multiprocessors)
        });
        Tiles { outputs, count, shares: shares.last().unwrap_or(1) }
    }

    fn blocks(&self) -> usize {
        self.count * self.shares
    }

    fn shared(&self, geometry: Geometry) -> usize {
        match (geometry.stride, self.outputs) {
            (2, 64) => S2_64_SHARED,
            (2, _) => S2_32_SHARED,
            (_, 64) => S1_64_SHARED,
            _ => S1_32_SHARED,
        }
    }

    fn scratch(&self) -> Scratch {
        self.shared_tiles().scratch()
    }

    fn shared_tiles(&self) -> Shares {
        Shares { tiles: self.count, shares: self.shares, elements: WEIGHTS * self.outputs }
    }
}
