//! Hyperbolic tangent on the CPU.

use rayon::prelude::*;

use super::{Tanh, TanhGrad};
use crate::device::cpu::{Context, CpuKernel, Real};
use crate::program::Access;

/// Pixels of one task.
const PIXELS: usize = 1024;

impl<T: Real> CpuKernel<T> for Tanh {
    fn run(&self, context: &Context<'_, T>) {
        let (x, y) = (context.read(self.x), context.write(Access::Write(self.y)));
        let (stride, channels) = (y.stride, y.channels());
        y.data.par_chunks_mut(stride).with_min_len(PIXELS).enumerate().for_each(|(p, y)| {
            y[..channels].iter_mut().zip(x.pixel(p)).for_each(|(y, x)| *y = x.tanh());
        });
    }
}

impl<T: Real> CpuKernel<T> for TanhGrad {
    fn run(&self, context: &Context<'_, T>) {
        let (y, dy) = (context.read(self.y), context.read(self.dy));
        let mut dx = context.write(self.dx.access());
        for p in 0..y.pixels() {
            for ((dx, &y), &dy) in dx.pixel(p).iter_mut().zip(y.pixel(p)).zip(dy.pixel(p)) {
                let gradient = dy * (T::one() - y * y);
                *dx = if self.dx.accumulates() { *dx + gradient } else { gradient };
            }
        }
    }
}
