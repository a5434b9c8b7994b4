//! Tanh and sigmoid on CUDA.

use super::{Activation, ActivationGrad, Function};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    Activate, ActivateGradient, SIGMOID_FORWARD, SIGMOID_GRADIENT, TANH_FORWARD, TANH_GRADIENT,
};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, int};

impl CudaKernel for Activation {
    const IMPLEMENTATIONS: &'static [Implementation<Activation>] = &[Implementation::plain(|step, context| {
        let kernel = match step.function {
            Function::Tanh => &TANH_FORWARD,
            Function::Sigmoid => &SIGMOID_FORWARD,
        };
        let argument = Activate {
            x: context.read(step.x),
            y: context.write(Access::Write(step.y)),
            pixels: int(step.x.pixels()),
            channels: int(step.x.channels()),
            x_stride: int(step.x.stride),
            y_stride: int(step.y.stride),
        };
        vec![kernel.launch_for(step.x.count(), argument)]
    })];
}

impl CudaKernel for ActivationGrad {
    const IMPLEMENTATIONS: &'static [Implementation<ActivationGrad>] = &[Implementation::plain(|step, context| {
        let kernel = match step.function {
            Function::Tanh => &TANH_GRADIENT,
            Function::Sigmoid => &SIGMOID_GRADIENT,
        };
        let argument = ActivateGradient {
            y: context.read(step.y),
            dy: context.read(step.dy),
            dx: context.write(step.dx.access()),
            pixels: int(step.y.pixels()),
            channels: int(step.y.channels()),
            y_stride: int(step.y.stride),
            dy_stride: int(step.dy.stride),
            dx_stride: int(step.dx.tensor.stride),
            accumulate: i32::from(step.dx.accumulates()),
        };
        vec![kernel.launch_for(step.y.count(), argument)]
    })];
}
