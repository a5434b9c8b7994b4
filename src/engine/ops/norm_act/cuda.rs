//! Normalisation, activation and dropout on CUDA: a block owns 32 channels of one image.

use super::{Affine, Forward, Gradient, NormAct};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    DropoutDraw, NORM_ACT_FORWARD, NORM_ACT_GRADIENT, NormActForward, NormActGradient,
};
use crate::engine::kernel::cuda::{Context, CudaKernel, Dim3, Implementation, Ptr, PtrMut, int};
use crate::engine::tensor::Tensor;

/// Channels and pixels that a block looks at side by side.
const LANES: usize = 32;
const ROWS: usize = NORM_ACT_FORWARD.threads() / LANES;

/// Without norm the pixels of an image are shared out to as many blocks as give each row of threads this many.
const PIXELS: usize = 4;

/// With norm every block of an image's channels would have to sum all of its pixels, so there is one.
fn grid(x: Tensor, op: NormAct) -> Dim3 {
    let [images, height, width, channels] = x.shape;
    let shares = if op.norm { 1 } else { (height * width).div_ceil(ROWS * PIXELS).min(65_535) };
    [images * channels.div_ceil(LANES), shares, 1].into()
}

/// Gain and bias, or null.
fn affine_pointers(affine: Option<Affine>, context: &Context<'_>) -> [Ptr<f32>; 2] {
    affine.map_or([Ptr::NULL; 2], |Affine { gain, bias }| [gain, bias].map(|parameter| context.read(parameter)))
}

/// The draws of dropout, for images from `first_image` of its batch on.
fn draw(op: NormAct, first_image: usize, context: &Context<'_>) -> DropoutDraw {
    let first_image = int(first_image);
    match op.dropout {
        None => DropoutDraw {
            control: Ptr::NULL,
            enabled: 0,
            stream: 0,
            threshold: 0,
            keep_scale: 1.0,
            first_image,
            by_step: 0,
        },
        Some(dropout) => DropoutDraw {
            control: context.control(),
            enabled: 1,
            stream: dropout.stream(),
            threshold: dropout.threshold(),
            keep_scale: dropout.scale() as f32,
            first_image,
            by_step: i32::from(dropout.by_step),
        },
    }
}

impl CudaKernel for Forward {
    const IMPLEMENTATIONS: &'static [Implementation<Forward>] = &[Implementation::plain(|step, context| {
        let [_, height, width, channels] = step.x.shape;
        let [gain, bias] = affine_pointers(step.affine, context);
        let argument = NormActForward {
            x: context.read(step.x),
            gain,
            bias,
            y: context.write(Access::Write(step.y)),
            statistics: context.write(Access::Write(step.statistics)),
            pixels: int(height * width),
            channels: int(channels),
            x_stride: int(step.x.stride),
            y_stride: int(step.y.stride),
            norm: i32::from(step.op.norm),
            slope: step.op.activation.slope() as f32,
            dropout: draw(step.op, step.op.first_image(), context),
        };
        vec![NORM_ACT_FORWARD.launch(grid(step.x, step.op), argument)]
    })];
}

impl CudaKernel for Gradient {
    const IMPLEMENTATIONS: &'static [Implementation<Gradient>] = &[Implementation::plain(|step, context| {
        let [_, height, width, channels] = step.x.shape;
        let [gain, bias] = affine_pointers(step.affine.map(|(affine, _)| affine), context);
        let [gain_sums, bias_sums] = step.affine.map_or([PtrMut::NULL; 2], |(_, sums)| {
            [sums.gain, sums.bias].map(|sums| context.write(Access::Write(sums)))
        });
        let argument = NormActGradient {
            x: context.read(step.x),
            dy: context.read(step.dy),
            statistics: context.read(step.statistics),
            gain,
            bias,
            dx: context.write(step.dx.access()),
            gain_sums,
            bias_sums,
            pixels: int(height * width),
            channels: int(channels),
            x_stride: int(step.x.stride),
            dy_stride: int(step.dy.stride),
            dx_stride: int(step.dx.tensor.stride),
            norm: i32::from(step.op.norm),
            slope: step.op.activation.slope() as f32,
            dropout: draw(step.op, step.first_image, context),
            accumulate: i32::from(step.dx.accumulates()),
        };
        vec![NORM_ACT_GRADIENT.launch(grid(step.x, step.op), argument)]
    })];
}
