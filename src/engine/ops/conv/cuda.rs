//! Convolutions on CUDA: a thread per element of the result.

use super::{BiasGrad, Down, Geometry, Up, Wgrad};
use crate::engine::kernel::cuda::{Context, CudaKernel, Launch, Ptr, blocks, int, kernels};
use crate::engine::tensor::Tensor;

/// Channels that a block of `bias_grad` sums.
const BIAS_CHANNELS: usize = 32;

/// Images, then height, width, channels and stride of both grids.
struct Sizes {
    images: i32,
    small: [i32; 4],
    big: [i32; 4],
}

impl Sizes {
    fn of(small: Tensor, big: Tensor) -> Sizes {
        let sizes = |tensor: Tensor| {
            let [_, height, width, channels] = tensor.shape;
            [height, width, channels, tensor.stride].map(int)
        };
        Sizes { images: int(small.shape[0]), small: sizes(small), big: sizes(big) }
    }
}

impl Geometry {
    /// Kernel rows and columns, stride, dilation, rows and columns of padding in front.
    fn numbers(&self) -> [i32; 6] {
        let Geometry { kernel: [rows, columns], stride, dilation, pad: [top, left] } = *self;
        [rows, columns, stride, dilation, top, left].map(int)
    }
}

fn bias_pointer(bias: Option<Tensor>, context: &Context<'_>) -> Ptr<f32> {
    bias.map_or(Ptr::NULL, |bias| context.read(bias))
}

impl CudaKernel for Down {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let Sizes { images, small: [h, w, s, small_stride], big: [big_h, big_w, b, big_stride] } =
            Sizes::of(self.small.tensor, self.big);
        let (big, weight) = (context.read(self.big), context.read(self.weight));
        let (bias, small) = (bias_pointer(self.bias, context), context.write(self.small.access()));
        let add = i32::from(self.small.accumulates());
        let count = self.small.tensor.count();
        let launch = if self.geometry == Geometry::HALVING {
            let grid = blocks(count, kernels::conv_down_4x4s2::BLOCK);
            kernels::conv_down_4x4s2(
                grid,
                big,
                weight,
                bias,
                small,
                images,
                big_h,
                big_w,
                b,
                big_stride,
                h,
                w,
                s,
                small_stride,
                add,
            )
        } else {
            let [rows, columns, stride, dilation, top, left] = self.geometry.numbers();
            let grid = blocks(count, kernels::conv_down::BLOCK);
            kernels::conv_down(
                grid,
                big,
                weight,
                bias,
                small,
                images,
                big_h,
                big_w,
                b,
                big_stride,
                h,
                w,
                s,
                small_stride,
                rows,
                columns,
                stride,
                dilation,
                top,
                left,
                add,
            )
        };
        vec![launch]
    }
}

impl CudaKernel for Up {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let Sizes { images, small: [h, w, s, small_stride], big: [big_h, big_w, b, big_stride] } =
            Sizes::of(self.small, self.big.tensor);
        let (small, weight) = (context.read(self.small), context.read(self.weight));
        let (bias, big) = (bias_pointer(self.bias, context), context.write(self.big.access()));
        let add = i32::from(self.big.accumulates());
        let count = self.big.tensor.count();
        let launch = if self.geometry == Geometry::HALVING {
            let grid = blocks(count, kernels::conv_up_4x4s2::BLOCK);
            kernels::conv_up_4x4s2(
                grid,
                small,
                weight,
                bias,
                big,
                images,
                h,
                w,
                s,
                small_stride,
                big_h,
                big_w,
                b,
                big_stride,
                add,
            )
        } else {
            let [rows, columns, stride, dilation, top, left] = self.geometry.numbers();
            let grid = blocks(count, kernels::conv_up::BLOCK);
            kernels::conv_up(
                grid,
                small,
                weight,
                bias,
                big,
                images,
                h,
                w,
                s,
                small_stride,
                big_h,
                big_w,
                b,
                big_stride,
                rows,
                columns,
                stride,
                dilation,
                top,
                left,
                add,
            )
        };
        vec![launch]
    }
}

impl CudaKernel for Wgrad {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let Sizes { images, small: [h, w, s, small_stride], big: [big_h, big_w, b, big_stride] } =
            Sizes::of(self.small, self.big);
        let (small, big) = (context.read(self.small), context.read(self.big));
        let weight = context.write(self.weight.access());
        let add = i32::from(self.weight.accumulates());
        let count = self.weight.tensor.count();
        let launch = if self.geometry == Geometry::HALVING {
            let grid = blocks(count, kernels::conv_wgrad_4x4s2::BLOCK);
            kernels::conv_wgrad_4x4s2(
                grid,
                small,
                big,
                weight,
                images,
                h,
                w,
                s,
                small_stride,
                big_h,
                big_w,
                b,
                big_stride,
                add,
            )
        } else {
            let [rows, columns, stride, dilation, top, left] = self.geometry.numbers();
            let grid = blocks(count, kernels::conv_wgrad::BLOCK);
            kernels::conv_wgrad(
                grid,
                small,
                big,
                weight,
                images,
                h,
                w,
                s,
                small_stride,
                big_h,
                big_w,
                b,
                big_stride,
                rows,
                columns,
                stride,
                dilation,
                top,
                left,
                add,
            )
        };
        vec![launch]
    }
}

impl CudaKernel for BiasGrad {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let Tensor { stride, .. } = self.gradient;
        let (pixels, channels) = (self.gradient.pixels(), self.gradient.channels());
        vec![kernels::bias_grad(
            blocks(channels, BIAS_CHANNELS),
            context.read(self.gradient),
            context.write(self.bias.access()),
            int(pixels),
            int(channels),
            int(stride),
            i32::from(self.bias.accumulates()),
        )]
    }
}
