//! Tanh and sigmoid on CUDA.

use super::{Activation, ActivationGrad, Function};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    Activate, ActivateGrad, SIGMOID_FORWARD, SIGMOID_GRAD, TANH_FORWARD, TANH_GRAD,
};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, to_int};

impl CudaKernel for Activation {
    const IMPLEMENTATIONS: &'static [Implementation<Activation>] = &[Implementation::plain(|step, context| {
        let kernel = match step.function {
            Function::Tanh => &TANH_FORWARD,
            Function::Sigmoid => &SIGMOID_FORWARD,
        };
        let argument = Activate {
            x: context.read(step.x),
            y: context.write(Access::Write(step.y)),
            pixels: to_int(step.x.pixels()),
            channels: to_int(step.x.channels()),
            x_stride: to_int(step.x.stride),
            y_stride: to_int(step.y.stride),
        };
        vec![kernel.launch_for(step.x.count(), argument)]
    })];
}

impl CudaKernel for ActivationGrad {
    const IMPLEMENTATIONS: &'static [Implementation<ActivationGrad>] = &[Implementation::plain(|step, context| {
        let kernel = match step.function {
            Function::Tanh => &TANH_GRAD,
            Function::Sigmoid => &SIGMOID_GRAD,
        };
        let argument = ActivateGrad {
            y: context.read(step.y),
            dy: context.read(step.dy),
            dx: context.write(step.dx.access()),
            pixels: to_int(step.y.pixels()),
            channels: to_int(step.y.channels()),
            y_stride: to_int(step.y.stride),
            dy_stride: to_int(step.dy.stride),
            dx_stride: to_int(step.dx.tensor.stride),
            accumulate: i32::from(step.dx.accumulates()),
        };
        vec![kernel.launch_for(step.y.count(), argument)]
    })];
}
