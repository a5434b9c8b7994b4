//! Structural similarity: how alike two pictures are in brightness, contrast and structure, window by window.
//!
//! The definition is that of "Image Quality Assessment: From Error Visibility to Structural Similarity" (Wang, Bovik,
//! Sheikh, Simoncelli, 2004): windows of 11x11 weighted by a Gaussian of deviation 1.5, K1 = 0.01, K2 = 0.03, and the
//! mean over all windows that lie inside of the picture. A picture of several channels has the mean of its channels.
//!
//! The window is separable: weighted sums down the columns, then along the row. Instead of the pictures x and y
//! themselves it runs over their sum and difference, s and d: x y = (s^2 - d^2) / 4 and x^2 + y^2 = (s^2 + d^2) / 2 are
//! all that SSIM needs, so four sums do where x, y, x^2, y^2 and x y would take five.

use rayon::prelude::*;

pub use crate::engine::ops::loss::ssim::WINDOW;
use crate::engine::ops::loss::ssim::{C1, C2, weights};
use crate::engine::simd::vectorized;

/// Returns the mean structural similarity of two pictures of shape `[h, w, c]`, row-major, with values in [-1, 1]: 1
/// for equal ones, and at least -1.
///
/// # Panics
/// When `a` or `b` does not have this shape, or a side is below [`WINDOW`]: such a picture has no window. The networks
/// take sides of 32 and more.
pub fn ssim(a: &[f32], b: &[f32], [h, w, c]: [usize; 3]) -> f64 {
    assert!(h >= WINDOW && w >= WINDOW, "SSIM needs sides of {WINDOW} pixels, and these are {w}x{h}");
    assert!(a.len() == h * w * c && b.len() == a.len(), "two pictures of {w}x{h} with {c} channels");
    let weights = weights();
    let (rows, stride) = (h - WINDOW + 1, w * c);
    // One sum for each row, added in order: the same bits with any number of threads.
    let sums: Vec<f64> = (0..rows)
        .into_par_iter()
        .map_init(
            || vec![[0.0; 4]; stride],
            |columns, y| {
                let rows = y * stride..(y + WINDOW) * stride;
                let (a, b) = (&a[rows.clone()], &b[rows]);
                vectorized(
                    #[inline(always)]
                    || {
                        vertical_sums(a, b, &weights, columns);
                        row_similarity(columns, c, &weights)
                    },
                )
            },
        )
        .collect();
    sums.iter().sum::<f64>() / (rows * (w - WINDOW + 1) * c) as f64
}

/// The weighted sums of s, d, s^2 and d^2 over the rows of `a` and `b`, for every column.
#[inline(always)]
fn vertical_sums(a: &[f32], b: &[f32], weights: &[f64; WINDOW], columns: &mut [[f64; 4]]) {
    columns.fill([0.0; 4]);
    let stride = columns.len();
    for ((a, b), &weight) in a.chunks_exact(stride).zip(b.chunks_exact(stride)).zip(weights) {
        for ((sums, &a), &b) in columns.iter_mut().zip(a).zip(b) {
            let (a, b) = (f64::from(a), f64::from(b));
            let (s, d) = (a + b, a - b);
            for (sum, value) in sums.iter_mut().zip([s, d, s * s, d * d]) {
                *sum += weight * value;
            }
        }
    }
}

/// The sum of the similarities of a row of windows. Neighbours of a channel are `channels` columns apart.
#[inline(always)]
fn row_similarity(columns: &[[f64; 4]], channels: usize, weights: &[f64; WINDOW]) -> f64 {
    let windows = columns.len() - (WINDOW - 1) * channels;
    let mut sum = 0.0;
    for first in 0..windows {
        let mut means = [0.0; 4];
        for (column, &weight) in columns[first..].iter().step_by(channels).zip(weights) {
            for (mean, value) in means.iter_mut().zip(column) {
                *mean += weight * value;
            }
        }
        sum += similarity(means);
    }
    sum
}

/// The similarity of a window, from the means of s, d, s^2 and d^2.
#[inline(always)]
fn similarity([s, d, ss, dd]: [f64; 4]) -> f64 {
    let product_of_means = (s * s - d * d) / 4.0;
    let squares_of_means = (s * s + d * d) / 2.0;
    let covariance = (ss - dd) / 4.0 - product_of_means;
    let variances = (ss + dd) / 2.0 - squares_of_means;
    (2.0 * product_of_means + C1) * (2.0 * covariance + C2) / ((squares_of_means + C1) * (variances + C2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pictures_have_one() {
        let picture: Vec<f32> = (0..12 * 15 * 2).map(|i| (i as f32 * 0.7).sin()).collect();
        assert!((ssim(&picture, &picture, [12, 15, 2]) - 1.0).abs() <= 1e-12);
    }
}
