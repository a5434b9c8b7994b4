//! Adam on the CPU.

use rayon::prelude::*;

use super::{Adam, Advance};
use crate::engine::access::{Access, Control};
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};
use crate::engine::simd::vectorized;

/// Elements of one task.
const CHUNK: usize = 1 << 16;

impl<T: Real> CpuKernel<T> for Adam {
    fn run(&self, context: &Context<'_, T>) {
        let Control { step, learning_rate, .. } = context.control();
        let update = (step + 1) as f64;
        let [beta1, beta2] = [self.options.beta1, self.options.beta2];
        let corrections = [1.0 - beta1.powf(update), 1.0 - beta2.powf(update)];
        let step_size = T::of(learning_rate / corrections[0]);
        let root_correction = T::of(corrections[1].sqrt());
        let epsilon = T::of(self.options.epsilon);
        let [keep1, keep2] = [T::of(beta1), T::of(beta2)];
        let [take1, take2] = [T::of(1.0 - beta1), T::of(1.0 - beta2)];

        let parameters = context.write(Access::Update(self.parameters)).data.par_chunks_mut(CHUNK);
        let first = context.write(Access::Update(self.first)).data.par_chunks_mut(CHUNK);
        let second = context.write(Access::Update(self.second)).data.par_chunks_mut(CHUNK);
        let gradients = context.read(self.gradients).data.par_chunks(CHUNK);
        parameters.zip(gradients).zip(first).zip(second).for_each(|(((parameters, gradients), first), second)| {
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
        });
    }
}

impl<T: Real> CpuKernel<T> for Advance {
    fn run(&self, context: &Context<'_, T>) {
        let control = context.control();
        context.set_control(Control { step: control.step + 1, ..control });
    }
}
