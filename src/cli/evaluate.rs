//! The arguments of `pixtape evaluate`.

use std::path::PathBuf;

use clap::Args;

use super::GeneratorArgs;
use crate::evaluate::Request;

/// Measure a trained run on pairs: L1, PSNR and SSIM
///
/// Translates the inputs of all pairs, compares them with the targets, and prints how close they come: mean, deviation,
/// least and most, and which pairs are the best and the worst. A report on the folder goes to stderr, as that of `data
/// check` to stdout.
///
/// L1 is the mean absolute error on the scale from -1 to 1 that the networks use; lower is better. PSNR, the peak
/// signal-to-noise ratio, is in decibels; higher is better. SSIM, the structural similarity, is 1 for equal pictures;
/// it is that of Wang et al. (2004) with a Gaussian window of 11x11, mean over channels. None of them says whether a
/// picture looks real: look at --out as well.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// A run folder, for its newest checkpoint, a checkpoint file, or a generator alone as `export --safetensors`
    /// writes it.
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    pub model: PathBuf,

    /// Folder of pairs as `train` takes them: its test/ is used, else its val/, else its train/, else all of it; or, of
    /// what the run held out itself (--val-split), that share.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,

    /// Print JSON instead of a table, with a row for each pair. A PSNR of null is that of equal pictures, infinity.
    #[arg(long)]
    pub json: bool,

    /// Folder for a page that shows input, output and target of every pair, sortable by each metric: index.html, its
    /// images/, and evaluation.json. An earlier evaluation there is replaced; a folder that holds anything else is
    /// refused.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub generator: GeneratorArgs,
}

impl EvaluateArgs {
    pub fn request(self) -> Request {
        let EvaluateArgs { model, data, json, out, generator } = self;
        Request { model, data, json, out, generator: generator.options() }
    }
}
