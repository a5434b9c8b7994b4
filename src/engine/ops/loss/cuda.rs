//! Losses on CUDA: blocks sum runs of elements, and the last of them adds up these sums.

use super::{Criterion, LossGrad, ssim};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{self, BCE_LOGITS_LOSS, BCE_LOSS, L1_LOSS, L2_LOSS, MSE_LOSS, Mean};
use crate::engine::kernel::cuda::{Context, CudaKernel, Implementation, Launch, Ptr, PtrMut, Scratch, to_int};

/// Elements that a block sums: a picture of 256x256x3 makes 128 blocks. A constant, not tuned per GPU, so that loss
/// values stay reproducible.
pub(super) const RUN: usize = 1536;

impl CudaKernel for LossGrad {
    const IMPLEMENTATIONS: &'static [Implementation<LossGrad>] = &[Implementation::plain(LossGrad::launches)
        .with_scratch(|loss, _| match loss.loss.criterion {
            Criterion::Ssim { target } => ssim::cuda::scratch(target),
            _ => Scratch { bytes: loss.blocks() * size_of::<f32>(), tickets: 1, shares: loss.blocks() },
        })];
}

impl LossGrad {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let kernel = match self.loss.criterion {
            Criterion::Mse { .. } => &MSE_LOSS,
            Criterion::Bce { .. } => &BCE_LOSS,
            Criterion::BceLogits { .. } => &BCE_LOGITS_LOSS,
            Criterion::L1 { .. } => &L1_LOSS,
            Criterion::L2 { .. } => &L2_LOSS,
            Criterion::Ssim { target } => return self.launch_ssim(context, target),
        };
        let mean = self.mean(context, context.workspace(), context.tickets(), self.loss.x.count());
        vec![kernel.launch(self.blocks(), self.argument(context, mean))]
    }

    /// The blocks of a loss by element.
    pub(super) fn blocks(&self) -> usize {
        self.loss.x.count().div_ceil(RUN)
    }

    /// The argument of the kernel of a loss by element, whose blocks write `mean`.
    pub(super) fn argument(&self, context: &Context<'_>, mean: Mean) -> kernels::LossGrad {
        let x = self.loss.x;
        let target = self.loss.criterion.target();
        let target_value = match self.loss.criterion {
            Criterion::Mse { target } | Criterion::Bce { target } | Criterion::BceLogits { target } => target,
            Criterion::L1 { .. } | Criterion::L2 { .. } | Criterion::Ssim { .. } => 0.0,
        };
        kernels::LossGrad {
            x: context.read(x),
            target: target.map_or(Ptr::NULL, |target| context.read(target)),
            dx: context.write(self.dx.access()),
            mean,
            pixels: to_int(x.pixels()),
            channels: to_int(x.channels()),
            x_stride: to_int(x.stride),
            target_stride: target.map_or(0, |target| to_int(target.stride)),
            dx_stride: to_int(self.dx.tensor.stride),
            target_value: target_value as f32,
            weight_per_element: (self.loss.weight / x.count() as f64) as f32,
            run: to_int(RUN),
            accumulate: i32::from(self.dx.accumulates()),
        }
    }

    /// The loss as the mean of `count` terms, of which each block has a sum in `partial`; `ticket` is one word.
    pub(super) fn mean(&self, context: &Context<'_>, partial: PtrMut<f32>, ticket: PtrMut<u32>, count: usize) -> Mean {
        let value = context.write(Access::Write(self.loss.value));
        Mean { partial, value, ticket, count: count as f64 }
    }
}
