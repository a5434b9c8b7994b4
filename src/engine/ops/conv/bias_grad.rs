//! Bias gradients on CUDA, and several of them in one step. Only a rewrite uses that step
//! ([`bias_grads_together`](crate::engine::rewrite)).

use super::BiasGrad;
use crate::engine::access::Access;
use crate::engine::kernel::cpu::{self, CpuKernel, Real};
use crate::engine::kernel::cuda::kernels::bias_grad::BIAS_GRADS;
use crate::engine::kernel::cuda::kernels::{self, BIAS_GRAD, BIAS_GRAD_SHARED, BiasGradShared, SharedBiasGrad};
use crate::engine::kernel::cuda::{self, CudaKernel, GpuFacts, Implementation, Launch, Scratch, Shares, to_int};
use crate::engine::program::Step;

/// Channels that a block of the plain kernel sums.
const BIAS_CHANNELS: usize = 32;

/// The most gradients of a [`BiasGrads`] step, for which the argument of its kernel has room.
pub const MAX_BIAS_GRADS: usize = BIAS_GRADS;

/// The step that computes several bias gradients, each as a [`BiasGrad`] step does. There is at least one, and at most
/// [`MAX_BIAS_GRADS`]; none accesses what another writes.
#[derive(Debug)]
pub struct BiasGrads {
    pub grads: Vec<BiasGrad>,
}

impl Step for BiasGrads {
    fn name(&self) -> &'static str {
        "bias_grads"
    }

    fn accesses(&self) -> Vec<Access> {
        self.grads.iter().flat_map(Step::accesses).collect()
    }
}

impl<T: Real> CpuKernel<T> for BiasGrads {
    fn workspace(&self) -> usize {
        self.grads.iter().map(CpuKernel::<T>::workspace).max().unwrap_or(0)
    }

    fn run(&self, context: &cpu::Context<'_, T>) {
        let sums = context.workspace(CpuKernel::<T>::workspace(self));
        self.grads.iter().for_each(|grad| grad.compute(context, sums));
    }
}

impl CudaKernel for BiasGrads {
    const IMPLEMENTATIONS: &'static [Implementation<BiasGrads>] = &[
        Implementation {
            name: "shared",
            runs: |_, _| true,
            pays: |_, _| true,
            scratch: |step, gpu| scratch(&step.grads, gpu),
            launches: |step, context| vec![shared(&step.grads, context)],
        },
        Implementation::plain(|step, context| step.grads.iter().map(|grad| grad.plain(context)).collect()),
    ];
}

impl CudaKernel for BiasGrad {
    const IMPLEMENTATIONS: &'static [Implementation<BiasGrad>] = &[
        Implementation {
            name: "shared",
            runs: |_, _| true,
            pays: |_, _| true,
            scratch: |step, gpu| scratch(std::slice::from_ref(step), gpu),
            launches: |step, context| vec![shared(std::slice::from_ref(step), context)],
        },
        Implementation::plain(|step, context| vec![step.plain(context)]),
    ];
}

impl BiasGrad {
    fn argument(&self, context: &cuda::Context<'_>) -> kernels::BiasGrad {
        kernels::BiasGrad {
            dy: context.read(self.dy),
            dbias: context.write(self.dbias.access()),
            pixels: to_int(self.dy.pixels()),
            channels: to_int(self.dy.channels()),
            dy_stride: to_int(self.dy.stride),
            accumulate: i32::from(self.dbias.accumulates()),
        }
    }

    fn plain(&self, context: &cuda::Context<'_>) -> Launch {
        BIAS_GRAD.launch(self.dy.channels().div_ceil(BIAS_CHANNELS), self.argument(context))
    }

    /// The blocks that share the pixels: one for each multiprocessor, but none with fewer than 32 terms for a thread.
    fn shares(&self, gpu: &GpuFacts) -> Shares {
        let threads = BIAS_GRAD_SHARED.threads();
        let least = 32 * threads / self.dy.channels().clamp(1, threads);
        Shares {
            tiles: self.dy.channels().div_ceil(threads),
            shares: self.dy.pixels().div_ceil(least).clamp(1, gpu.multiprocessors.max(1)),
            elements: 4 * threads,
        }
    }
}

/// The scratch memory and tickets of all gradients, one behind the other.
fn scratch(grads: &[BiasGrad], gpu: &GpuFacts) -> Scratch {
    let each = grads.iter().map(|grad| grad.shares(gpu).scratch());
    each.fold(Scratch::default(), behind)
}

/// The scratch memory of `first` and then of `next`.
fn behind(first: Scratch, next: Scratch) -> Scratch {
    Scratch {
        bytes: first.bytes + next.bytes,
        tickets: first.tickets + next.tickets,
        shares: first.shares.max(next.shares),
    }
}

/// The launch that computes all of `grads`.
fn shared(grads: &[BiasGrad], context: &cuda::Context<'_>) -> Launch {
    let (mut first_block, mut used) = (0, Scratch::default());
    let each = grads.iter().map(|grad| {
        let shares = grad.shares(context.gpu);
        let (sums, tickets) = context.shared_behind(&shares, used);
        used = behind(used, shares.scratch());
        first_block += shares.blocks();
        SharedBiasGrad {
            grad: grad.argument(context),
            sums,
            tickets,
            shares: to_int(shares.shares),
            first_block: to_int(first_block - shares.blocks()),
        }
    });
    let each: Vec<SharedBiasGrad> = each.collect();
    // Elements behind the last gradient are not read.
    let mut all = [each[0]; BIAS_GRADS];
    all[..each.len()].copy_from_slice(&each);
    BIAS_GRAD_SHARED.launch(first_block, BiasGradShared { grads: all, count: to_int(each.len()) })
}
