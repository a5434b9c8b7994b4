//! Copies on CUDA.

use super::Copy;
use crate::engine::kernel::cuda::{Context, CudaKernel, Launch, blocks, int, kernels};

impl CudaKernel for Copy {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        vec![kernels::copy(
            blocks(self.from.count(), kernels::copy::BLOCK),
            context.read(self.from),
            context.write(self.to.access()),
            int(self.from.pixels()),
            int(self.from.channels()),
            int(self.from.stride),
            int(self.to.tensor.stride),
            i32::from(self.to.accumulates()),
        )]
    }
}
