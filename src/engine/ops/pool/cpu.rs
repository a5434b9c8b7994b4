//! Average pooling on the CPU.

use rayon::prelude::*;

use super::{AvgPool, AvgPoolGrad, window, windows_of};
use crate::engine::access::Access;
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};

/// Pixels of one task.
const PIXELS: usize = 256;

impl<T: Real> CpuKernel<T> for AvgPool {
    fn run(&self, context: &Context<'_, T>) {
        let (x, y) = (context.read(self.x), context.write(Access::Write(self.y)));
        let ([_, h, w, _], [_, rows, columns, channels], stride) = (x.shape, y.shape, y.stride);
        y.data.par_chunks_mut(stride).with_min_len(PIXELS).enumerate().for_each(|(pixel, y)| {
            let (image, i, j) = (pixel / columns / rows, pixel / columns % rows, pixel % columns);
            let (i, j) = (window(i, h), window(j, w));
            let factor = T::one() / T::from_f64((i.len() * j.len()) as f64);
            let y = &mut y[..channels];
            y.fill(T::zero());
            for pixel in i.flat_map(|i| j.clone().map(move |j| (image * h + i) * w + j)) {
                y.iter_mut().zip(x.pixel(pixel)).for_each(|(y, &x)| *y += x);
            }
            y.iter_mut().for_each(|y| *y *= factor);
        });
    }
}

impl<T: Real> CpuKernel<T> for AvgPoolGrad {
    fn run(&self, context: &Context<'_, T>) {
        let (dy, dx) = (context.read(self.dy), context.write(self.dx.access()));
        let ([_, rows, columns, _], [_, h, w, channels], stride) = (dy.shape, dx.shape, dx.stride);
        dx.data.par_chunks_mut(stride).with_min_len(PIXELS).enumerate().for_each(|(pixel, dx)| {
            let (image, i, j) = (pixel / w / h, pixel / w % h, pixel % w);
            let (i, j) = (windows_of(i, rows), windows_of(j, columns));
            let dx = &mut dx[..channels];
            if !self.dx.accumulates() {
                dx.fill(T::zero());
            }
            for (i, j) in i.flat_map(|i| j.clone().map(move |j| (i, j))) {
                let factor = T::one() / T::from_f64((window(i, h).len() * window(j, w).len()) as f64);
                let dy = dy.pixel((image * rows + i) * columns + j);
                dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += factor * dy);
            }
        });
    }
}
