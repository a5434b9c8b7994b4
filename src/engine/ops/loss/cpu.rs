//! Losses on the CPU.

use rayon::prelude::*;

use super::{Criterion, LossGrad, ssim};
use crate::engine::access::Access;
use crate::engine::kernel::cpu::{Context, CpuKernel, Real, Stored};
use crate::engine::tensor::DType;

/// Pixels of one task. The sums of the tasks are added up in order, so that the value does not depend on the number of
/// threads.
const PIXELS: usize = 512;

impl<T: Real> CpuKernel<T> for LossGrad {
    fn workspace(&self) -> usize {
        match self.loss.criterion {
            Criterion::Ssim { target } => ssim::cpu::workspace(target),
            _ => self.loss.x.pixels().div_ceil(PIXELS),
        }
    }

    fn run(&self, context: &Context<'_, T>) {
        let (sum, count) = match self.loss.criterion {
            Criterion::Ssim { target } => self.ssim(context, target),
            _ => return self.compute(context, context.workspace(CpuKernel::<T>::workspace(self))),
        };
        context.write(Access::Write(self.loss.value)).data[0] = T::from_f64(sum / count as f64);
    }
}

impl LossGrad {
    /// Computes a loss by element and its gradient. `sums` has as many elements as its workspace, or more.
    ///
    /// # Panics
    /// If the criterion is SSIM.
    pub(super) fn compute<T: Real>(&self, context: &Context<'_, T>, sums: &mut [T]) {
        match self.loss.x.dtype() {
            DType::F32 => self.compute_as::<T, T>(context, sums),
            DType::Bf16 => self.compute_as::<T, T::Bf16>(context, sums),
        }
    }

    /// Does the work of `compute` on activations that are stored as `E`.
    fn compute_as<T: Real, E: Stored<T>>(&self, context: &Context<'_, T>, sums: &mut [T]) {
        let count = self.loss.x.count();
        let weight_per_element = T::from_f64(self.loss.weight / count as f64);
        let sum = match self.loss.criterion {
            Criterion::Mse { target } => {
                let target = T::from_f64(target);
                self.sum::<T, E>(context, sums, |x, _| squared(x - target, weight_per_element))
            }
            Criterion::Bce { target } => {
                let target = T::from_f64(target);
                self.sum::<T, E>(context, sums, |x, _| cross_entropy(x, target, weight_per_element))
            }
            Criterion::BceLogits { target } => {
                let target = T::from_f64(target);
                self.sum::<T, E>(context, sums, |x, _| cross_entropy_of_logit(x, target, weight_per_element))
            }
            Criterion::L2 { .. } => {
                self.sum::<T, E>(context, sums, |x, target| squared(x - target, weight_per_element))
            }
            Criterion::L1 { .. } => self.sum::<T, E>(context, sums, |x, target| {
                let error = x - target;
                let sign = if error == T::zero() { T::zero() } else { error.signum() };
                (error.abs(), sign * weight_per_element)
            }),
            Criterion::Ssim { .. } => unreachable!("SSIM is computed by windows"),
        };
        context.write(Access::Write(self.loss.value)).data[0] = T::from_f64(sum / count as f64);
    }

    /// The sum over all elements of the first result of `terms(element, element of the target)`; the second result is
    /// written as the gradient. A loss without a tensor as target gets zeros.
    fn sum<T: Real, E: Stored<T>>(
        &self,
        context: &Context<'_, T>,
        sums: &mut [T],
        terms: impl Fn(T, T) -> (T, T) + Sync,
    ) -> f64 {
        let x = context.read_as::<E>(self.loss.x);
        let target = self.loss.criterion.target().map(|target| context.operand(target));
        let dx = context.write_as::<E>(self.dx.access());
        let (channels, stride) = (dx.channels(), dx.stride);
        let sums = &mut sums[..self.loss.x.pixels().div_ceil(PIXELS)];
        let tasks = dx.data.par_chunks_mut(stride * PIXELS).zip(&mut *sums).enumerate();
        tasks.for_each(|(task, (pixels, sum))| {
            // In f64: sums of hundreds of terms lose digits of f32.
            let mut total = 0.0;
            for (i, pixel) in pixels.chunks_mut(stride).enumerate() {
                let p = task * PIXELS + i;
                for (c, (dx, x)) in pixel[..channels].iter_mut().zip(x.pixel(p)).enumerate() {
                    let of_target = target.as_ref().map_or(T::zero(), |target| target.at(p, c));
                    let (term, gradient) = terms(x.load(), of_target);
                    total += term.widen();
                    *dx = E::store(if self.dx.accumulates() { dx.load() + gradient } else { gradient });
                }
            }
            *sum = T::from_f64(total);
        });
        sums.iter().map(|sum| sum.widen()).sum()
    }
}

/// The square of `error`, and its derivative times `weight_per_element`.
fn squared<T: Real>(error: T, weight_per_element: T) -> (T, T) {
    (error * error, T::from_f64(2.0) * error * weight_per_element)
}

/// The cross-entropy of probability `p`, and its derivative times `weight_per_element`.
fn cross_entropy<T: Real>(p: T, target: T, weight_per_element: T) -> (T, T) {
    let (one, least) = (T::one(), T::from_f64(-100.0));
    // Unlike `max`, this keeps NaN.
    let at_least = |x: T| if x < least { least } else { x };
    let term = (target - one) * at_least((-p).ln_1p()) - target * at_least(p.ln());
    (term, (p - target) / ((one - p) * p).max(T::from_f64(1e-12)) * weight_per_element)
}

/// The cross-entropy of `sigmoid(x)`, and its derivative times `weight_per_element`. It cannot overflow: the only
/// exponential is `exp(-|x|)`.
fn cross_entropy_of_logit<T: Real>(x: T, target: T, weight_per_element: T) -> (T, T) {
    let one = T::one();
    let small = (-x.abs()).exp();
    let sigmoid = if x >= T::zero() { one / (one + small) } else { small / (one + small) };
    (x.max(T::zero()) - x * target + small.ln_1p(), (sigmoid - target) * weight_per_element)
}
