//! The number types of the CPU device.

use std::fmt::Debug;
use std::iter::Sum;

use num_traits::{Float, NumAssign};

/// f32, which trains, and f64, which checks gradients.
pub trait Real: Float + NumAssign + Default + Debug + Sum + Send + Sync + 'static {
    fn of(value: f64) -> Self;
    fn widen(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }

    fn widen(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> f64 {
        value
    }

    fn widen(self) -> f64 {
        self
    }
}
