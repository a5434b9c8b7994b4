//! `pixtape translate`: what it is asked to do.

use std::path::PathBuf;

use clap::Args;

use super::GeneratorArgs;

/// Translate images with a trained run
///
/// Images of any size: the sides are padded to what the network needs and the result is cropped back. Each output is
/// DIR/STEM.png, STEM being the input's name without its ending.
#[derive(Debug, Args)]
pub struct TranslateArgs {
    /// A run folder, for its newest checkpoint, or a checkpoint file.
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    pub model: PathBuf,

    /// Image files, or folders of them.
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,

    /// Folder for the results, made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Inputs are side-by-side pairs: translate the half that the run was trained to take.
    #[arg(long)]
    pub pairs: bool,

    #[command(flatten)]
    pub generator: GeneratorArgs,
}
