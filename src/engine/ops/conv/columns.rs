//! Convolution as a matrix product: the column matrices between the two grids, and back.
//!
//! A strided convolution joins a *big* grid (its input) and a *small* grid (its output); a transposed convolution joins the
//! same two grids the other way round. Pixel `q` of the small grid meets pixel `q * stride + tap * dilation - pad` of the big
//! grid at each kernel tap. Both directions of both are one of four movements: gather the taps of one grid into the rows of a
//! matrix, or sum the rows of a matrix into the pixels of one grid.

use rayon::prelude::*;

use super::Geometry;
use crate::engine::kernel::cpu::{Real, View, ViewMut};

/// Rows of pixels handled by one task: enough work to be worth a thread.
fn rows_per_task(row_elements: usize) -> usize {
    (1_usize << 14).div_ceil(row_elements.max(1))
}

/// `columns[[n, qh, qw], [tap, c]]` = the pixel of `big` that `tap` of small pixel `q` meets, or 0.
pub(super) fn gather_big<T: Real>(columns: &mut [T], big: View<'_, T>, small: [usize; 2], geometry: Geometry) {
    let [_, height, width, channels] = big.shape;
    let [kernel_rows, kernel_columns] = geometry.kernel;
    let row = small[1] * geometry.taps() * channels;
    columns.par_chunks_mut(row).with_min_len(rows_per_task(row)).enumerate().for_each(|(index, columns)| {
        let (n, qh) = (index / small[0], index % small[0]);
        for (qw, taps) in columns.chunks_exact_mut(geometry.taps() * channels).enumerate() {
            for (kh, taps) in taps.chunks_exact_mut(kernel_columns * channels).enumerate().take(kernel_rows) {
                let Some(ph) = geometry.big(0, qh, kh, height) else {
                    taps.fill(T::zero());
                    continue;
                };
                for (kw, tap) in taps.chunks_exact_mut(channels).enumerate() {
                    match geometry.big(1, qw, kw, width) {
                        Some(pw) => tap.copy_from_slice(big.pixel((n * height + ph) * width + pw)),
                        None => tap.fill(T::zero()),
                    }
                }
            }
        }
    });
}

/// `columns[[n, ph, pw], [c, tap]]` = the pixel of `small` whose `tap` meets big pixel `p`, or 0.
pub(super) fn gather_small<T: Real>(columns: &mut [T], small: View<'_, T>, big: [usize; 2], geometry: Geometry) {
    let [_, height, width, channels] = small.shape;
    let row = big[1] * geometry.taps() * channels;
    columns.par_chunks_mut(row).with_min_len(rows_per_task(row)).enumerate().for_each(|(index, columns)| {
        let (n, ph) = (index / big[0], index % big[0]);
        columns.fill(T::zero());
        for (pw, taps) in columns.chunks_exact_mut(geometry.taps() * channels).enumerate() {
            for_each_small(ph, pw, [height, width], geometry, |tap, qh, qw| {
                let pixel = small.pixel((n * height + qh) * width + qw);
                for (c, &value) in pixel.iter().enumerate() {
                    taps[c * geometry.taps() + tap] = value;
                }
            });
        }
    });
}

/// Adds the rows of `columns[[n, qh, qw], [tap, c]]` into the pixels of `big` that they meet. `bias` and, when `accumulate`,
/// the pixels themselves are where the sums start.
pub(super) fn sum_into_big<T: Real>(
    big: &mut ViewMut<'_, T>,
    columns: &[T],
    small: [usize; 2],
    geometry: Geometry,
    bias: Option<&[T]>,
    accumulate: bool,
) {
    let channels = big.channels();
    for_each_row(big, |n, ph, pw, pixel| {
        start_sum(pixel, bias, accumulate);
        for_each_small(ph, pw, small, geometry, |tap, qh, qw| {
            let q = (n * small[0] + qh) * small[1] + qw;
            let column = &columns[(q * geometry.taps() + tap) * channels..][..channels];
            pixel.iter_mut().zip(column).for_each(|(sum, &x)| *sum += x);
        });
    });
}

/// Adds the rows of `columns[[n, ph, pw], [c, tap]]` into the pixels of `small` that they meet.
pub(super) fn sum_into_small<T: Real>(
    small: &mut ViewMut<'_, T>,
    columns: &[T],
    big: [usize; 2],
    geometry: Geometry,
    bias: Option<&[T]>,
    accumulate: bool,
) {
    let channels = small.channels();
    let taps = geometry.taps();
    for_each_row(small, |n, qh, qw, pixel| {
        start_sum(pixel, bias, accumulate);
        for kh in 0..geometry.kernel[0] {
            let Some(ph) = geometry.big(0, qh, kh, big[0]) else { continue };
            for kw in 0..geometry.kernel[1] {
                let Some(pw) = geometry.big(1, qw, kw, big[1]) else { continue };
                let p = (n * big[0] + ph) * big[1] + pw;
                let column = &columns[p * channels * taps..][..channels * taps];
                let tap = kh * geometry.kernel[1] + kw;
                pixel.iter_mut().zip(column[tap..].iter().step_by(taps)).for_each(|(sum, &x)| *sum += x);
            }
        }
    });
}

fn start_sum<T: Real>(pixel: &mut [T], bias: Option<&[T]>, accumulate: bool) {
    match bias {
        Some(bias) if accumulate => pixel.iter_mut().zip(bias).for_each(|(sum, &b)| *sum += b),
        Some(bias) => pixel.copy_from_slice(bias),
        None if accumulate => {}
        None => pixel.fill(T::zero()),
    }
}

/// Calls `visit(tap, qh, qw)` for every small pixel and tap that meet big pixel `(ph, pw)`.
#[inline(always)]
fn for_each_small(
    ph: usize,
    pw: usize,
    small: [usize; 2],
    geometry: Geometry,
    mut visit: impl FnMut(usize, usize, usize),
) {
    for kh in 0..geometry.kernel[0] {
        let Some(qh) = geometry.small(0, ph, kh, small[0]) else { continue };
        for kw in 0..geometry.kernel[1] {
            let Some(qw) = geometry.small(1, pw, kw, small[1]) else { continue };
            visit(kh * geometry.kernel[1] + kw, qh, qw);
        }
    }
}

/// Calls `visit(n, h, w, channels)` for every pixel, rows of the image in parallel.
fn for_each_row<T: Real>(view: &mut ViewMut<'_, T>, visit: impl Fn(usize, usize, usize, &mut [T]) + Sync) {
    let ([_, height, width, channels], stride) = (view.shape, view.stride);
    let row = width * stride;
    let tasks = rows_per_task(width * channels);
    view.data.par_chunks_mut(row).with_min_len(tasks).enumerate().for_each(|(index, pixels)| {
        for (w, pixel) in pixels.chunks_mut(stride).enumerate() {
            visit(index / height, index % height, w, &mut pixel[..channels]);
        }
    });
}
