//! Tanh and sigmoid on CUDA.

use super::{Function, Squash, SquashGrad};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    Activate, ActivateGradient, SIGMOID_FORWARD, SIGMOID_GRADIENT, TANH_FORWARD, TANH_GRADIENT,
};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, int};

impl CudaKernel for Squash {
    const IMPLEMENTATIONS: &'static [Implementation<Squash>] = &[Implementation::plain(|squash, context| {
        let kernel = match squash.function {
            Function::Tanh => &TANH_FORWARD,
            Function::Sigmoid => &SIGMOID_FORWARD,
        };
        let argument = Activate {
            x: context.read(squash.x),
            y: context.write(Access::Write(squash.y)),
            pixels: int(squash.x.pixels()),
            channels: int(squash.x.channels()),
            x_stride: int(squash.x.stride),
            y_stride: int(squash.y.stride),
        };
        vec![kernel.launch_for(squash.x.count(), argument)]
    })];
}

impl CudaKernel for SquashGrad {
    const IMPLEMENTATIONS: &'static [Implementation<SquashGrad>] = &[Implementation::plain(|squash, context| {
        let kernel = match squash.function {
            Function::Tanh => &TANH_GRADIENT,
            Function::Sigmoid => &SIGMOID_GRADIENT,
        };
        let argument = ActivateGradient {
            y: context.read(squash.y),
            dy: context.read(squash.dy),
            dx: context.write(squash.dx.access()),
            pixels: int(squash.y.pixels()),
            channels: int(squash.y.channels()),
            y_stride: int(squash.y.stride),
            dy_stride: int(squash.dy.stride),
            dx_stride: int(squash.dx.tensor.stride),
            accumulate: i32::from(squash.dx.accumulates()),
        };
        vec![kernel.launch_for(squash.y.count(), argument)]
    })];
}
