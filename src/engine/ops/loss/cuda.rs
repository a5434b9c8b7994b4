//! Losses on CUDA: blocks sum runs of elements, then one block adds up the sums.

use super::{Criterion, LossGrad};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::{Context, CudaKernel, Launch, blocks, int, kernels};

/// Elements that a block sums. Follows from nothing, so that a value is the same on every GPU.
const RUN: usize = 2048;

impl CudaKernel for LossGrad {
    fn workspace(&self) -> usize {
        self.loss.of.count().div_ceil(RUN)
    }

    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let of = self.loss.of;
        let count = of.count();
        let scale = (self.loss.weight / count as f64) as f32;
        let (x, partial) = (context.read(of), context.workspace());
        let written = partial.as_ptr();
        let gradient = context.write(self.gradient.access());
        let (pixels, channels, run) = (int(of.pixels()), int(of.channels()), int(RUN));
        let (x_stride, gradient_stride) = (int(of.stride), int(self.gradient.tensor.stride));
        let accumulate = i32::from(self.gradient.accumulates());
        let grid = blocks(count, RUN);
        let sums = match self.loss.criterion {
            Criterion::Mse { target } | Criterion::Bce { target } | Criterion::BceLogits { target } => {
                let kernel = match self.loss.criterion {
                    Criterion::Bce { .. } => kernels::bce_loss,
                    Criterion::BceLogits { .. } => kernels::bce_logits_loss,
                    _ => kernels::mse_loss,
                };
                kernel(
                    grid,
                    x,
                    gradient,
                    partial,
                    pixels,
                    channels,
                    x_stride,
                    gradient_stride,
                    target as f32,
                    scale,
                    run,
                    accumulate,
                )
            }
            Criterion::L1 { target } | Criterion::L2 { target } => {
                let kernel = match self.loss.criterion {
                    Criterion::L1 { .. } => kernels::l1_loss,
                    _ => kernels::l2_loss,
                };
                kernel(
                    grid,
                    x,
                    context.read(target),
                    gradient,
                    partial,
                    pixels,
                    channels,
                    x_stride,
                    int(target.stride),
                    gradient_stride,
                    scale,
                    run,
                    accumulate,
                )
            }
        };
        let value = context.write(Access::Write(self.loss.value));
        let partials = count.div_ceil(RUN);
        let mean = kernels::loss_finish(1, written, value, int(partials), count as f64);
        vec![sums, mean]
    }
}
