//! Convolutions on CUDA of stride 1 with few output channels (`kernels/conv_narrow.cu`): the folded last layer.

use super::{Epilogue, Fprop, Geometry, Wgrad};
use crate::engine::kernel::cuda::kernels::conv_narrow::{COLUMNS, FPROP_SHARED, ROWS, TAPS, WGRAD_THREADS};
use crate::engine::kernel::cuda::kernels::{
    CONV_FPROP_NARROW_4, CONV_FPROP_NARROW_8, CONV_FPROP_NARROW_12, CONV_FPROP_NARROW_16, CONV_WGRAD_NARROW_4,
    CONV_WGRAD_NARROW_8, CONV_WGRAD_NARROW_12, CONV_WGRAD_NARROW_16,
};
use crate::engine::kernel::cuda::{GpuFacts, Implementation, Scratch, Shares, begins_with_quad, in_quads};
use crate::engine::tensor::Tensor;

/// Output channels of the widest kernel.
const MOST_OUTPUTS: usize = 16;

/// Input channels of a block of the weight gradient.
const WGRAD_INPUTS: usize = 128;

/// The forward pass.
pub const FPROP: Implementation<Fprop> = Implementation {
    name: "narrow",
    runs: |fprop, gpu| {
        let is_small = has_kernel(fprop.geometry) && fprop.y.tensor.channels() <= MOST_OUTPUTS;
        let is_aligned = in_quads(fprop.x) && begins_with_quad(fprop.weight);
        is_small && is_aligned && fprop.epilogue == Epilogue::None && gpu.shared_memory >= FPROP_SHARED
    },
    pays: |fprop, _| fprop.x.channels() >= 32,
    scratch: |_, _| Scratch::bytes(0),
    launches: |fprop, context| {
        let kernel = match outputs(fprop.y.tensor) {
            4 => &CONV_FPROP_NARROW_4,
            8 => &CONV_FPROP_NARROW_8,
            12 => &CONV_FPROP_NARROW_12,
            _ => &CONV_FPROP_NARROW_16,
        };
        let [images, height, width, _] = fprop.y.tensor.shape;
        let tiles = images * height.div_ceil(ROWS) * width.div_ceil(COLUMNS);
        vec![kernel.launch(tiles, fprop.argument(context)).shared(FPROP_SHARED)]
    },
};

/// The weight gradient.
pub const WGRAD: Implementation<Wgrad> = Implementation {
    name: "narrow",
    runs: |wgrad, _| {
        let is_small = has_kernel(wgrad.geometry) && wgrad.dy.channels() <= MOST_OUTPUTS;
        is_small && in_quads(wgrad.x) && in_quads(wgrad.dy) && begins_with_quad(wgrad.dw.tensor)
    },
    pays: |wgrad, _| wgrad.x.channels() >= 32,
    scratch: |wgrad, gpu| shares(wgrad, gpu).scratch(),
    launches: |wgrad, context| {
        let kernel = match outputs(wgrad.dy) {
            4 => &CONV_WGRAD_NARROW_4,
            8 => &CONV_WGRAD_NARROW_8,
            12 => &CONV_WGRAD_NARROW_12,
            _ => &CONV_WGRAD_NARROW_16,
        };
        let shares = shares(wgrad, context.gpu);
        vec![kernel.launch(shares.blocks(), wgrad.shared_argument(context, &shares))]
    },
};

fn has_kernel(geometry: Geometry) -> bool {
    let Geometry { kernel, stride: 1, dilation: 1, .. } = geometry else { return false };
    kernel.into_iter().all(|side| side <= TAPS)
}

/// Output channels of the narrowest kernel for `output`.
fn outputs(output: Tensor) -> usize {
    output.channels().next_multiple_of(4)
}

/// The blocks of a weight gradient: as many for each 128 input channels as there are multiprocessors, with a row of
/// pixels at least.
fn shares(wgrad: &Wgrad, gpu: &GpuFacts) -> Shares {
    let [images, height, ..] = wgrad.dy.shape;
    Shares {
        tiles: wgrad.x.channels().div_ceil(WGRAD_INPUTS),
        shares: (images * height).clamp(1, gpu.multiprocessors.max(1)),
        elements: outputs(wgrad.dy) * WGRAD_THREADS * 4,
    }
}
