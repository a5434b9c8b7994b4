//! The arguments of `pixtape inspect`.

use crate::inspect::Request;
use clap::Args;

/// Show what a run or a recipe is made of: layers, recorded steps, memory
///
/// For each layer of both networks: shape of its output, parameters, multiply-adds, bytes of its activations, and its
/// receptive field, which is the side of the part of the input that one of its pixels sees (norms, which see all of it,
/// are not counted). Then the kernels of one training step, and where its buffers lie in memory. A recipe is shown at
/// its published size.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A recipe (pytorch-gan, block-ck, isola), a run folder, or a file of weights.
    #[arg(value_name = "RUN_OR_RECIPE")]
    pub what: String,

    /// List every recorded step with what it reads and writes, instead of counting kernels.
    #[arg(long)]
    pub steps: bool,

    /// List every buffer with its offset and the steps that use it, instead of the largest ones.
    #[arg(long)]
    pub memory: bool,
}

impl InspectArgs {
    pub fn request(self) -> Request {
        let InspectArgs { what, steps, memory } = self;
        Request { what, steps, memory }
    }
}
