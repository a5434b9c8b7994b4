//! Casts on the CPU.

use super::Cast;
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};

impl<T: Real> CpuKernel<T> for Cast {
    fn run(&self, context: &Context<'_, T>) {
        let add = self.y.accumulates();
        if self.is_to_bf16() {
            let (x, mut y) = (context.read(self.x), context.write_bf16(self.y.access()));
            for p in 0..x.pixels() {
                for (y, &x) in y.pixel(p).iter_mut().zip(x.pixel(p)) {
                    *y = if add { T::from_bf16(*y) + x } else { x }.to_bf16();
                }
            }
        } else {
            let (x, mut y) = (context.read_bf16(self.x), context.write(self.y.access()));
            for p in 0..x.pixels() {
                for (y, &x) in y.pixel(p).iter_mut().zip(x.pixel(p)) {
                    *y = if add { *y + T::from_bf16(x) } else { T::from_bf16(x) };
                }
            }
        }
    }
}
