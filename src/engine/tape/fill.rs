//! The zeros that a sum of gradients starts from: the one step that the tape itself records.

use crate::engine::access::Access;
use crate::engine::kernel::cpu::{self, CpuKernel, Real};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, int, kernels};
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
    const IMPLEMENTATIONS: &'static [Implementation<Fill>] = &[Implementation::plain(|fill, context| {
        let argument = kernels::Fill {
            to: context.write(Access::Write(fill.tensor)),
            pixels: int(fill.tensor.pixels()),
            channels: int(fill.tensor.channels()),
            stride: int(fill.tensor.stride),
            value: fill.value as f32,
        };
        vec![kernels::FILL.launch_for(fill.tensor.count(), argument)]
    })];
}
