//! Losses on CUDA: blocks sum runs of elements, and the last of them adds up these sums.

use super::{Criterion, LossGrad, ssim};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{self, BCE_LOGITS_LOSS, BCE_LOSS, L1_LOSS, L2_LOSS, MSE_LOSS, Mean};
use crate::engine::kernel::cuda::{Context, CudaKernel, Implementation, Launch, Ptr, PtrMut, Scratch, to_int};

/// Elements that a block sums: a picture of 256x256x3 makes 128 blocks. A constant, not tuned per GPU, so that loss
/// values stay reproducible.
const RUN: usize = 1536;

impl CudaKernel for LossGrad {
    const IMPLEMENTATIONS: &'static [Implementation<LossGrad>] = &[Implementation::plain(LossGrad::launches)
        .with_scratch(|loss, _| Scratch {
            bytes: match loss.loss.criterion {
                Criterion::Ssim { target } => ssim::cuda::workspace(target),
                _ => loss.loss.x.count().div_ceil(RUN) * size_of::<f32>(),
            },
            tickets: 1,
        })];
}

impl LossGrad {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let x = self.loss.x;
        let count = x.count();
        let (kernel, target_value) = match self.loss.criterion {
            Criterion::Mse { target } => (&MSE_LOSS, target),
            Criterion::Bce { target } => (&BCE_LOSS, target),
            Criterion::BceLogits { target } => (&BCE_LOGITS_LOSS, target),
            Criterion::L1 { .. } => (&L1_LOSS, 0.0),
            Criterion::L2 { .. } => (&L2_LOSS, 0.0),
            Criterion::Ssim { target } => return self.launch_ssim(context, target),
        };
        let target = self.loss.criterion.target();
        let sums = kernels::LossGrad {
            x: context.read(x),
            target: target.map_or(Ptr::NULL, |target| context.read(target)),
            dx: context.write(self.dx.access()),
            mean: self.mean(context, context.workspace(), count),
            pixels: to_int(x.pixels()),
            channels: to_int(x.channels()),
            x_stride: to_int(x.stride),
            target_stride: target.map_or(0, |target| to_int(target.stride)),
            dx_stride: to_int(self.dx.tensor.stride),
            target_value: target_value as f32,
            weight_per_element: (self.loss.weight / count as f64) as f32,
            run: to_int(RUN),
            accumulate: i32::from(self.dx.accumulates()),
        };
        vec![kernel.launch(count.div_ceil(RUN), sums)]
    }

    /// The loss as the mean of `count` terms, of which each block has a sum in `partial`.
    pub(super) fn mean(&self, context: &Context<'_>, partial: PtrMut<f32>, count: usize) -> Mean {
        let value = context.write(Access::Write(self.loss.value));
        Mean { partial, value, ticket: context.tickets(), count: count as f64 }
    }
}
