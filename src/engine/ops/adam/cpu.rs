//! Adam on the CPU.

use rayon::prelude::*;

use super::{Adam, AdamOptions, Advance};
use crate::engine::access::{Access, Control};
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};
use crate::engine::simd::vectorized;

/// Elements of one task.
const CHUNK: usize = 1 << 16;

/// Elements that are left as they are if none of them has a gradient or moments.
const RANGE: usize = 256;

/// The scalars of one Adam update, which are the same for all parameters: betas, epsilon, and the learning rate with
/// the bias corrections.
#[derive(Clone, Copy)]
pub struct Update<T> {
    /// `learning rate / (1 - beta1^t)`.
    step_size: T,
    /// `sqrt(1 - beta2^t)`.
    sqrt_bias_correction2: T,
    epsilon: T,
    beta1: T,
    beta2: T,
    /// `1 - beta1`, rounded once.
    one_minus_beta1: T,
    one_minus_beta2: T,
}

impl<T: Real> Update<T> {
    /// Computes the scalars of the update at t = `control.step + 1`, with the learning rate in `control`.
    pub fn new(AdamOptions { beta1, beta2, epsilon }: AdamOptions, control: Control) -> Update<T> {
        let t = (control.step + 1) as f64;
        Update {
            step_size: T::from_f64(control.learning_rate / (1.0 - beta1.powf(t))),
            sqrt_bias_correction2: T::from_f64((1.0 - beta2.powf(t)).sqrt()),
            epsilon: T::from_f64(epsilon),
            beta1: T::from_f64(beta1),
            beta2: T::from_f64(beta2),
            one_minus_beta1: T::from_f64(1.0 - beta1),
            one_minus_beta2: T::from_f64(1.0 - beta2),
        }
    }

    /// Updates `parameters`, first moments and second moments in place by `gradients`. All four slices have one length.
    ///
    /// Ranges without gradient or moments stay as they are, and are not written: on a map of one pixel, most taps of a
    /// kernel meet padding alone, and millions of weights never have a gradient.
    ///
    /// Moments below the least normal number become zero. Those of a weight without gradient fade, by half in each step
    /// or by a thousandth, and would stay subnormal numbers, which CPUs compute with many times as slowly.
    pub fn apply(&self, parameters: &mut [T], gradients: &[T], first: &mut [T], second: &mut [T]) {
        let Update { step_size, sqrt_bias_correction2, epsilon, .. } = *self;
        let Update { beta1, beta2, one_minus_beta1, one_minus_beta2, .. } = *self;
        vectorized(
            #[inline(always)]
            || {
                let moments = first.chunks_mut(RANGE).zip(second.chunks_mut(RANGE));
                let weights = parameters.chunks_mut(RANGE).zip(gradients.chunks(RANGE));
                for ((parameters, gradients), (first, second)) in weights.zip(moments) {
                    if are_zero(gradients) && are_zero(first) && are_zero(second) {
                        continue;
                    }
                    let moments = first.iter_mut().zip(second);
                    for ((parameter, &gradient), (first, second)) in parameters.iter_mut().zip(gradients).zip(moments) {
                        *first = flushed(*first * beta1 + gradient * one_minus_beta1);
                        *second = flushed(*second * beta2 + gradient * gradient * one_minus_beta2);
                        let denominator = second.sqrt() / sqrt_bias_correction2 + epsilon;
                        *parameter -= step_size * *first / denominator;
                    }
                }
            },
        );
    }
}

/// True if all of `numbers` are zero. It looks at the first one before all others, which are compared without a branch.
#[inline(always)]
fn are_zero<T: Real>(numbers: &[T]) -> bool {
    numbers[0].is_zero() && numbers.iter().fold(true, |zero, x| zero & x.is_zero())
}

/// The number, or zero where it is subnormal.
#[inline(always)]
fn flushed<T: Real>(x: T) -> T {
    // NaN stays NaN.
    if x.abs() < T::min_positive_value() { T::zero() } else { x }
}

impl<T: Real> CpuKernel<T> for Adam {
    fn run(&self, context: &Context<'_, T>) {
        let update = Update::<T>::new(self.options, context.control());
        let parameters = context.write(Access::Update(self.parameters)).data.par_chunks_mut(CHUNK);
        let first = context.write(Access::Update(self.first)).data.par_chunks_mut(CHUNK);
        let second = context.write(Access::Update(self.second)).data.par_chunks_mut(CHUNK);
        let gradients = context.read(self.gradients).data.par_chunks(CHUNK);
        parameters.zip(gradients).zip(first).zip(second).for_each(|(((parameters, gradients), first), second)| {
            update.apply(parameters, gradients, first, second);
        });
    }
}

impl<T: Real> CpuKernel<T> for Advance {
    fn run(&self, context: &Context<'_, T>) {
        let control = context.control();
        context.set_control(Control { step: control.step + 1, ..control });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_that_fade_become_zero() {
        let options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
        let update = Update::<f32>::new(options, Control { seed: 0, step: 9, learning_rate: 2e-4 });
        let least = f32::MIN_POSITIVE;
        let (mut first, mut second) = ([1.5 * least, 2.0 * least, -least, f32::NAN], [least, 2.0 * least, 0.0, 1.0]);
        let mut parameters = [1.0; 4];
        update.apply(&mut parameters, &[0.0; 4], &mut first, &mut second);
        assert_eq!(first[..3], [0.0, least, 0.0]);
        assert_eq!(second[..3], [0.0, 2.0 * least * 0.999, 0.0]);
        assert!(first[3].is_nan() && parameters[3].is_nan(), "NaN shows");
        assert_eq!(parameters[..3], [1.0; 3]);
    }
}
