//! The kinds of learning-rate schedules, and the settings that each of them uses.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The learning rate as a function of the epoch.
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
    /// Falls by a factor when the held-out L1 no longer does.
    Plateau,
}

impl LrSchedule {
    /// The default of `--lr-constant-epochs` in a run of so many epochs: half of them, of an odd number the longer
    /// half.
    pub fn default_constant_epochs(self, epochs: u64) -> Option<u64> {
        (self == LrSchedule::Linear).then_some(epochs.div_ceil(2))
    }

    /// The default of `--lr-decay-epochs`: the other half, at least one; all of them in a cosine.
    pub fn default_decay_epochs(self, epochs: u64) -> Option<u64> {
        match self {
            LrSchedule::Linear => Some((epochs / 2).max(1)),
            LrSchedule::Cosine => Some(epochs),
            LrSchedule::Constant | LrSchedule::Step | LrSchedule::Plateau => None,
        }
    }

    /// The flags that belong to it.
    pub fn uses(self) -> &'static [&'static str] {
        match self {
            LrSchedule::Constant => &[],
            LrSchedule::Linear => &["lr-constant-epochs", "lr-decay-epochs"],
            LrSchedule::Cosine => &["lr-decay-epochs"],
            LrSchedule::Step => &["lr-step-epochs", "lr-factor"],
            LrSchedule::Plateau => &["lr-factor", "lr-patience"],
        }
    }
}
