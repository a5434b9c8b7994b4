//! The pixel shuffle fused with the tanh behind it, and their gradients. Only a rewrite uses these steps
//! ([`tanh_in_shuffle`](crate::engine::rewrite)).

use rayon::prelude::*;

use super::cuda::argument;
use crate::engine::access::{Access, Destination};
use crate::engine::kernel::cpu::{self, CpuKernel, Real};
use crate::engine::kernel::cuda::kernels::{
    UPSAMPLE_SHUFFLE_TANH, UPSAMPLE_SHUFFLE_TANH_GRAD, UpsampleShuffleTanhGrad,
};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, to_int};
use crate::engine::program::Step;
use crate::engine::tensor::Tensor;

/// The pixel shuffle with a bias and a tanh: `y[n, 2h + a, 2w + b, k] = tanh(x[n, h, w, (a, b, k)] + bias[k])`.
#[derive(Debug)]
pub struct ShuffleTanh {
    pub x: Tensor,
    pub bias: Tensor,
    pub y: Tensor,
}

/// The gradients of the tanh and of the shuffle: `dshuffled = dy (1 - y^2)`, and its pixels as channels of `dx`. `y`,
/// `dy` and `dshuffled` are `[n, 2h, 2w, k]`, `dx` is `[n, h, w, 4k]`.
#[derive(Debug)]
pub struct ShuffleTanhGrad {
    pub y: Tensor,
    pub dy: Tensor,
    /// The gradient between the two, which that of the bias reads.
    pub dshuffled: Tensor,
    pub dx: Destination,
}

impl Step for ShuffleTanh {
    fn name(&self) -> &'static str {
        "upsample_shuffle_tanh"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.x), Access::Read(self.bias), Access::Write(self.y)]
    }
}

impl Step for ShuffleTanhGrad {
    fn name(&self) -> &'static str {
        "upsample_shuffle_tanh_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.y), Access::Read(self.dy), Access::Write(self.dshuffled), self.dx.access()]
    }
}

impl<T: Real> CpuKernel<T> for ShuffleTanh {
    fn run(&self, context: &cpu::Context<'_, T>) {
        let (x, bias) = (context.read(self.x), context.read(self.bias).data);
        let y = context.write(Access::Write(self.y));
        let [_, _, width, channels] = y.shape;
        let stride = y.stride;
        y.data.par_chunks_mut(width * stride).enumerate().for_each(|(row, pixels)| {
            for (w, y) in pixels.chunks_mut(stride).enumerate() {
                // Images have an even number of rows, so half the row among all images is the row of x.
                let x = &x.pixel(row / 2 * (width / 2) + w / 2)[(row % 2 * 2 + w % 2) * channels..];
                y[..channels].iter_mut().zip(x).zip(bias).for_each(|((y, &x), &bias)| *y = (x + bias).tanh());
            }
        });
    }
}

impl<T: Real> CpuKernel<T> for ShuffleTanhGrad {
    fn run(&self, context: &cpu::Context<'_, T>) {
        let (y, dy) = (context.read(self.y), context.read(self.dy));
        let (dshuffled, dx) = (context.write(Access::Write(self.dshuffled)), context.write(self.dx.access()));
        let [_, _, width, channels] = dy.shape;
        let (stride, x_stride) = (dshuffled.stride, dx.stride);
        // A row of x becomes two of y, each twice as wide.
        let rows = dshuffled.data.par_chunks_mut(2 * width * stride);
        rows.zip(dx.data.par_chunks_mut(width / 2 * x_stride)).enumerate().for_each(|(row, (dshuffled, dx))| {
            for (p, dshuffled) in dshuffled.chunks_mut(stride).enumerate() {
                let (a, w) = (p / width, p % width);
                let dx = &mut dx[w / 2 * x_stride + (2 * a + w % 2) * channels..];
                let given = y.pixel(2 * row * width + p).iter().zip(dy.pixel(2 * row * width + p));
                for ((dshuffled, dx), (&y, &dy)) in dshuffled.iter_mut().zip(dx).zip(given) {
                    *dshuffled = dy * (T::one() - y * y);
                    *dx = if self.dx.accumulates() { *dx + *dshuffled } else { *dshuffled };
                }
            }
        });
    }
}

impl CudaKernel for ShuffleTanh {
    const IMPLEMENTATIONS: &'static [Implementation<ShuffleTanh>] = &[Implementation::plain(|shuffle, context| {
        let ShuffleTanh { x, bias, y } = *shuffle;
        vec![UPSAMPLE_SHUFFLE_TANH.launch_for(y.count(), argument(context, x, bias, y))]
    })];
}

impl CudaKernel for ShuffleTanhGrad {
    const IMPLEMENTATIONS: &'static [Implementation<ShuffleTanhGrad>] = &[Implementation::plain(|step, context| {
        let argument = UpsampleShuffleTanhGrad {
            y: context.read(step.y),
            dy: context.read(step.dy),
            dshuffled: context.write(Access::Write(step.dshuffled)),
            dx: context.write(step.dx.access()),
            dy_shape: step.dy.into(),
            y_stride: to_int(step.y.stride),
            dshuffled_stride: to_int(step.dshuffled.stride),
            dx_stride: to_int(step.dx.tensor.stride),
            accumulate: i32::from(step.dx.accumulates()),
        };
        vec![UPSAMPLE_SHUFFLE_TANH_GRAD.launch_for(step.dy.count(), argument)]
    })];
}
