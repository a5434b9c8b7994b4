//! Adam on CUDA.

use super::{Adam, Advance};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::{Context, CudaKernel, Launch, int, kernels};

/// Blocks of an update at most: each computes the corrections once for all of its elements.
const MOST_BLOCKS: usize = 4096;

impl CudaKernel for Adam {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let count = self.parameters.count();
        vec![kernels::adam_update(
            count.div_ceil(kernels::adam_update::BLOCK).min(MOST_BLOCKS),
            context.write(Access::Update(self.parameters)),
            context.read(self.gradients),
            context.write(Access::Update(self.first)),
            context.write(Access::Update(self.second)),
            context.control(),
            int(count),
            self.options.beta1,
            self.options.beta2,
            self.options.epsilon,
        )]
    }
}

impl CudaKernel for Advance {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        vec![kernels::control_advance(1, context.control_mut())]
    }
}
