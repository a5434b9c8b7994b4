//! Convolutions on CUDA with few channels on one side: the first layers (`kernels/conv_few.cu`) and the layer that
//! makes a picture (`kernels/conv_dgrad_few.cu`).

use super::cuda::bias_pointer;
use super::{Dgrad, Epilogue, Fprop, Geometry, Wgrad, WgradAdam};
use crate::engine::kernel::cuda::kernels::conv_few::{CHANNELS, FPROP_SHARED, MOST_INPUTS, SIDE, WGRAD_SHARED};
use crate::engine::kernel::cuda::kernels::{
    CONV_DGRAD_FEW_4, CONV_DGRAD_FEW_8, CONV_FPROP_FEW, CONV_WGRAD_ADAM_FEW_1, CONV_WGRAD_ADAM_FEW_2,
    CONV_WGRAD_ADAM_FEW_3, CONV_WGRAD_ADAM_FEW_4, CONV_WGRAD_ADAM_FEW_6, CONV_WGRAD_FEW_1, CONV_WGRAD_FEW_2,
    CONV_WGRAD_FEW_3, CONV_WGRAD_FEW_4, CONV_WGRAD_FEW_6, ConvPatch, conv_dgrad_few,
};
use crate::engine::kernel::cuda::{GpuFacts, Implementation, PtrMut, Scratch, Shares, begins_with_quad, in_quads};
use crate::engine::tensor::Tensor;

/// Channels of one or two pictures up to which `conv_dgrad_few` computes them.
const MOST_PICTURE_CHANNELS: usize = 8;

/// The forward pass of a first layer.
pub const FPROP: Implementation<Fprop> = Implementation {
    name: "few",
    runs: |fprop, gpu| {
        let Geometry { kernel: [4, 4], stride: 2, dilation: 1, .. } = fprop.geometry else { return false };
        let (weight, y) = (fprop.weight, fprop.y.tensor);
        fprop.x.channels() <= MOST_INPUTS
            && weight.offset.is_multiple_of(2)
            && in_quads(y)
            && fprop.epilogue.tensors().all(in_quads)
            && gpu.shared_memory >= FPROP_SHARED
    },
    pays: |fprop, _| fprop.y.tensor.channels() >= 32,
    scratch: |_, _| Scratch::bytes(0),
    launches: |fprop, context| {
        let Fprop { x, weight, bias, y, geometry, epilogue } = *fprop;
        let [images, height, width, channels] = y.tensor.shape;
        let argument = ConvPatch {
            input: context.read(x),
            weight: context.read(weight),
            bias: bias_pointer(bias, context),
            output: context.write(y.access()),
            sums: PtrMut::NULL,
            tickets: PtrMut::NULL,
            input_shape: x.into(),
            output_shape: y.tensor.into(),
            geometry: geometry.into(),
            epilogue: epilogue.argument(context),
            shares: 1,
            accumulate: i32::from(y.accumulates()),
        };
        let grid = [channels.div_ceil(CHANNELS), images * height.div_ceil(SIDE) * width.div_ceil(SIDE), 1];
        vec![CONV_FPROP_FEW.launch(grid, argument).shared(FPROP_SHARED)]
    },
};

/// The weight gradient of a first layer.
pub const WGRAD: Implementation<Wgrad> = Implementation {
    name: "few",
    runs: |wgrad, gpu| has_few_inputs(wgrad.x, wgrad.dy, wgrad.dw.tensor, wgrad.geometry, gpu),
    pays: |wgrad, _| wgrad.dy.channels() >= 32,
    scratch: |wgrad, gpu| few_shares(wgrad.x, wgrad.dy, gpu).scratch(),
    launches: |wgrad, context| {
        let kernel = match wgrad.x.channels() {
            1 => &CONV_WGRAD_FEW_1,
            2 => &CONV_WGRAD_FEW_2,
            3 => &CONV_WGRAD_FEW_3,
            4 => &CONV_WGRAD_FEW_4,
            _ => &CONV_WGRAD_FEW_6,
        };
        let shares = few_shares(wgrad.x, wgrad.dy, context.gpu);
        vec![kernel.launch(shares.blocks(), wgrad.shared_argument(context, &shares)).shared(WGRAD_SHARED)]
    },
};

/// The weight gradient of a first layer with the update by it.
pub const WGRAD_ADAM: Implementation<WgradAdam> = Implementation {
    name: "few",
    runs: |step, gpu| {
        has_few_inputs(step.x, step.dy, step.weight, step.geometry, gpu)
            && [step.first, step.second].into_iter().all(begins_with_quad)
    },
    pays: |step, _| step.dy.channels() >= 32,
    scratch: |step, gpu| few_shares(step.x, step.dy, gpu).scratch(),
    launches: |step, context| {
        let kernel = match step.x.channels() {
            1 => &CONV_WGRAD_ADAM_FEW_1,
            2 => &CONV_WGRAD_ADAM_FEW_2,
            3 => &CONV_WGRAD_ADAM_FEW_3,
            4 => &CONV_WGRAD_ADAM_FEW_4,
            _ => &CONV_WGRAD_ADAM_FEW_6,
        };
        let shares = few_shares(step.x, step.dy, context.gpu);
        vec![kernel.launch(shares.blocks(), step.shared_argument(context, &shares)).shared(WGRAD_SHARED)]
    },
};

/// The transposed convolution that makes a picture, and the gradient of a picture.
pub const DGRAD: Implementation<Dgrad> = Implementation {
    name: "few",
    runs: |dgrad, _| {
        let is_picture = dgrad.dx.tensor.channels() <= MOST_PICTURE_CHANNELS;
        dgrad.geometry == Geometry::HALVING && is_picture && in_quads(dgrad.dy) && dgrad.epilogue == Epilogue::None
    },
    pays: |dgrad, _| dgrad.dy.channels() >= 32,
    scratch: |_, _| Scratch::bytes(0),
    launches: |dgrad, context| {
        let [images, height, width, channels] = dgrad.dx.tensor.shape;
        let along = |side: usize| side.div_ceil(2 * conv_dgrad_few::SIDE);
        let kernel = if channels > 4 { &CONV_DGRAD_FEW_8 } else { &CONV_DGRAD_FEW_4 };
        vec![kernel.launch(images * along(height) * along(width), dgrad.argument(context))]
    },
};

fn has_few_inputs(x: Tensor, dy: Tensor, weight: Tensor, geometry: Geometry, gpu: &GpuFacts) -> bool {
    let Geometry { kernel: [4, 4], stride: 2, dilation: 1, .. } = geometry else { return false };
    let has_kernel = matches!(x.channels(), 1 | 2 | 3 | 4 | 6);
    has_kernel && in_quads(dy) && begins_with_quad(weight) && gpu.shared_memory >= WGRAD_SHARED
}

/// The blocks of a first layer's weight gradient: as many for each 64 channels as there are multiprocessors, and so
/// many that each has at most eight tiles of pixels, of which the sums are one run.
fn few_shares(x: Tensor, dy: Tensor, gpu: &GpuFacts) -> Shares {
    let [images, height, width, channels] = dy.shape;
    let tiles = images * height.div_ceil(SIDE) * width.div_ceil(SIDE);
    let shares = tiles.min(gpu.multiprocessors).max(tiles.div_ceil(8)).max(1);
    Shares { tiles: channels.div_ceil(CHANNELS), shares, elements: CHANNELS * 16 * x.channels() }
}
