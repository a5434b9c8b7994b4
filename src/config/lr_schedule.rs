//! The kinds of learning-rate schedules, and the settings that each of them uses.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The kind of learning-rate schedule, by which the rate changes from epoch to epoch. The help of `--lr-schedule` has
/// the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrSchedule {
    /// The same all the time.
    Constant,
    /// Constant at first, then down to nearly 0 in equal steps.
    Linear,
    /// Half a cosine down to nearly 0 (Loshchilov and Hutter, 2017, without restarts).
    Cosine,
    /// Falls by a factor every so many epochs.
    Step,
    /// Falls by a factor when the held-out L1 has stopped falling.
    Plateau,
}

impl LrSchedule {
    /// Returns the default of `--lr-constant-epochs` in a run of `epochs` epochs: half of them, rounded up, for
    /// [`LrSchedule::Linear`]; `None` for the other schedules, which do not use the option.
    pub fn default_constant_epochs(self, epochs: u64) -> Option<u64> {
        (self == LrSchedule::Linear).then_some(epochs.div_ceil(2))
    }

    /// Returns the default of `--lr-decay-epochs` in a run of `epochs` epochs: half of them, rounded down but at least
    /// 1, for [`LrSchedule::Linear`]; all of them for [`LrSchedule::Cosine`]; `None` for the other schedules, which do
    /// not use the option.
    pub fn default_decay_epochs(self, epochs: u64) -> Option<u64> {
        match self {
            LrSchedule::Linear => Some((epochs / 2).max(1)),
            LrSchedule::Cosine => Some(epochs),
            LrSchedule::Constant | LrSchedule::Step | LrSchedule::Plateau => None,
        }
    }

    /// Returns the flags of the options that this schedule needs, without dashes. A run has a value for each of them,
    /// and none for the options of the other schedules.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            LrSchedule::Constant => &[],
            LrSchedule::Linear => &["lr-constant-epochs", "lr-decay-epochs"],
            LrSchedule::Cosine => &["lr-decay-epochs"],
            LrSchedule::Step => &["lr-step-epochs", "lr-factor"],
            LrSchedule::Plateau => &["lr-factor", "lr-patience"],
        }
    }
}
