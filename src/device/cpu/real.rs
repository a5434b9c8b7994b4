//! The number types of the CPU device.

use std::fmt::Debug;
use std::iter::Sum;

use num_traits::{Float, NumAssign};

use super::CpuKernel;
use crate::program::Step;

/// f32, which trains, and f64, which checks gradients.
pub trait Real: Float + NumAssign + Default + Debug + Sum + Send + Sync + 'static {
    fn of(value: f64) -> Self;
    fn widen(self) -> f64;

    /// The kernel of `step` for this number type.
    fn kernel(step: &dyn Step) -> &dyn CpuKernel<Self>;
}

impl Real for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }

    fn widen(self) -> f64 {
        f64::from(self)
    }

    fn kernel(step: &dyn Step) -> &dyn CpuKernel<f32> {
        step
    }
}

impl Real for f64 {
    fn of(value: f64) -> f64 {
        value
    }

    fn widen(self) -> f64 {
        self
    }

    fn kernel(step: &dyn Step) -> &dyn CpuKernel<f64> {
        step
    }
}

/// Runs `work` compiled for the best instruction set that this CPU has. `work` must be `#[inline(always)]` all the way down
/// for the compiler to use it. No instruction set changes a result: nothing is contracted or reordered.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
