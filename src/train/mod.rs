//! Training: what a step is, and the loop around it.

mod interrupt;
mod journal;
mod losses;
mod memory;
mod progress;
mod run;
mod samples;
pub mod schedule;
pub mod step;
mod tensorboard;
mod trainer;
mod validation;

pub use run::run;
