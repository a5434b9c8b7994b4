//! Metrics of how close a picture is to its target. Pictures are `[h, w, c]` with values in [-1, 1], as the networks
//! use them.

mod history;
mod ssim;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use history::{Validation, best, to_csv};
pub use ssim::{WINDOW, ssim};

/// The metrics of a picture compared with its target, or their means over many pictures. For a larger difference L1 is
/// higher, PSNR and SSIM are lower.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean absolute error of values in [-1, 1], from 0 to 2, see [`l1`].
    pub l1: f64,
    /// Peak signal-to-noise ratio in dB, see [`psnr`]. In JSON the infinity of equal pictures is `null`.
    #[serde(with = "infinity_as_null")]
    pub psnr: f64,
    /// Structural similarity, from -1 to 1, see [`ssim()`].
    pub ssim: f64,
}

/// A measure of how close a picture is to its target. A run picks one to decide which of its checkpoints is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Mean absolute error; lower is better.
    L1,
    /// Peak signal-to-noise ratio; higher is better.
    Psnr,
    /// Structural similarity; higher is better.
    Ssim,
}

impl Metric {
    /// All metrics, in the order in which they are shown.
    pub const ALL: [Metric; 3] = [Metric::L1, Metric::Psnr, Metric::Ssim];

    /// Returns the name to be shown: `L1`, `PSNR` or `SSIM`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::L1 => "L1",
            Metric::Psnr => "PSNR",
            Metric::Ssim => "SSIM",
        }
    }

    /// Returns an explanation of the metric in a few words, which says its unit or scale, and whether lower or higher
    /// is better.
    pub fn description(self) -> &'static str {
        match self {
            Metric::L1 => "mean absolute error on the scale from -1 to 1; lower is better",
            Metric::Psnr => "peak signal-to-noise ratio in dB; higher is better",
            Metric::Ssim => "structural similarity, 1 for equal pictures; higher is better",
        }
    }

    /// True for L1, false for PSNR and SSIM.
    pub fn lower_is_better(self) -> bool {
        self == Metric::L1
    }

    /// Returns the value of this metric in `metrics`.
    pub fn value(self, metrics: &Metrics) -> f64 {
        match self {
            Metric::L1 => metrics.l1,
            Metric::Psnr => metrics.psnr,
            Metric::Ssim => metrics.ssim,
        }
    }

    /// True if `a` is better than `b` by this metric; false if they are equal, or one of them is NaN.
    pub fn is_better(self, a: &Metrics, b: &Metrics) -> bool {
        let (a, b) = (self.value(a), self.value(b));
        if self.lower_is_better() { a < b } else { a > b }
    }

    /// Formats a value of this metric: with two decimals for PSNR, with four for L1 and SSIM.
    pub fn format(self, value: f64) -> String {
        match self {
            Metric::Psnr => format!("{value:.2}"),
            Metric::L1 | Metric::Ssim => format!("{value:.4}"),
        }
    }
}

impl Metrics {
    /// Computes L1, PSNR and SSIM of the pictures `a` and `b`, both of `shape` `[h, w, c]`, row-major, with values in
    /// [-1, 1].
    ///
    /// # Panics
    /// When `a` or `b` does not have this shape, or a side is below the 11 pixels of SSIM's window ([`WINDOW`]).
    pub fn between(a: &[f32], b: &[f32], shape: [usize; 3]) -> Metrics {
        Metrics { l1: l1(a, b), psnr: psnr(a, b), ssim: ssim(a, b, shape) }
    }

    /// Returns the mean of each metric over `all`. Equal pictures, whose PSNR is infinite, are left out of the mean of
    /// the PSNR, which would be infinite with them, unless there are no others. Of no pictures every mean is infinity.
    pub fn mean(all: &[Metrics]) -> Metrics {
        let mean = |metric| Statistics::new(metric, all).mean;
        Metrics { l1: mean(Metric::L1), psnr: mean(Metric::Psnr), ssim: mean(Metric::Ssim) }
    }
}

/// Mean, deviation, minimum and maximum of one metric over many pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    #[serde(with = "infinity_as_null")]
    pub mean: f64,
    /// Population standard deviation: the root of the mean squared difference from the mean.
    pub deviation: f64,
    #[serde(with = "infinity_as_null")]
    pub min: f64,
    #[serde(with = "infinity_as_null")]
    pub max: f64,
}

impl Statistics {
    /// Computes the statistics of `metric` over `all`. An infinite PSNR, which equal pictures have, is left out of mean
    /// and deviation; if there are no other values, the mean is infinity and the deviation 0.
    pub fn new(metric: Metric, all: &[Metrics]) -> Statistics {
        let values = || all.iter().map(|metrics| metric.value(metrics));
        let finite: Vec<f64> = values().filter(|value| *value != f64::INFINITY).collect();
        let mean_of = |sum: f64| sum / finite.len() as f64;
        let (mean, deviation) = if finite.is_empty() {
            (f64::INFINITY, 0.0)
        } else {
            let mean = mean_of(finite.iter().sum());
            (mean, mean_of(finite.iter().map(|value| (value - mean).powi(2)).sum()).sqrt())
        };
        let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        Statistics { mean, deviation, min, max }
    }
}

/// Returns the mean absolute error of two pictures with values in [-1, 1]: from 0, for equal ones, to 2.
///
/// # Panics
/// When they differ in length.
pub fn l1(a: &[f32], b: &[f32]) -> f64 {
    mean(a, b, f64::abs)
}

/// Returns the peak signal-to-noise ratio in dB of two pictures with values in [-1, 1]:
/// `10 log10(peak^2 / mean squared error)` with a peak of 2, the width of that range. Infinite for equal pictures.
///
/// # Panics
/// When they differ in length.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    10.0 * (4.0 / mean(a, b, |error| error * error)).log10()
}

fn mean(a: &[f32], b: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "pictures of one size");
    let sum: f64 = a.iter().zip(b).map(|(&a, &b)| term(f64::from(a) - f64::from(b))).sum();
    sum / a.len() as f64
}

mod infinity_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        (*value != f64::INFINITY).then_some(value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
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

    #[test]
    fn equal_pictures_do_not_hide_the_others() {
        let with = |psnr| Metrics { l1: 0.5, psnr, ssim: 0.25 };
        let all = [with(10.0), with(f64::INFINITY), with(14.0)];
        let Statistics { mean, deviation, min, max } = Statistics::new(Metric::Psnr, &all);
        assert_eq!((mean, deviation, min, max), (12.0, 2.0, 10.0, f64::INFINITY));
        assert_eq!(Metrics::mean(&all), with(12.0));
        assert_eq!(Metrics::mean(&all[1..2]), with(f64::INFINITY));
    }

    #[test]
    fn json_has_no_infinity() {
        let equal = Metrics { l1: 0.0, psnr: f64::INFINITY, ssim: 1.0 };
        let text = serde_json::to_string(&equal).unwrap();
        assert_eq!(text, r#"{"l1":0.0,"psnr":null,"ssim":1.0}"#);
        assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), equal);
    }
}
