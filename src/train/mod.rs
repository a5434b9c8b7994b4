//! Training: what a step is, and the loop around it.

mod interrupt;
mod losses;
mod progress;
mod run;
mod samples;
pub mod schedule;
pub mod step;
mod trainer;

pub use run::run;
