//! The validations of a run: metrics of its held-out pairs. They are part of every checkpoint, so what depends on them
//! (which state was the best, `metrics.csv`) is the same in a run that was resumed and in one that was never stopped.

use serde::{Deserialize, Serialize};

use super::{Metric, Metrics};

/// The metrics of the held-out pairs after an epoch, as means over these pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Epochs completed.
    pub epoch: u64,
    /// Training steps completed.
    pub step: u64,
    #[serde(flatten)]
    pub mean: Metrics,
}

/// Returns the best validation by `metric`, the earliest of equal ones. Those where the metric is NaN are left out;
/// `None` if there is no other.
pub fn best(history: &[Validation], metric: Metric) -> Option<&Validation> {
    let is_number = |validation: &&Validation| !metric.value(&validation.mean).is_nan();
    history
        .iter()
        .filter(is_number)
        .reduce(|best, next| if metric.is_better(&next.mean, &best.mean) { next } else { best })
}

/// Returns the text of `metrics.csv`: a header line (`epoch,step,l1,psnr,ssim`) and a row for each validation, with all
/// digits of the values.
pub fn to_csv(history: &[Validation]) -> String {
    let mut text = "epoch,step,l1,psnr,ssim\n".to_owned();
    for Validation { epoch, step, mean: Metrics { l1, psnr, ssim } } in history {
        text += &format!("{epoch},{step},{l1},{psnr},{ssim}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64, l1: f64, psnr: f64) -> Validation {
        Validation { epoch: step / 10, step, mean: Metrics { l1, psnr, ssim: 1.0 / 3.0 } }
    }

    #[test]
    fn the_best_is_the_earliest_of_the_best() {
        let history = [at(10, 0.5, 3.0), at(20, 0.3, f64::INFINITY), at(30, 0.3, 9.0), at(40, f64::NAN, f64::NAN)];
        assert_eq!(best(&history[3..], Metric::L1), None);
        assert_eq!(best(&history, Metric::L1).map(|best| best.step), Some(20));
        assert_eq!(best(&history, Metric::Psnr).map(|best| best.step), Some(20));
        assert_eq!(best(&history[2..], Metric::Psnr).map(|best| best.step), Some(30));
        assert_eq!(best(&history, Metric::Ssim).map(|best| best.step), Some(10));
        assert_eq!(best(&[], Metric::Ssim), None);
    }

    #[test]
    fn the_file_holds_every_digit() {
        let text = to_csv(&[at(10, 0.1 + 0.2, f64::INFINITY)]);
        assert_eq!(text, "epoch,step,l1,psnr,ssim\n1,10,0.30000000000000004,inf,0.3333333333333333\n");
    }

    #[test]
    fn json_gives_back_the_same_bits() {
        let history: Vec<Validation> = (1..200).map(|n| at(n * 10, 1.0 / n as f64, (n as f64).ln() * 1e-9)).collect();
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Validation>>(&text).unwrap(), history);
    }
}
