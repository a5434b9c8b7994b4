//! Settings of a training run: their values, origins and checks.
//!
//! The one idea: settings are layers. [`TrainOptions`] holds only what somebody asked for, on the command line or in a
//! file. The command line lies over the file, the file over the defaults (or, when a run is resumed, over the run's own
//! settings), and what comes out is a [`TrainConfig`]: complete, checked, and kept in the run folder and in every
//! checkpoint.

mod checks;
mod combinations;
mod declare;
mod given;
mod help;
mod lr_schedule;
mod options;
mod resume;
mod run_name;
mod size_rules;
mod train_config;

pub(crate) use help::complete;
pub use lr_schedule::LrSchedule;
pub use options::{TrainConfig, TrainOptions};
pub(crate) use train_config::{read_settings, value_name};

/// Returns the number of threads that this process can run in parallel, the default of `--threads`; 1 if the system
/// does not tell.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
