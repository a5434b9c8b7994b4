//! `pixtape evaluate`: what it is asked to do.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::{on_off, threads};
use crate::config::available_threads;

/// Measure a trained run on pairs: mean absolute error (L1) and PSNR
///
/// Translates the inputs of all pairs and compares them with the targets. L1 is on the scale from -1 to 1 that the
/// networks use; PSNR is in decibels, higher is better.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// A run folder, for its newest checkpoint, or a checkpoint file.
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    pub model: PathBuf,

    /// Folder of side-by-side pairs: its test/ is used, else its val/, else its train/, else the folder itself.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Keep the generator's dropout on, as in training, or switch it off.
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = on_off(), action = ArgAction::Set)]
    pub dropout: bool,

    /// Seed of the dropout.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Threads for the arithmetic [default: all of this machine's]
    #[arg(long, value_name = "N", value_parser = threads())]
    #[arg(default_value_t = available_threads(), hide_default_value = true)]
    pub threads: usize,
}
