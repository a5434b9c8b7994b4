//! Training: what a step is, and the loop around it.

mod interrupt;
mod losses;
mod progress;
mod run;
mod samples;
pub mod step;
mod trainer;

pub(crate) use progress::say;
pub use run::run;
pub use trainer::generator;
