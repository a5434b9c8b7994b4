//! Several losses in one step. Only a rewrite uses it ([`losses_together`](crate::engine::rewrite)).

use super::{Criterion, LossGrad};
use crate::engine::access::Access;
use crate::engine::kernel::cpu::{self, CpuKernel, Real};
use crate::engine::kernel::cuda::kernels::loss::{BCE, BCE_LOGITS, L1, L2, LOSSES, MSE};
use crate::engine::kernel::cuda::kernels::{LOSSES_GRAD, LossSegment, LossesGrad};
use crate::engine::kernel::cuda::{self, CudaKernel, Implementation, Launch, Scratch, to_int};
use crate::engine::program::Step;

/// The most losses of a [`Losses`] step, for which the argument of its kernel has room.
pub const MAX_LOSSES: usize = LOSSES;

/// The step that computes several losses and their gradients, each as a [`LossGrad`] step does. There is at least one,
/// and at most [`MAX_LOSSES`]; none is SSIM ([`LossGrad::is_by_element`]), and none accesses what another writes.
#[derive(Debug)]
pub struct Losses {
    pub losses: Vec<LossGrad>,
}

impl Step for Losses {
    fn name(&self) -> &'static str {
        "losses"
    }

    fn accesses(&self) -> Vec<Access> {
        self.losses.iter().flat_map(Step::accesses).collect()
    }
}

impl<T: Real> CpuKernel<T> for Losses {
    fn workspace(&self) -> usize {
        self.losses.iter().map(CpuKernel::<T>::workspace).max().unwrap_or(0)
    }

    fn run(&self, context: &cpu::Context<'_, T>) {
        let sums = context.workspace(CpuKernel::<T>::workspace(self));
        self.losses.iter().for_each(|loss| loss.compute(context, sums));
    }
}

impl CudaKernel for Losses {
    const IMPLEMENTATIONS: &'static [Implementation<Losses>] =
        &[Implementation::plain(Losses::launches).with_scratch(|step, _| Scratch {
            bytes: step.losses.iter().map(LossGrad::blocks).sum::<usize>() * size_of::<f32>(),
            tickets: step.losses.len(),
            shares: step.losses.iter().map(LossGrad::blocks).max().unwrap_or(0),
        })];
}

impl Losses {
    fn launches(&self, context: &cuda::Context<'_>) -> Vec<Launch> {
        let (partial, tickets) = (context.workspace::<f32>(), context.tickets());
        let mut first_block = 0;
        let segments = self.losses.iter().enumerate().map(|(index, loss)| {
            let blocks = loss.blocks();
            let mean = loss.mean(context, partial.offset(first_block), tickets.offset(index), loss.loss.x.count());
            first_block += blocks;
            LossSegment {
                loss: loss.argument(context, mean),
                criterion: to_int(criterion(loss.loss.criterion)),
                first_block: to_int(first_block - blocks),
                blocks: to_int(blocks),
            }
        });
        let segments: Vec<LossSegment> = segments.collect();
        // Elements behind the last loss are not read.
        let mut all = [segments[0]; LOSSES];
        all[..segments.len()].copy_from_slice(&segments);
        vec![LOSSES_GRAD.launch(first_block, LossesGrad { segments: all, count: to_int(segments.len()) })]
    }
}

/// The number by which the kernel knows a criterion.
fn criterion(criterion: Criterion) -> usize {
    match criterion {
        Criterion::Mse { .. } => MSE,
        Criterion::Bce { .. } => BCE,
        Criterion::BceLogits { .. } => BCE_LOGITS,
        Criterion::L1 { .. } => L1,
        Criterion::L2 { .. } => L2,
        Criterion::Ssim { .. } => unreachable!("SSIM is computed by windows"),
    }
}
