//! Column matrices, by which a convolution is a matrix product: im2col and col2im, for its input and for its output.
//!
//! Each kernel tap of output pixel `q` reads input pixel `q * stride + tap * dilation - pad`. The forward pass and the
//! gradients of a convolution or a transposed one are matrix products with one of four movements of data: gather the
//! taps of the input or of the output into the rows of a matrix (im2col), or sum the rows of a matrix into the pixels
//! of either (col2im).

use rayon::prelude::*;

use super::Geometry;
use crate::engine::kernel::cpu::{Real, View, ViewMut};

/// Rows of pixels of one task: enough work for a thread.
fn rows_per_task(row_elements: usize) -> usize {
    (1_usize << 14).div_ceil(row_elements.max(1))
}

/// Im2col of the input: `columns[[n, qh, qw], [tap, c]]` = the pixel of `input` that `tap` of output pixel `q` reads,
/// or 0.
pub(super) fn gather_input<T: Real>(columns: &mut [T], input: View<'_, T>, output: [usize; 2], geometry: Geometry) {
    let [_, height, width, channels] = input.shape;
    let [kernel_rows, kernel_columns] = geometry.kernel;
    let row = output[1] * geometry.taps() * channels;
    columns.par_chunks_mut(row).with_min_len(rows_per_task(row)).enumerate().for_each(|(index, columns)| {
        let (n, qh) = (index / output[0], index % output[0]);
        for (qw, taps) in columns.chunks_exact_mut(geometry.taps() * channels).enumerate() {
            for (kh, taps) in taps.chunks_exact_mut(kernel_columns * channels).enumerate().take(kernel_rows) {
                let Some(ph) = geometry.input(0, qh, kh, height) else {
                    taps.fill(T::zero());
                    continue;
                };
                for (kw, tap) in taps.chunks_exact_mut(channels).enumerate() {
                    match geometry.input(1, qw, kw, width) {
                        Some(pw) => tap.copy_from_slice(input.pixel((n * height + ph) * width + pw)),
                        None => tap.fill(T::zero()),
                    }
                }
            }
        }
    });
}

/// Im2col of the output: `columns[[n, ph, pw], [c, tap]]` = the pixel of `output` whose `tap` reads input pixel `p`, or
/// 0.
pub(super) fn gather_output<T: Real>(columns: &mut [T], output: View<'_, T>, input: [usize; 2], geometry: Geometry) {
    let [_, height, width, channels] = output.shape;
    let row = input[1] * geometry.taps() * channels;
    columns.par_chunks_mut(row).with_min_len(rows_per_task(row)).enumerate().for_each(|(index, columns)| {
        let (n, ph) = (index / input[0], index % input[0]);
        columns.fill(T::zero());
        for (pw, taps) in columns.chunks_exact_mut(geometry.taps() * channels).enumerate() {
            for_each_output(ph, pw, [height, width], geometry, |tap, qh, qw| {
                let pixel = output.pixel((n * height + qh) * width + qw);
                for (c, &value) in pixel.iter().enumerate() {
                    taps[c * geometry.taps() + tap] = value;
                }
            });
        }
    });
}

/// Col2im of the input: adds the rows of `columns[[n, qh, qw], [tap, c]]` to the pixels of `input` that their taps
/// read. The sums start from `bias`, and if `accumulate` from the pixels' values.
pub(super) fn sum_into_input<T: Real>(
    input: &mut ViewMut<'_, T>,
    columns: &[T],
    output: [usize; 2],
    geometry: Geometry,
    bias: Option<&[T]>,
    accumulate: bool,
) {
    let channels = input.channels();
    for_each_row(input, |n, ph, pw, pixel| {
        start_sum(pixel, bias, accumulate);
        for_each_output(ph, pw, output, geometry, |tap, qh, qw| {
            let q = (n * output[0] + qh) * output[1] + qw;
            let column = &columns[(q * geometry.taps() + tap) * channels..][..channels];
            pixel.iter_mut().zip(column).for_each(|(sum, &x)| *sum += x);
        });
    });
}

/// Col2im of the output: adds the rows of `columns[[n, ph, pw], [c, tap]]` to the pixels of `output` whose taps read
/// them. The sums start as in [`sum_into_input`].
pub(super) fn sum_into_output<T: Real>(
    output: &mut ViewMut<'_, T>,
    columns: &[T],
    input: [usize; 2],
    geometry: Geometry,
    bias: Option<&[T]>,
    accumulate: bool,
) {
    let channels = output.channels();
    let taps = geometry.taps();
    for_each_row(output, |n, qh, qw, pixel| {
        start_sum(pixel, bias, accumulate);
        for kh in 0..geometry.kernel[0] {
            let Some(ph) = geometry.input(0, qh, kh, input[0]) else { continue };
            for kw in 0..geometry.kernel[1] {
                let Some(pw) = geometry.input(1, qw, kw, input[1]) else { continue };
                let p = (n * input[0] + ph) * input[1] + pw;
                let column = &columns[p * channels * taps..][..channels * taps];
                let tap = kh * geometry.kernel[1] + kw;
                pixel.iter_mut().zip(column[tap..].iter().step_by(taps)).for_each(|(sum, &x)| *sum += x);
            }
        }
    });
}

/// Sets a pixel to the start of its sum.
fn start_sum<T: Real>(pixel: &mut [T], bias: Option<&[T]>, accumulate: bool) {
    match bias {
        Some(bias) if accumulate => pixel.iter_mut().zip(bias).for_each(|(sum, &b)| *sum += b),
        Some(bias) => pixel.copy_from_slice(bias),
        None if accumulate => {}
        None => pixel.fill(T::zero()),
    }
}

/// Calls `visit(tap, qh, qw)` for every tap of an output pixel that reads input pixel `(ph, pw)`.
#[inline(always)]
fn for_each_output(
    ph: usize,
    pw: usize,
    output: [usize; 2],
    geometry: Geometry,
    mut visit: impl FnMut(usize, usize, usize),
) {
    for kh in 0..geometry.kernel[0] {
        let Some(qh) = geometry.output(0, ph, kh, output[0]) else { continue };
        for kw in 0..geometry.kernel[1] {
            let Some(qw) = geometry.output(1, pw, kw, output[1]) else { continue };
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
