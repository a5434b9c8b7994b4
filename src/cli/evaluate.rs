//! `pixtape evaluate`: what it is asked to do.

use std::path::PathBuf;

use clap::Args;

use super::GeneratorArgs;

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

    #[command(flatten)]
    pub generator: GeneratorArgs,
}
