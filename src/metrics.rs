//! How far two pictures are apart. Values are in [-1, 1], as the networks use them.

/// Mean absolute error.
pub fn l1(a: &[f32], b: &[f32]) -> f64 {
    mean(a, b, f64::abs)
}

/// Peak signal-to-noise ratio in dB: `10 log10(peak^2 / mean squared error)`, with the width of [-1, 1] as the peak. Infinite
/// for equal pictures.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    10.0 * (4.0 / mean(a, b, |error| error * error)).log10()
}

fn mean(a: &[f32], b: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "pictures of one size");
    let sum: f64 = a.iter().zip(b).map(|(&a, &b)| of(f64::from(a) - f64::from(b))).sum();
    sum / a.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances() {
        let (a, b) = ([1.0, -1.0, 0.5, 0.0], [0.5, -0.5, 0.0, 0.5]);
        assert!((l1(&a, &b) - 0.5).abs() <= 1e-12);
        // 10 log10(4 / 0.25).
        assert!((psnr(&a, &b) - 12.041_199_826_559_248).abs() <= 1e-9);
        assert_eq!(psnr(&a, &a), f64::INFINITY);
    }
}
