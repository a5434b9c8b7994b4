//! Tanh and sigmoid on CUDA.

use super::{Activation, ActivationGrad, Function};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    Activate, ActivateGradient, SIGMOID_FORWARD, SIGMOID_GRADIENT, TANH_FORWARD, TANH_GRADIENT,
};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, int};

impl CudaKernel for Activation {
    const IMPLEMENTATIONS: &'static [Implementation<Activation>] = &[Implementation::plain(|activation, context| {
        let kernel = match activation.function {
            Function::Tanh => &TANH_FORWARD,
            Function::Sigmoid => &SIGMOID_FORWARD,
        };
        let argument = Activate {
            x: context.read(activation.x),
            y: context.write(Access::Write(activation.y)),
            pixels: int(activation.x.pixels()),
            channels: int(activation.x.channels()),
            x_stride: int(activation.x.stride),
            y_stride: int(activation.y.stride),
        };
        vec![kernel.launch_for(activation.x.count(), argument)]
    })];
}

impl CudaKernel for ActivationGrad {
    const IMPLEMENTATIONS: &'static [Implementation<ActivationGrad>] =
        &[Implementation::plain(|activation, context| {
            let kernel = match activation.function {
                Function::Tanh => &TANH_GRADIENT,
                Function::Sigmoid => &SIGMOID_GRADIENT,
            };
            let argument = ActivateGradient {
                y: context.read(activation.y),
                dy: context.read(activation.dy),
                dx: context.write(activation.dx.access()),
                pixels: int(activation.y.pixels()),
                channels: int(activation.y.channels()),
                y_stride: int(activation.y.stride),
                dy_stride: int(activation.dy.stride),
                dx_stride: int(activation.dx.tensor.stride),
                accumulate: i32::from(activation.dx.accumulates()),
            };
            vec![kernel.launch_for(activation.y.count(), argument)]
        })];
}
