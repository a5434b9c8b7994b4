//! Normalisation, activation and dropout on CUDA: a block owns 32 channels of one image.

use super::{Affine, AffineSums, Dropout, Forward, Gradient, NormAct};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::{Context, CudaKernel, DeviceControl, Grid, Launch, Ptr, PtrMut, int, kernels};
use crate::engine::tensor::Tensor;

/// Channels and pixels that a block looks at side by side.
const LANES: usize = 32;
const ROWS: usize = kernels::norm_act_forward::BLOCK / LANES;

/// Without norm the pixels of an image are shared out to as many blocks as give each row of threads this many.
const PIXELS: usize = 4;

/// With norm every block of an image's channels would have to sum all of its pixels, so there is one.
fn grid(x: Tensor, op: NormAct) -> Grid {
    let [images, height, width, channels] = x.shape;
    let shares = if op.norm { 1 } else { (height * width).div_ceil(ROWS * PIXELS).min(65_535) };
    [images * channels.div_ceil(LANES), shares, 1].into()
}

/// Gain and bias, or null.
fn affine_pointers(affine: Option<Affine>, context: &Context<'_>) -> [Ptr<f32>; 2] {
    affine.map_or([Ptr::NULL; 2], |Affine { gain, bias }| [gain, bias].map(|parameter| context.read(parameter)))
}

/// What the kernels take of an op: norm, slope, and the dropout's presence, place, threshold, scale and whether it is by step.
fn numbers(op: NormAct) -> (i32, f32, i32, i32, i32, f32, i32) {
    let (norm, slope) = (i32::from(op.norm), op.activation.slope() as f32);
    match op.dropout {
        None => (norm, slope, 0, 0, 0, 1.0, 0),
        // Bits are passed on as they are: the kernels read place and threshold as unsigned.
        Some(dropout) => {
            let (place, threshold) = (dropout.place() as i32, dropout.threshold() as i32);
            (norm, slope, 1, place, threshold, dropout.scale() as f32, i32::from(dropout.by_step))
        }
    }
}

fn control(dropout: Option<Dropout>, context: &Context<'_>) -> Ptr<DeviceControl> {
    dropout.map_or(Ptr::NULL, |_| context.control())
}

impl CudaKernel for Forward {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let [_, height, width, channels] = self.x.shape;
        let (norm, slope, drops, place, threshold, scale, by_step) = numbers(self.op);
        let [gain, bias] = affine_pointers(self.affine, context);
        vec![kernels::norm_act_forward(
            grid(self.x, self.op),
            context.read(self.x),
            gain,
            bias,
            context.write(Access::Write(self.y)),
            context.write(Access::Write(self.statistics)),
            control(self.op.dropout, context),
            int(height * width),
            int(channels),
            int(self.x.stride),
            int(self.y.stride),
            norm,
            slope,
            drops,
            place,
            threshold,
            scale,
            int(self.op.first_image()),
            by_step,
        )]
    }
}

impl CudaKernel for Gradient {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let [_, height, width, channels] = self.x.shape;
        let (norm, slope, drops, place, threshold, scale, by_step) = numbers(self.op);
        let [gain, bias] = affine_pointers(self.affine.map(|(affine, _)| affine), context);
        let [gain_sums, bias_sums] = self.affine.map_or([PtrMut::NULL; 2], |(_, AffineSums { gain, bias })| {
            [gain, bias].map(|sums| context.write(Access::Write(sums)))
        });
        vec![kernels::norm_act_gradient(
            grid(self.x, self.op),
            context.read(self.x),
            context.read(self.dy),
            context.read(self.statistics),
            gain,
            bias,
            context.write(self.dx.access()),
            gain_sums,
            bias_sums,
            control(self.op.dropout, context),
            int(height * width),
            int(channels),
            int(self.x.stride),
            int(self.dy.stride),
            int(self.dx.tensor.stride),
            norm,
            slope,
            drops,
            place,
            threshold,
            scale,
            int(self.first_image),
            by_step,
            i32::from(self.dx.accumulates()),
        )]
    }
}
