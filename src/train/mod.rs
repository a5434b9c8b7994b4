//! Training: the step, and the loop around it.

mod data;
mod due;
mod feed;
mod interrupt;
mod journal;
mod losses;
mod memory;
mod progress;
mod request;
mod run;
pub(crate) mod run_folder;
mod samples;
pub mod schedule;
mod tables;
mod tensorboard;
mod trainer;
mod validation;

pub use request::{Resume, TrainRequest};
pub use run::run;
pub use run_folder::RunLock;
