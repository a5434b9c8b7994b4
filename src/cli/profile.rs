//! The arguments of `pixtape profile`.

use std::path::PathBuf;

use clap::Args;

use super::threads;
use crate::engine::device::DeviceChoice;
use crate::gan::Precision;
use crate::profile::Request;

/// Show where the time of a training step goes, by layer and kernel
///
/// Prints a row for each kernel of each layer, and the whole step. On the CPU and on a GPU the time is measured: of the
/// CPU by step, of a GPU by kernel, launched one by one, and of the whole CUDA graph. A recipe is profiled at its
/// published size, from the first step of a training; a run at its own settings.
///
/// On the CPU the peaks of the machine are measured as well, with the threads in use: f32 multiply-adds of registers,
/// and memory that is read and written. Each row has its GFLOP/s, its GB/s and the larger of their shares of the peaks.
/// Multiply-adds are those of a convolution's definition. Winograd's method needs fewer, so a share can be above 100 %,
/// as it can where a cache holds what the steps before have written.
///
/// On the simulated GPU of tools/cudasim nothing is measured. It executes some blocks of each launch and counts what
/// they ask of the memory system: sectors, L2 traffic, conflicts in shared memory. A model says how long one H200 would
/// take for that, and which resource decides. A recipe takes a minute or two, at batch 16 some more.
///
/// Reading a row: few waves leave multiprocessors idle; little coalesced means that requests touch more sectors
/// than they use; L2 MB far above the least MB is data that is read again and again; conflicts above 1 are passes
/// through shared memory that wait for each other. The page of --out says what each column means, and whether it was
/// counted, modelled or measured.
#[derive(Debug, Args)]
pub struct ProfileArgs {
    /// A recipe (pytorch-gan, block-ck, isola) or a run folder.
    #[arg(value_name = "RECIPE_OR_RUN")]
    pub what: String,

    /// Device to profile: auto, cpu, cuda, or cuda:N for the GPU with number N.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,

    /// Number format of activations and of the operands of convolutions, instead of that of the recipe, f32, or of the
    /// run; bf16 on the CPU alone.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub precision: Option<Precision>,

    /// Threads for the arithmetic on the CPU [default: all of this machine's]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<usize>,

    /// Pairs in the batch, instead of those of the recipe or run.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub batch: Option<u64>,

    /// Run every step by its plain kernels, to see by how much the faster ones are faster, and why. On a GPU or the
    /// simulated one alone.
    #[arg(long)]
    pub plain_kernels: bool,

    /// Print one JSON object instead of a table, with all counts by line of source.
    #[arg(long)]
    pub json: bool,

    /// Write a page with the roofline of the kernels, the step as a timeline, and the table: one HTML file that needs
    /// no other. Replaced if it is there.
    #[arg(long, value_name = "PAGE")]
    pub out: Option<PathBuf>,
}

impl ProfileArgs {
    pub fn request(self) -> Request {
        let ProfileArgs { what, device, precision, threads, batch, plain_kernels, json, out } = self;
        let batch = batch.map(|batch| batch as usize);
        Request { what, device, precision, threads, batch, plain_kernels, json, out }
    }
}
