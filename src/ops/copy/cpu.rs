//! Copies on the CPU.

use super::{Copy, Fill};
use crate::device::cpu::{Context, CpuKernel, Real};
use crate::program::Access;

impl<T: Real> CpuKernel<T> for Copy {
    fn run(&self, context: &Context<'_, T>) {
        let (from, mut to) = (context.read(self.from), context.write(self.to.access()));
        for p in 0..from.pixels() {
            if self.to.accumulates() {
                to.pixel(p).iter_mut().zip(from.pixel(p)).for_each(|(sum, &x)| *sum += x);
            } else {
                to.pixel(p).copy_from_slice(from.pixel(p));
            }
        }
    }
}

impl<T: Real> CpuKernel<T> for Fill {
    fn run(&self, context: &Context<'_, T>) {
        let mut tensor = context.write(Access::Write(self.tensor));
        for p in 0..tensor.pixels() {
            tensor.pixel(p).fill(T::of(self.value));
        }
    }
}
