//! Convolutions on CUDA with one input channel and 4x4 taps, of any stride and dilation (`kernels/conv_map.cu`): the
//! transposed convolution to a map of one channel, and its gradients.

use super::{Dgrad, Epilogue, Fprop, Geometry, Wgrad, WgradAdam};
use crate::engine::kernel::cuda::kernels::conv_map::{CHANNELS, SIDE};
use crate::engine::kernel::cuda::kernels::{
    CONV_DGRAD_MAP, CONV_FPROP_MAP, CONV_WGRAD_ADAM_MAP, CONV_WGRAD_MAP, ConvDgradMap, ConvFpropMap,
};
use crate::engine::kernel::cuda::{GpuFacts, Implementation, Scratch, Shares, begins_with_quad, in_quads, to_int};
use crate::engine::tensor::Tensor;

const TAPS: usize = SIDE * SIDE;

/// Pixels that a block works on at once, one for each of its warps.
const WARPS: usize = CONV_DGRAD_MAP.threads() / 32;

/// The transposed convolution to a map.
pub const DGRAD: Implementation<Dgrad> = Implementation {
    name: "map",
    runs: |dgrad, gpu| {
        let is_map = dgrad.weight.channels() == 1 && dgrad.weight.stride == 1 && has_taps(dgrad.geometry);
        is_map && in_quads(dgrad.dy) && begins_with_quad(dgrad.weight) && dgrad_shared(dgrad) <= gpu.shared_memory
    },
    pays: |dgrad, _| dgrad.dy.channels() >= 32,
    scratch: |_, _| Scratch::bytes(0),
    launches: |dgrad, context| {
        let count = dgrad.dx.tensor.pixels();
        let pixels = pixels_of_block(count, context.gpu.multiprocessors);
        let argument = ConvDgradMap { dgrad: dgrad.argument(context), pixels: to_int(pixels) };
        vec![CONV_DGRAD_MAP.launch(count.div_ceil(pixels), argument).shared(dgrad_shared(dgrad))]
    },
};

/// The input gradient of the transposed convolution.
pub const FPROP: Implementation<Fprop> = Implementation {
    name: "map",
    runs: |fprop, _| {
        let is_aligned = in_quads(fprop.y.tensor) && fprop.bias.into_iter().chain([fprop.weight]).all(begins_with_quad);
        let is_plain = fprop.epilogue == Epilogue::None && !fprop.y.accumulates();
        fprop.x.channels() == 1 && has_taps(fprop.geometry) && is_aligned && is_plain
    },
    pays: |fprop, _| fprop.y.tensor.channels() >= 32,
    scratch: |_, _| Scratch::bytes(0),
    launches: |fprop, context| {
        let y = fprop.y.tensor;
        let groups = y.channels().div_ceil(CHANNELS);
        let pixels = pixels_of_block(y.pixels(), context.gpu.multiprocessors / groups);
        let argument = ConvFpropMap { fprop: fprop.argument(context), pixels: to_int(pixels) };
        vec![CONV_FPROP_MAP.launch([groups, y.pixels().div_ceil(pixels), 1], argument)]
    },
};

/// The weight gradient.
pub const WGRAD: Implementation<Wgrad> = Implementation {
    name: "map",
    runs: |wgrad, _| runs(wgrad.x, wgrad.dy, wgrad.geometry) && begins_with_quad(wgrad.dw.tensor),
    pays: |wgrad, _| wgrad.dy.channels() >= 32,
    scratch: |wgrad, gpu| shares(wgrad.dy, gpu).scratch(),
    launches: |wgrad, context| {
        let shares = shares(wgrad.dy, context.gpu);
        let grid = [shares.shares, shares.tiles, 1];
        vec![CONV_WGRAD_MAP.launch(grid, wgrad.shared_argument(context, &shares))]
    },
};

/// The weight gradient with the update by it.
pub const WGRAD_ADAM: Implementation<WgradAdam> = Implementation {
    name: "map",
    runs: |step, _| {
        runs(step.x, step.dy, step.geometry) && [step.weight, step.first, step.second].into_iter().all(begins_with_quad)
    },
    pays: |step, _| step.dy.channels() >= 32,
    scratch: |step, gpu| shares(step.dy, gpu).scratch(),
    launches: |step, context| {
        let shares = shares(step.dy, context.gpu);
        let grid = [shares.shares, shares.tiles, 1];
        vec![CONV_WGRAD_ADAM_MAP.launch(grid, step.shared_argument(context, &shares))]
    },
};

/// True if the kernels have the taps of `geometry`.
fn has_taps(geometry: Geometry) -> bool {
    geometry.kernel == [SIDE; 2]
}

fn runs(x: Tensor, dy: Tensor, geometry: Geometry) -> bool {
    x.channels() == 1 && has_taps(geometry) && in_quads(dy)
}

/// Bytes of shared memory for all weights (`pitch_for` in the kernels' file).
fn dgrad_shared(dgrad: &Dgrad) -> usize {
    let pitch = dgrad.dy.channels().next_multiple_of(32) + 2;
    TAPS * pitch * size_of::<f32>()
}

/// Pixels of each of `blocks` blocks that share `count`: at least one for each warp.
fn pixels_of_block(count: usize, blocks: usize) -> usize {
    count.div_ceil(blocks.max(1)).max(WARPS)
}

/// The blocks that share the pixels of 64 output channels: one for each multiprocessor in all, but none with fewer than
/// a pixel for each of its warps.
fn shares(dy: Tensor, gpu: &GpuFacts) -> Shares {
    let tiles = dy.channels().div_ceil(CHANNELS);
    let shares = (gpu.multiprocessors / tiles.max(1)).min(dy.pixels() / WARPS).max(1);
    Shares { tiles, shares, elements: CHANNELS * TAPS }
}
