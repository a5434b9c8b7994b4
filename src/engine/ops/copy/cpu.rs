//! Copies on the CPU.

use super::Copy;
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};

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
