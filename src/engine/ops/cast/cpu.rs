//! Casts on the CPU.

use super::Cast;
use crate::engine::kernel::cpu::{Context, CpuKernel, Real, Stored};

impl<T: Real> CpuKernel<T> for Cast {
    fn run(&self, context: &Context<'_, T>) {
        if self.is_to_bf16() {
            self.run_as::<T, T, T::Bf16>(context);
        } else {
            self.run_as::<T, T::Bf16, T>(context);
        }
    }
}

impl Cast {
    fn run_as<T: Real, X: Stored<T>, Y: Stored<T>>(&self, context: &Context<'_, T>) {
        let (x, mut y) = (context.read_as::<X>(self.x), context.write_as::<Y>(self.y.access()));
        for p in 0..x.pixels() {
            for (y, &x) in y.pixel(p).iter_mut().zip(x.pixel(p)) {
                *y = Y::store(if self.y.accumulates() { y.load() + x.load() } else { x.load() });
            }
        }
    }
}
