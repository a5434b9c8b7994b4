//! Folding and pixel shuffle on the CPU.

use super::{Fold, FoldGrad, Shuffle, ShuffleGrad, folded};
use crate::engine::access::Access;
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};
use crate::engine::tensor::Shape;

/// Calls `visit(tap of the folded weight, tap of the weight)` for each tap of each phase. A tap is an offset in units
/// of input channels.
fn for_each_tap(weight: Shape, mut visit: impl FnMut(usize, usize)) {
    let [filters, rows, columns, _] = weight;
    for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for k in 0..filters {
            for (r, s) in (0..rows).flat_map(|r| (0..columns).map(move |s| (r, s))) {
                let phase = (a * 2 + b) * filters + k;
                visit((phase * 3 + folded(a, r)) * 3 + folded(b, s), (k * rows + r) * columns + s);
            }
        }
    }
}

impl<T: Real> CpuKernel<T> for Fold {
    fn run(&self, context: &Context<'_, T>) {
        let weight = context.read(self.weight);
        let mut folded = context.write(Access::Write(self.folded));
        folded.data.fill(T::zero());
        for_each_tap(weight.shape, |to, from| {
            folded.pixel(to).iter_mut().zip(weight.pixel(from)).for_each(|(sum, &w)| *sum += w);
        });
    }
}

impl<T: Real> CpuKernel<T> for FoldGrad {
    fn run(&self, context: &Context<'_, T>) {
        let dfolded = context.read(self.dfolded);
        let mut dweight = context.write(self.dweight.access());
        if !self.dweight.accumulates() {
            dweight.data.fill(T::zero());
        }
        for_each_tap(dweight.shape, |from, to| {
            dweight.pixel(to).iter_mut().zip(dfolded.pixel(from)).for_each(|(sum, &w)| *sum += w);
        });
    }
}

/// Calls `visit(y pixel, x pixel, first channel of its phase in x)` for every pixel of the output y, `[n, h, w, c]`.
fn for_each_pixel([images, height, width, channels]: Shape, mut visit: impl FnMut(usize, usize, usize)) {
    for row in 0..images * height {
        for w in 0..width {
            // Images have an even number of rows, so half the row among all images is the row of x.
            let x_pixel = row / 2 * (width / 2) + w / 2;
            visit(row * width + w, x_pixel, (row % 2 * 2 + w % 2) * channels);
        }
    }
}

impl<T: Real> CpuKernel<T> for Shuffle {
    fn run(&self, context: &Context<'_, T>) {
        let (x, bias) = (context.read(self.x), context.read(self.bias).data);
        let mut y = context.write(Access::Write(self.y));
        for_each_pixel(y.shape, |y_pixel, x_pixel, phase| {
            let x = &x.pixel(x_pixel)[phase..];
            y.pixel(y_pixel).iter_mut().zip(x).zip(bias).for_each(|((y, &x), &bias)| *y = x + bias);
        });
    }
}

impl<T: Real> CpuKernel<T> for ShuffleGrad {
    fn run(&self, context: &Context<'_, T>) {
        let dy = context.read(self.dy);
        let mut dx = context.write(self.dx.access());
        for_each_pixel(dy.shape, |y_pixel, x_pixel, phase| {
            for (dx, &dy) in dx.pixel(x_pixel)[phase..].iter_mut().zip(dy.pixel(y_pixel)) {
                *dx = if self.dx.accumulates() { *dx + dy } else { dy };
            }
        });
    }
}
