//! Tanh and sigmoid on the CPU.

use rayon::prelude::*;

use super::{Activation, ActivationGrad, Function};
use crate::engine::access::Access;
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};

/// Pixels of one task.
const PIXELS: usize = 1024;

impl<T: Real> CpuKernel<T> for Activation {
    fn run(&self, context: &Context<'_, T>) {
        match self.function {
            Function::Tanh => self.apply(context, T::tanh),
            Function::Sigmoid => self.apply(context, |x| T::one() / (T::one() + (-x).exp())),
        }
    }
}

impl Activation {
    fn apply<T: Real>(&self, context: &Context<'_, T>, function: impl Fn(T) -> T + Sync) {
        let (x, y) = (context.read(self.x), context.write(Access::Write(self.y)));
        let (stride, channels) = (y.stride, y.channels());
        y.data.par_chunks_mut(stride).with_min_len(PIXELS).enumerate().for_each(|(p, y)| {
            y[..channels].iter_mut().zip(x.pixel(p)).for_each(|(y, &x)| *y = function(x));
        });
    }
}

impl<T: Real> CpuKernel<T> for ActivationGrad {
    fn run(&self, context: &Context<'_, T>) {
        match self.function {
            Function::Tanh => self.apply(context, |y| T::one() - y * y),
            Function::Sigmoid => self.apply(context, |y| y * (T::one() - y)),
        }
    }
}

impl ActivationGrad {
    /// Computes `dx = dy * derivative(y)`.
    fn apply<T: Real>(&self, context: &Context<'_, T>, derivative: impl Fn(T) -> T) {
        let (y, dy) = (context.read(self.y), context.read(self.dy));
        let mut dx = context.write(self.dx.access());
        for p in 0..y.pixels() {
            for ((dx, &y), &dy) in dx.pixel(p).iter_mut().zip(y.pixel(p)).zip(dy.pixel(p)) {
                let gradient = dy * derivative(y);
                *dx = if self.dx.accumulates() { *dx + gradient } else { gradient };
            }
        }
    }
}
