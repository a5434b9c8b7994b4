//! Structural similarity as a loss, `1 - SSIM(x, target)`, fused with its gradient.
//!
//! SSIM is that of "Image Quality Assessment: From Error Visibility to Structural Similarity" (Wang, Bovik, Sheikh,
//! Simoncelli, 2004), for values in [-1, 1]: the mean over all windows of 11x11 that lie in the image, weighted by a
//! Gaussian `w` of deviation 1.5, of every channel. With the weighted means over a window, `m_x = E[x]`, `m_t = E[t]`
//!
//! ```text
//! a = 2 m_x m_t + C1    b = 2 (E[x t] - m_x m_t) + C2
//! c = m_x^2 + m_t^2 + C1    d = E[x^2] - m_x^2 + E[t^2] - m_t^2 + C2    S = a b / (c d)
//! ```
//!
//! a pixel p of a window at q has `dS(q) / dx(p) = w(p - q) (dm(q) + 2 x(p) dxx(q) + t(p) dxt(q))`, where `dm`, `dxx`
//! and `dxt` are the derivatives of S by `m_x`, `E[x^2]` and `E[x t]`:
//!
//! ```text
//! dm = 2 m_t (b - a) / (c d) - 2 m_x S / c + 2 m_x S / d    dxx = -S / d    dxt = 2 a / (c d)
//! ```

pub(super) mod cpu;
pub(super) mod cuda;

use crate::engine::tensor::Tensor;

/// Side of SSIM's square window in pixels. Pictures with a smaller side have no SSIM.
pub const WINDOW: usize = 11;

const DEVIATION: f64 = 1.5;

/// The constant (K1 L)^2 in the luminance term of SSIM, which is never 0 / 0 with it: K1 = 0.01, and L = 2 is the range
/// of values in [-1, 1].
pub const C1: f64 = (0.01 * 2.0) * (0.01 * 2.0);
/// The constant (K2 L)^2 in the contrast and structure term of SSIM, which is never 0 / 0 with it: K2 = 0.03, and L as
/// in [`C1`].
pub const C2: f64 = (0.03 * 2.0) * (0.03 * 2.0);

/// Returns the Gaussian weights of SSIM's window along one axis, which add up to 1. The weight of a pixel of the window
/// is that of its row times that of its column.
pub fn weights() -> [f64; WINDOW] {
    let weight = |k: usize| (-0.5 * ((k as f64 - (WINDOW / 2) as f64) / DEVIATION).powi(2)).exp();
    let sum: f64 = (0..WINDOW).map(weight).sum();
    std::array::from_fn(|k| weight(k) / sum)
}

/// The windows of a picture, in all its images and channels.
#[derive(Clone, Copy, Debug)]
struct Windows {
    images: usize,
    rows: usize,
    columns: usize,
    channels: usize,
}

impl Windows {
    /// # Panics
    /// When a side is below [`WINDOW`].
    fn new(picture: Tensor) -> Windows {
        let [images, h, w, channels] = picture.shape;
        assert!(h >= WINDOW && w >= WINDOW, "SSIM needs sides of {WINDOW} pixels, and these are {w}x{h}");
        Windows { images, rows: h - (WINDOW - 1), columns: w - (WINDOW - 1), channels }
    }

    fn count(self) -> usize {
        self.images * self.rows * self.columns * self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_that_of_the_paper() {
        let weights = weights();
        assert!((weights.iter().sum::<f64>() - 1.0).abs() <= 1e-15);
        // The middle of fspecial('gaussian', 11, 1.5), which the authors' program uses: 0.0708.
        assert!((weights[5] * weights[5] - 0.070_762).abs() <= 1e-6, "{}", weights[5] * weights[5]);
    }

    /// The kernel has the weights as literals, since they are the same for every launch.
    #[test]
    fn the_kernel_has_these_weights() {
        let source = include_str!("../../../../../kernels/ssim.cu");
        let (_, list) = source.split_once("WEIGHTS[WINDOW] = {").expect("the weights");
        let list = list.split('}').next().unwrap_or_default();
        let literals: Vec<f32> =
            list.split(',').map(|text| text.trim().trim_end_matches('f').parse().unwrap()).collect();
        assert_eq!(literals, weights().map(|weight| weight as f32));
    }
}
