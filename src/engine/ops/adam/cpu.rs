//! Adam on the CPU.

use rayon::prelude::*;

use super::{Adam, AdamOptions, Advance};
use crate::engine::access::{Access, Control};
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};
use crate::engine::simd::vectorized;

/// Elements of one task.
const CHUNK: usize = 1 << 16;

/// One update, whichever elements it is of.
#[derive(Clone, Copy)]
pub struct Update<T> {
    step_size: T,
    root_correction: T,
    epsilon: T,
    keep: [T; 2],
    take: [T; 2],
}

impl<T: Real> Update<T> {
    /// The update of the step that `control` is at.
    pub fn new(options: AdamOptions, control: Control) -> Update<T> {
        let Control { step, learning_rate, .. } = control;
        let update = (step + 1) as f64;
        let betas = [options.beta1, options.beta2];
        let corrections = betas.map(|beta| 1.0 - beta.powf(update));
        Update {
            step_size: T::of(learning_rate / corrections[0]),
            root_correction: T::of(corrections[1].sqrt()),
            epsilon: T::of(options.epsilon),
            keep: betas.map(T::of),
            take: betas.map(|beta| T::of(1.0 - beta)),
        }
    }

    /// Updates parameters and moments by their gradients.
    pub fn apply(&self, parameters: &mut [T], gradients: &[T], first: &mut [T], second: &mut [T]) {
        let Update { step_size, root_correction, epsilon, keep: [keep1, keep2], take: [take1, take2] } = *self;
        vectorized(
            #[inline(always)]
            || {
                let moments = first.iter_mut().zip(second.iter_mut());
                for ((parameter, &gradient), (first, second)) in parameters.iter_mut().zip(gradients).zip(moments) {
                    *first = *first * keep1 + gradient * take1;
                    *second = *second * keep2 + gradient * gradient * take2;
                    let denominator = second.sqrt() / root_correction + epsilon;
                    *parameter -= step_size * *first / denominator;
                }
            },
        );
    }
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
