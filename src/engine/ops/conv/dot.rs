//! Convolutions on CUDA with few output channels, as those of the heads of discriminators are (`kernels/conv_dot.cu`).

use super::{Dgrad, Epilogue, Fprop, Geometry, Wgrad, WgradAdam};
use crate::engine::kernel::cuda::kernels::conv_dot::{CHANNELS, MOST_TAPS, WGRAD_SHARED};
use crate::engine::kernel::cuda::kernels::{
    CONV_DGRAD_DOT, CONV_FPROP_DOT, CONV_WGRAD_ADAM_DOT, CONV_WGRAD_DOT, ConvDgradDot,
};
use crate::engine::kernel::cuda::{GpuFacts, Implementation, Scratch, Shares, begins_with_quad, in_quads, to_int};
use crate::engine::tensor::Tensor;

/// Output channels up to which a convolution is a dot product over the input channels.
const MOST_DOTS: usize = 4;

/// Threads of a warp.
const LANES: usize = 32;

/// The forward pass.
pub const FPROP: Implementation<Fprop> = Implementation {
    name: "dot",
    runs: |fprop, _| {
        let is_aligned = in_quads(fprop.x) && begins_with_quad(fprop.weight);
        fprop.y.tensor.channels() <= MOST_DOTS && is_aligned && fprop.epilogue == Epilogue::None
    },
    pays: |fprop, _| fprop.x.channels() >= 32,
    scratch: |_, _| Scratch::bytes(0),
    launches: |fprop, context| {
        let blocks = fprop.y.tensor.count().div_ceil(CONV_FPROP_DOT.threads() / LANES);
        vec![CONV_FPROP_DOT.launch(blocks, fprop.argument(context))]
    },
};

/// The input gradient.
pub const DGRAD: Implementation<Dgrad> = Implementation {
    name: "dot",
    runs: |dgrad, _| {
        let is_aligned = in_quads(dgrad.dx.tensor) && in_quads(dgrad.weight);
        let is_plain = dgrad.epilogue == Epilogue::None && dgrad.bias.is_none_or(begins_with_quad);
        dgrad.dy.channels() == 1 && has_taps(dgrad.geometry) && is_aligned && is_plain
    },
    pays: |dgrad, _| dgrad.dx.tensor.channels() >= 32,
    scratch: |_, _| Scratch::bytes(0),
    launches: |dgrad, context| {
        let dx = dgrad.dx.tensor;
        let channels = dx.channels().div_ceil(CHANNELS);
        let warps = CONV_DGRAD_DOT.threads() / LANES;
        // A round of blocks on all multiprocessors.
        let pixels = (dx.pixels() * channels).div_ceil(warps * context.gpu.multiprocessors.max(1));
        let argument = ConvDgradDot { dgrad: dgrad.argument(context), pixels: to_int(pixels) };
        vec![CONV_DGRAD_DOT.launch([channels, dx.pixels().div_ceil(warps * pixels), 1], argument)]
    },
};

/// The weight gradient.
pub const WGRAD: Implementation<Wgrad> = Implementation {
    name: "dot",
    runs: |wgrad, gpu| are_dots(wgrad.x, wgrad.dy, wgrad.geometry, gpu) && begins_with_quad(wgrad.dw.tensor),
    pays: |wgrad, _| wgrad.x.channels() >= 32,
    scratch: |wgrad, gpu| shares(wgrad.x, wgrad.dy, gpu).scratch(),
    launches: |wgrad, context| {
        let (shares, grid) = shares_and_grid(wgrad.x, wgrad.dy, context.gpu);
        vec![CONV_WGRAD_DOT.launch(grid, wgrad.shared_argument(context, &shares)).shared(WGRAD_SHARED)]
    },
};

/// The weight gradient with the update by it.
pub const WGRAD_ADAM: Implementation<WgradAdam> = Implementation {
    name: "dot",
    runs: |step, gpu| {
        are_dots(step.x, step.dy, step.geometry, gpu)
            && [step.weight, step.first, step.second].into_iter().all(begins_with_quad)
    },
    pays: |step, _| step.x.channels() >= 32,
    scratch: |step, gpu| shares(step.x, step.dy, gpu).scratch(),
    launches: |step, context| {
        let (shares, grid) = shares_and_grid(step.x, step.dy, context.gpu);
        vec![CONV_WGRAD_ADAM_DOT.launch(grid, step.shared_argument(context, &shares)).shared(WGRAD_SHARED)]
    },
};

/// True if the gradients' kernels have the taps of `geometry`.
fn has_taps(geometry: Geometry) -> bool {
    geometry.stride == 1 && geometry.kernel.into_iter().all(|side| side <= MOST_TAPS)
}

fn are_dots(x: Tensor, dy: Tensor, geometry: Geometry, gpu: &GpuFacts) -> bool {
    dy.channels() <= MOST_DOTS && has_taps(geometry) && in_quads(x) && gpu.shared_memory >= WGRAD_SHARED
}

/// The blocks that share the pixels of 128 input channels and an output channel: one for each multiprocessor in all,
/// but none with fewer than a pixel for each of its warps.
fn shares(x: Tensor, dy: Tensor, gpu: &GpuFacts) -> Shares {
    let tiles = x.channels().div_ceil(CHANNELS) * dy.channels();
    let shares = (gpu.multiprocessors / tiles).min(x.pixels() / (CONV_WGRAD_DOT.threads() / LANES)).max(1);
    Shares { tiles, shares, elements: MOST_TAPS * MOST_TAPS * CHANNELS }
}

/// The blocks of a weight gradient, and their grid.
fn shares_and_grid(x: Tensor, dy: Tensor, gpu: &GpuFacts) -> (Shares, [usize; 3]) {
    let shares = shares(x, dy, gpu);
    (shares, [shares.shares * x.channels().div_ceil(CHANNELS), dy.channels(), 1])
}
