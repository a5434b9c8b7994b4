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
