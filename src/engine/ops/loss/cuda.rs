//! Losses on CUDA: blocks sum runs of elements, then one block adds up the partial sums.

use super::{Criterion, LossGrad, ssim};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    self, BCE_LOGITS_LOSS, BCE_LOSS, L1_LOSS, L2_LOSS, LOSS_FINISH, LossFinish, MSE_LOSS,
};
use crate::engine::kernel::cuda::{Context, CudaKernel, Implementation, Launch, Ptr, Scratch, to_int};

/// Elements that a block sums: a constant, not tuned per GPU, so that loss values stay reproducible.
const RUN: usize = 2048;

impl CudaKernel for LossGrad {
    const IMPLEMENTATIONS: &'static [Implementation<LossGrad>] = &[Implementation::plain(LossGrad::launches)
        .with_scratch(|loss, _| match loss.loss.criterion {
            Criterion::Ssim { target } => Scratch::bytes(ssim::cuda::workspace(target)),
            _ => Scratch::bytes(loss.loss.x.count().div_ceil(RUN) * size_of::<f32>()),
        })];
}

impl LossGrad {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let x = self.loss.x;
        let count = x.count();
        let partial = context.workspace();
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
            partial,
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
        let partials = count.div_ceil(RUN);
        let mean = LossFinish {
            partial: partial.as_ptr(),
            value: context.write(Access::Write(self.loss.value)),
            partials: to_int(partials),
            count: count as f64,
        };
        vec![kernel.launch(partials, sums), LOSS_FINISH.launch(1, mean)]
    }
}
