//! Normalisation, activation and dropout on CUDA: a block owns 32 channels of one image.

use super::{Affine, NormAct, NormActForward, NormActGrad, Skip, wide};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{self, DropoutDraw, NORM_ACT_FORWARD, NORM_ACT_GRAD};
use crate::engine::kernel::cuda::{Context, CudaKernel, Dim3, Implementation, Ptr, PtrMut, to_int};
use crate::engine::tensor::Tensor;

/// Channels of a block, one for each lane of a warp.
const LANES: usize = 32;
/// Pixels that a block works on at once, one for each of its warps.
const ROWS: usize = NORM_ACT_FORWARD.threads() / LANES;

/// Pixels of each row of threads without norm: an image is divided among as many blocks as that takes.
const PIXELS: usize = 4;

/// The grid, `[images * groups of channels, blocks of pixels]`. With norm there is one block of pixels, because each
/// would have to sum all pixels of the image.
fn grid(x: Tensor, op: NormAct) -> Dim3 {
    let [images, height, width, channels] = x.shape;
    let blocks = if op.norm { 1 } else { (height * width).div_ceil(ROWS * PIXELS).min(65_535) };
    [images * channels.div_ceil(LANES), blocks, 1].into()
}

/// The addresses of gain and bias, or null.
fn affine_pointers(affine: Option<Affine>, context: &Context<'_>) -> [Ptr<f32>; 2] {
    affine.map_or([Ptr::NULL; 2], |Affine { gain, bias }| [gain, bias].map(|parameter| context.read(parameter)))
}

/// The dropout argument of the kernels, for images from `first_image` of its batch on.
fn draw(op: NormAct, first_image: usize, context: &Context<'_>) -> DropoutDraw {
    let first_image = to_int(first_image);
    match op.dropout {
        None => DropoutDraw {
            control: Ptr::NULL,
            drops: 0,
            counter_word: 0,
            threshold: 0,
            scale: 1.0,
            first_image,
            by_step: 0,
        },
        Some(dropout) => DropoutDraw {
            control: context.control(),
            drops: 1,
            counter_word: dropout.counter_word(),
            threshold: dropout.threshold(),
            scale: dropout.scale() as f32,
            first_image,
            by_step: i32::from(dropout.by_step),
        },
    }
}

fn skip_stride(skip: Option<Skip>) -> i32 {
    skip.map_or(0, |skip| to_int(skip.tensor.stride))
}

fn skip_slope(skip: Option<Skip>) -> f32 {
    skip.map_or(1.0, |skip| skip.activation.negative_slope() as f32)
}

impl CudaKernel for NormActForward {
    const IMPLEMENTATIONS: &'static [Implementation<NormActForward>] = &[
        wide::FORWARD,
        Implementation::plain(|step, context| {
            vec![NORM_ACT_FORWARD.launch(grid(step.x, step.op), step.argument(context))]
        }),
    ];
}

impl NormActForward {
    pub(super) fn argument(&self, context: &Context<'_>) -> kernels::NormActForward {
        let [_, height, width, channels] = self.x.shape;
        let [gain, bias] = affine_pointers(self.affine, context);
        kernels::NormActForward {
            x: context.read(self.x),
            gain,
            bias,
            y: context.write(Access::Write(self.y)),
            mean_rstd: self.mean_rstd.map_or(PtrMut::NULL, |tensor| context.write(Access::Write(tensor))),
            pixels: to_int(height * width),
            channels: to_int(channels),
            x_stride: to_int(self.x.stride),
            y_stride: to_int(self.y.stride),
            norm: i32::from(self.op.norm),
            negative_slope: self.op.activation.negative_slope() as f32,
            dropout: draw(self.op, self.op.first_image(), context),
            skip: self.skip.map_or(PtrMut::NULL, |skip| context.write(Access::Write(skip.tensor))),
            skip_stride: skip_stride(self.skip),
            skip_slope: skip_slope(self.skip),
        }
    }
}

impl CudaKernel for NormActGrad {
    const IMPLEMENTATIONS: &'static [Implementation<NormActGrad>] = &[
        wide::GRAD,
        Implementation::plain(|step, context| {
            vec![NORM_ACT_GRAD.launch(grid(step.dy, step.op), step.argument(context))]
        }),
    ];
}

impl NormActGrad {
    pub(super) fn argument(&self, context: &Context<'_>) -> kernels::NormActGrad {
        let [x_images, height, width, channels] = self.x.shape;
        let [gain, bias] = affine_pointers(self.affine.map(|(affine, _)| affine), context);
        let [dgain, dbias] = self.affine.map_or([PtrMut::NULL; 2], |(_, sums)| {
            [sums.dgain, sums.dbias].map(|sums| context.write(Access::Write(sums)))
        });
        kernels::NormActGrad {
            x: context.read(self.x),
            dy: context.read(self.dy),
            mean_rstd: self.mean_rstd.map_or(Ptr::NULL, |tensor| context.read(tensor)),
            gain,
            bias,
            dx: context.write(self.dx.access()),
            dgain,
            dbias,
            x_images: to_int(x_images),
            pixels: to_int(height * width),
            channels: to_int(channels),
            x_stride: to_int(self.x.stride),
            dy_stride: to_int(self.dy.stride),
            dx_stride: to_int(self.dx.tensor.stride),
            norm: i32::from(self.op.norm),
            negative_slope: self.op.activation.negative_slope() as f32,
            dropout: draw(self.op, self.first_image, context),
            accumulate: i32::from(self.dx.accumulates()),
            skip: self.skip.map_or(Ptr::NULL, |skip| context.read(skip.tensor)),
            skip_stride: skip_stride(self.skip),
            skip_slope: skip_slope(self.skip),
        }
    }
}
