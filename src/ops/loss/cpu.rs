//! Losses on the CPU.

use rayon::prelude::*;

use super::{Criterion, LossGrad};
use crate::device::cpu::{Context, CpuKernel, Real};
use crate::program::Access;

/// Pixels of one task. Each sums on its own and the sums are added in order, so that the value does not depend on the
/// number of threads.
const PIXELS: usize = 512;

impl<T: Real> CpuKernel<T> for LossGrad {
    fn workspace(&self) -> usize {
        self.loss.of.pixels().div_ceil(PIXELS)
    }

    fn run(&self, context: &Context<'_, T>) {
        let x = context.read(self.loss.of);
        let count = self.loss.of.count() as f64;
        let scale = T::of(self.loss.weight / count);
        let sum = match self.loss.criterion {
            Criterion::Mse { target } => {
                let (target, two) = (T::of(target), T::of(2.0));
                self.sum(context, |p, c| {
                    let error = x.pixel(p)[c] - target;
                    (error * error, two * error * scale)
                })
            }
            Criterion::L1 { target } => {
                let target = context.read(target);
                self.sum(context, |p, c| {
                    let error = x.pixel(p)[c] - target.pixel(p)[c];
                    let sign = if error == T::zero() { T::zero() } else { error.signum() };
                    (error.abs(), sign * scale)
                })
            }
        };
        context.write(Access::Write(self.loss.value)).data[0] = T::of(sum / count);
    }
}

impl LossGrad {
    /// Sums the first result of `terms(pixel, channel)` and writes the second as the gradient.
    fn sum<T: Real>(&self, context: &Context<'_, T>, terms: impl Fn(usize, usize) -> (T, T) + Sync) -> f64 {
        let gradient = context.write(self.gradient.access());
        let (channels, stride) = (gradient.channels(), gradient.stride);
        let sums = context.workspace(CpuKernel::<T>::workspace(self));
        let tasks = gradient.data.par_chunks_mut(stride * PIXELS).zip(&mut *sums).enumerate();
        tasks.for_each(|(task, (pixels, sum))| {
            *sum = T::zero();
            for (p, pixel) in pixels.chunks_mut(stride).enumerate() {
                for (c, gradient) in pixel[..channels].iter_mut().enumerate() {
                    let (term, slope) = terms(task * PIXELS + p, c);
                    *sum += term;
                    *gradient = if self.gradient.accumulates() { *gradient + slope } else { slope };
                }
            }
        });
        sums.iter().map(|sum| sum.widen()).sum()
    }
}
