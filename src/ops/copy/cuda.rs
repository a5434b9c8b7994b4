//! Copies on CUDA.

use super::{Copy, Fill};
use crate::device::cuda::{Context, CudaKernel, Launch, blocks, int, kernels};
use crate::program::Access;

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

impl CudaKernel for Fill {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        vec![kernels::fill(
            blocks(self.tensor.count(), kernels::fill::BLOCK),
            context.write(Access::Write(self.tensor)),
            int(self.tensor.pixels()),
            int(self.tensor.channels()),
            int(self.tensor.stride),
            self.value as f32,
        )]
    }
}
