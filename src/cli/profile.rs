//! The arguments of `pixtape profile`.

use clap::Args;

use crate::engine::device::DeviceChoice;
use crate::profile::Request;

/// Show where the time of a training step goes, by layer and kernel
///
/// On the CPU and on a GPU the time is measured: of the CPU by step, of a GPU by kernel. On the simulated GPU of
/// tools/cudasim the requests of each kernel are counted instead (sectors, L2 traffic, conflicts in shared memory), and
/// a model says how long a GPU would take for them. A recipe is profiled at its published size.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// A recipe (pytorch-gan, block-ck, isola) or a run folder.
    #[arg(value_name = "RECIPE_OR_RUN")]
    pub what: String,

    /// Device to profile: auto, cpu, cuda, or cuda:N for the GPU with number N.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,

    /// Pairs in the batch, instead of those of the recipe or run.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub batch: Option<u64>,

    /// Print one JSON object instead of a table, with all counts by line of source.
    #[arg(long)]
    pub json: bool,
}

impl ProfileArgs {
    pub fn request(self) -> Request {
        let ProfileArgs { what, device, batch, json } = self;
        Request { what, device, batch: batch.map(|batch| batch as usize), json }
    }
}
