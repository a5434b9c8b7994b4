//! Learning-rate schedules: the rate of an epoch, as a function of its number and of the validations before it.

use crate::config::{LrSchedule, TrainConfig};
use crate::metrics::Validation;

/// Fraction of the best held-out L1 by which a validation has to be below it to count as progress.
const PROGRESS: f64 = 0.01;

/// Returns the learning rate in `epoch`, which counts from 1, by the schedule in `config` (the help of `--lr-schedule`
/// has the formulas). `history` are the validations of earlier epochs, on which the plateau schedule depends.
pub fn learning_rate(config: &TrainConfig, epoch: u64, history: &[Validation]) -> f64 {
    let constant_epochs = config.lr_constant_epochs.unwrap_or(0);
    let decay_epochs = config.lr_decay_epochs.unwrap_or(1);
    let factor = config.lr_factor.unwrap_or(1.0);
    let multiplier = match config.lr_schedule {
        LrSchedule::Constant => 1.0,
        LrSchedule::Linear => {
            let decayed = epoch.saturating_sub(constant_epochs).min(decay_epochs);
            1.0 - decayed as f64 / (decay_epochs as f64 + 1.0)
        }
        LrSchedule::Cosine => {
            let done = (epoch.min(decay_epochs) - 1) as f64 / decay_epochs as f64;
            0.5 * (1.0 + (std::f64::consts::PI * done).cos())
        }
        LrSchedule::Step => factor.powf(((epoch - 1) / config.lr_step_epochs.unwrap_or(1)) as f64),
        LrSchedule::Plateau => {
            let l1s = history.iter().map(|validation| validation.mean.l1);
            factor.powf(falls(l1s, config.lr_patience.unwrap_or(0)) as f64)
        }
    };
    config.lr * multiplier
}

/// Number of times that the rate has fallen: once for each time that more than `patience` of these L1s in a row brought
/// no progress.
fn falls(l1s: impl Iterator<Item = f64>, patience: u64) -> u64 {
    let (mut best, mut waited, mut falls) = (f64::INFINITY, 0, 0);
    for value in l1s {
        if value < best * (1.0 - PROGRESS) {
            (best, waited) = (value, 0);
        } else {
            waited += 1;
        }
        if waited > patience {
            (waited, falls) = (0, falls + 1);
        }
    }
    falls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainOptions;

    fn rates(options: TrainOptions, epochs: &[u64]) -> Vec<f64> {
        let config = TrainOptions { lr: Some(1.0), ..options }.resolve().unwrap();
        epochs.iter().map(|&epoch| learning_rate(&config, epoch, &[])).collect()
    }

    fn assert_close(rates: &[f64], expected: &[f64]) {
        assert_eq!(rates.len(), expected.len());
        for (a, e) in rates.iter().zip(expected) {
            assert!((a - e).abs() <= 1e-12, "{rates:?} instead of {expected:?}");
        }
    }

    fn with(schedule: LrSchedule) -> TrainOptions {
        TrainOptions { lr_schedule: Some(schedule), epochs: Some(200), ..Default::default() }
    }

    /// Rates of `torch.optim.lr_scheduler.LambdaLR` with the authors' lambda, `CosineAnnealingLR(T_max=200)` and
    /// `StepLR(50, 0.1)`, stepped at the end of each epoch.
    #[test]
    fn rates_are_those_of_pytorch() {
        assert_close(&rates(with(LrSchedule::Constant), &[1, 200]), &[1.0, 1.0]);
        let linear = rates(with(LrSchedule::Linear), &[1, 100, 101, 150, 200, 300]);
        assert_close(&linear, &[1.0, 1.0, 100.0 / 101.0, 51.0 / 101.0, 1.0 / 101.0, 1.0 / 101.0]);
        let cosine = rates(with(LrSchedule::Cosine), &[1, 101, 51, 200, 999]);
        assert_close(&cosine, &[1.0, 0.5, 0.853_553_390_593_273_8, 6.168_375_916_970_614e-5, 6.168_375_916_970_614e-5]);
        assert_close(&rates(with(LrSchedule::Step), &[1, 50, 51, 101, 151]), &[1.0, 1.0, 0.1, 0.01, 0.001]);
    }

    /// Rates of `ReduceLROnPlateau(mode="min", factor=0.2, threshold=0.01, patience=5)`.
    #[test]
    fn a_plateau_is_left_after_its_patience() {
        assert_eq!(falls((0..10).map(|i| 1.0 - 0.05 * f64::from(i)), 5), 0);
        // The first is progress; the sixth after it is one too many, and so is the sixth after that.
        let flat = |count| falls(std::iter::repeat_n(1.0, count), 5);
        assert_eq!([6, 7, 13].map(flat), [0, 1, 2]);
        // 0.995 is no progress from 1, 0.98 is.
        let slow = [1.0, 0.995, 0.995, 0.995, 0.98, 0.98, 0.98, 0.98];
        assert_eq!([3, 2].map(|patience| falls(slow.into_iter(), patience)), [0, 2]);
    }
}
