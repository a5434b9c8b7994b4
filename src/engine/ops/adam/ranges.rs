//! Adam over several ranges of parameters in one step, and the increment of the step number with it. Only a rewrite
//! uses this step ([`adam_together`](crate::engine::rewrite)).

use super::cuda::blocks_for;
use super::{Adam, Advance};
use crate::engine::access::Access;
use crate::engine::kernel::cpu::{self, CpuKernel, Real};
use crate::engine::kernel::cuda::kernels::adam::RANGES;
use crate::engine::kernel::cuda::kernels::{ADAM_UPDATE_RANGES, AdamRange, AdamUpdateRanges};
use crate::engine::kernel::cuda::{
    self, CudaKernel, Implementation, Launch, PtrMut, Scratch, begins_with_quad, to_int,
};
use crate::engine::program::Step;

/// The most ranges of an [`AdamRanges`] step, for which the argument of its kernel has room.
pub const MAX_RANGES: usize = RANGES;

/// The step that updates several ranges of parameters, each as an [`Adam`] step does, and with `advances` then adds 1
/// to the step number, as [`advance`](super::advance) does. There is at least one range, and at most [`MAX_RANGES`]; no
/// two share memory, and all have the same hyperparameters.
#[derive(Debug)]
pub struct AdamRanges {
    pub updates: Vec<Adam>,
    pub advances: bool,
}

impl Step for AdamRanges {
    fn name(&self) -> &'static str {
        "adam_ranges"
    }

    fn accesses(&self) -> Vec<Access> {
        let tensors = self.updates.iter().flat_map(Adam::tensors);
        let control = if self.advances { Access::WriteControl } else { Access::ReadControl };
        tensors.chain([control]).collect()
    }
}

impl<T: Real> CpuKernel<T> for AdamRanges {
    fn run(&self, context: &cpu::Context<'_, T>) {
        self.updates.iter().for_each(|adam| adam.run(context));
        if self.advances {
            Advance.run(context);
        }
    }
}

impl CudaKernel for AdamRanges {
    const IMPLEMENTATIONS: &'static [Implementation<AdamRanges>] = &[Implementation::plain(AdamRanges::launches)
        .with_scratch(|step, _| match step.advances {
            // The last block moves the step number on.
            true => Scratch { bytes: 0, tickets: 1, shares: step.updates.iter().map(blocks_of).sum() },
            false => Scratch::default(),
        })];
}

/// The quads of the parameters of a range; none where one of its tensors does not begin with a quad.
fn quads_of(adam: &Adam) -> usize {
    let Adam { parameters, gradients, first, second, .. } = *adam;
    let in_quads = [parameters, gradients, first, second].into_iter().all(begins_with_quad);
    if in_quads { parameters.count() / 4 } else { 0 }
}

/// The blocks of a range.
fn blocks_of(adam: &Adam) -> usize {
    let items = match quads_of(adam) {
        0 => adam.parameters.count(),
        quads => quads,
    };
    blocks_for(items, ADAM_UPDATE_RANGES.threads())
}

impl AdamRanges {
    fn launches(&self, context: &cuda::Context<'_>) -> Vec<Launch> {
        let mut first_block = 0;
        let ranges = self.updates.iter().map(|adam| {
            let Adam { parameters, gradients, first, second, .. } = *adam;
            let blocks = blocks_of(adam);
            let [parameters, first, second] =
                [parameters, first, second].map(|tensor| context.write(Access::Update(tensor)));
            first_block += blocks;
            AdamRange {
                parameters,
                first,
                second,
                gradients: context.read(gradients),
                count: to_int(adam.parameters.count()),
                quads: to_int(quads_of(adam)),
                first_block: to_int(first_block - blocks),
                blocks: to_int(blocks),
            }
        });
        let ranges: Vec<AdamRange> = ranges.collect();
        // Elements behind the last range are not read.
        let mut all = [ranges[0]; RANGES];
        all[..ranges.len()].copy_from_slice(&ranges);
        let options = self.updates[0].options;
        let argument = AdamUpdateRanges {
            ranges: all,
            control: context.control(),
            advanced: if self.advances { context.control_mut() } else { PtrMut::NULL },
            ticket: if self.advances { context.tickets() } else { PtrMut::NULL },
            beta1: options.beta1,
            beta2: options.beta2,
            epsilon: options.epsilon,
            count: to_int(ranges.len()),
        };
        vec![ADAM_UPDATE_RANGES.launch(first_block, argument)]
    }
}
