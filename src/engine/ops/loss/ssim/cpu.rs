//! The SSIM loss on the CPU. The window is separable: weighted sums down the columns, then along the row; the gradient
//! goes the same way back.

use rayon::prelude::*;

use super::super::LossGrad;
use super::{C1, C2, WINDOW, Windows, weights};
use crate::engine::kernel::cpu::{Context, Real};
use crate::engine::tensor::Tensor;

/// Sums of a window: of x, t, x^2, t^2 and x t.
const SUMS: usize = 5;

/// Derivatives of a window's S: `dm`, `dxx` and `dxt`.
const DERIVATIVES: usize = 3;

/// The scratch memory, in elements: the derivatives of all windows, a row of sums for every row of pixels (which those
/// of windows use first), and the loss of every row of windows.
struct Scratch {
    derivatives: usize,
    row: usize,
    rows: usize,
    losses: usize,
}

impl Scratch {
    fn new(target: Tensor) -> Scratch {
        let ([n, h, w, c], windows) = (target.shape, Windows::new(target));
        let (derivatives, row) = (DERIVATIVES * windows.count(), SUMS * w * c);
        Scratch { derivatives, row, rows: n * h, losses: n * windows.rows }
    }

    fn total(&self) -> usize {
        self.derivatives + self.rows * self.row + self.losses
    }
}

/// Number of elements of scratch memory that the SSIM loss and its gradient need for pictures of `target`'s shape.
///
/// # Panics
/// If a side of the pictures is below [`WINDOW`].
pub fn workspace(target: Tensor) -> usize {
    Scratch::new(target).total()
}

impl LossGrad {
    /// Writes the gradient of `1 - SSIM`, and returns its sum over all windows and how many they are.
    pub(in super::super) fn ssim<T: Real>(&self, context: &Context<'_, T>, target: Tensor) -> (f64, usize) {
        let ([_, h, w, c], windows) = (target.shape, Windows::new(target));
        let Windows { rows, columns, .. } = windows;
        let (x, t) = (context.read(self.loss.x), context.read(target));
        let weights = weights().map(T::from_f64);
        let scratch = Scratch::new(target);
        let (derivatives, rest) = context.workspace(scratch.total()).split_at_mut(scratch.derivatives);
        let (sums, losses) = rest.split_at_mut(scratch.rows * scratch.row);

        let rows_of_windows =
            derivatives.par_chunks_mut(DERIVATIVES * columns * c).zip(sums.par_chunks_mut(scratch.row));
        rows_of_windows.zip(&mut *losses).enumerate().for_each(|(row, ((derivatives, down), loss))| {
            let (image, top) = (row / rows, row % rows);
            down.fill(T::zero());
            for (k, &weight) in weights.iter().enumerate() {
                let first = (image * h + top + k) * w;
                for (pixel, down) in (first..first + w).zip(down.chunks_exact_mut(SUMS * c)) {
                    let values = x.pixel(pixel).iter().zip(t.pixel(pixel));
                    for (down, (&x, &t)) in down.as_chunks_mut::<SUMS>().0.iter_mut().zip(values) {
                        let terms = [x, t, x * x, t * t, x * t];
                        down.iter_mut().zip(terms).for_each(|(down, term)| *down += weight * term);
                    }
                }
            }
            let down = down.as_chunks::<SUMS>().0;
            *loss = T::zero();
            for (window, derivatives) in derivatives.as_chunks_mut::<DERIVATIVES>().0.iter_mut().enumerate() {
                let mut means = [T::zero(); SUMS];
                for (down, &weight) in down[window..].iter().step_by(c).zip(&weights) {
                    means.iter_mut().zip(down).for_each(|(mean, &down)| *mean += weight * down);
                }
                let similarity;
                (similarity, *derivatives) = self::similarity(means);
                *loss += T::one() - similarity;
            }
        });
        let weight_per_window = T::from_f64(self.loss.weight / windows.count() as f64);
        let dx = context.write(self.dx.access());
        let stride = dx.stride;
        let rows_of_pixels = dx.data.par_chunks_mut(w * stride).zip(sums.par_chunks_mut(scratch.row));
        rows_of_pixels.enumerate().for_each(|(row, (dx, down))| {
            let (image, i) = (row / h, row % h);
            let down = &mut down[..DERIVATIVES * columns * c];
            down.fill(T::zero());
            for top in i.saturating_sub(WINDOW - 1)..rows.min(i + 1) {
                let weight = weights[i - top];
                let derivatives =
                    &derivatives[(image * rows + top) * DERIVATIVES * columns * c..][..DERIVATIVES * columns * c];
                down.iter_mut().zip(derivatives).for_each(|(down, &derivative)| *down += weight * derivative);
            }
            let down = down.as_chunks::<DERIVATIVES>().0;
            for (j, dx) in dx.chunks_mut(stride).enumerate() {
                let (x, t) = (x.pixel(row * w + j), t.pixel(row * w + j));
                for (channel, dx) in dx[..c].iter_mut().enumerate() {
                    let mut sums = [T::zero(); DERIVATIVES];
                    for left in j.saturating_sub(WINDOW - 1)..columns.min(j + 1) {
                        let weight = weights[j - left];
                        let derivatives = &down[left * c + channel];
                        sums.iter_mut().zip(derivatives).for_each(|(sum, &derivative)| *sum += weight * derivative);
                    }
                    let [dm, dxx, dxt] = sums;
                    let gradient = -weight_per_window * (dm + T::from_f64(2.0) * x[channel] * dxx + t[channel] * dxt);
                    *dx = if self.dx.accumulates() { *dx + gradient } else { gradient };
                }
            }
        });
        (losses.iter().map(|loss| loss.widen()).sum(), windows.count())
    }
}

/// S of a window from its means, and its derivatives by the means of x, x^2 and x t.
#[inline(always)]
fn similarity<T: Real>([mean_x, mean_t, xx, tt, xt]: [T; SUMS]) -> (T, [T; DERIVATIVES]) {
    let (two, c1, c2) = (T::from_f64(2.0), T::from_f64(C1), T::from_f64(C2));
    let a = two * mean_x * mean_t + c1;
    let b = two * (xt - mean_x * mean_t) + c2;
    let c = mean_x * mean_x + mean_t * mean_t + c1;
    let d = xx - mean_x * mean_x + tt - mean_t * mean_t + c2;
    let s = a * b / (c * d);
    let dm = two * mean_t * (b - a) / (c * d) + two * mean_x * (s / d - s / c);
    (s, [dm, -s / d, two * a / (c * d)])
}
