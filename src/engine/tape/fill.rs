//! The zeros that a sum of gradients starts from: the one step that the tape itself records.

use crate::engine::access::Access;
use crate::engine::kernel::cpu::{self, CpuKernel, Real};
use crate::engine::kernel::cuda::{self, CudaKernel, Launch, blocks, int, kernels};
use crate::engine::program::Step;
use crate::engine::tensor::Tensor;

/// Every element of `tensor` becomes `value`.
#[derive(Debug)]
pub(super) struct Fill {
    pub tensor: Tensor,
    pub value: f64,
}

impl Step for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Write(self.tensor)]
    }
}

impl<T: Real> CpuKernel<T> for Fill {
    fn run(&self, context: &cpu::Context<'_, T>) {
        let mut tensor = context.write(Access::Write(self.tensor));
        for p in 0..tensor.pixels() {
            tensor.pixel(p).fill(T::of(self.value));
        }
    }
}

impl CudaKernel for Fill {
    fn launches(&self, context: &cuda::Context<'_>) -> Vec<Launch> {
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
