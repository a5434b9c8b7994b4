//! Tanh and sigmoid on CUDA.

use super::{Function, Squash, SquashGrad};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::{Context, CudaKernel, Launch, blocks, int, kernels};

impl CudaKernel for Squash {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let kernel = match self.function {
            Function::Tanh => kernels::tanh_forward,
            Function::Sigmoid => kernels::sigmoid_forward,
        };
        vec![kernel(
            blocks(self.x.count(), kernels::tanh_forward::BLOCK),
            context.read(self.x),
            context.write(Access::Write(self.y)),
            int(self.x.pixels()),
            int(self.x.channels()),
            int(self.x.stride),
            int(self.y.stride),
        )]
    }
}

impl CudaKernel for SquashGrad {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let kernel = match self.function {
            Function::Tanh => kernels::tanh_gradient,
            Function::Sigmoid => kernels::sigmoid_gradient,
        };
        vec![kernel(
            blocks(self.y.count(), kernels::tanh_gradient::BLOCK),
            context.read(self.y),
            context.read(self.dy),
            context.write(self.dx.access()),
            int(self.y.pixels()),
            int(self.y.channels()),
            int(self.y.stride),
            int(self.dy.stride),
            int(self.dx.tensor.stride),
            i32::from(self.dx.accumulates()),
        )]
    }
}
