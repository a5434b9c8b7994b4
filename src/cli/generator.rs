//! Flags of every command that runs a trained generator: its noise, its precision, and the threads that compute.

use clap::{ArgAction, Args};

use super::{on_off, threads};
use crate::config::available_threads;
use crate::engine::device::DeviceChoice;
use crate::gan::Precision;
use crate::translate::GeneratorOptions;

#[derive(Debug, Args)]
pub struct GeneratorArgs {
    /// Keep the generator's dropout on, as in training, or switch it off.
    ///
    /// It is the only noise of this network: with it on, another seed gives another version of the same picture.
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = on_off(), action = ArgAction::Set)]
    pub dropout: bool,

    /// Seed of the dropout.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Number format of activations and of the operands of convolutions; bf16 on the CPU alone.
    ///
    /// A run trained in either precision can be used in either.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "f32")]
    pub precision: Precision,

    /// Device to compute on: auto, cpu, cuda, or cuda:N for the GPU with number N.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,

    /// Threads for the arithmetic on the CPU [default: all of this machine's]
    #[arg(long, value_name = "N", value_parser = threads())]
    #[arg(default_value_t = available_threads(), hide_default_value = true)]
    pub threads: usize,
}

impl GeneratorArgs {
    pub fn options(self) -> GeneratorOptions {
        let GeneratorArgs { dropout, seed, precision, device, threads } = self;
        GeneratorOptions { dropout, seed, precision, device, threads }
    }
}
