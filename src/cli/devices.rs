//! `pixtape devices`: the devices of this machine.

use anyhow::Result;

use crate::base::progress::tell;
use crate::config::available_threads;
use crate::engine::device::DeviceChoice;
use crate::engine::device::DeviceId;
use crate::engine::device::cuda::{Info, devices, prepare_gpu};
use crate::engine::simd::InstructionSet;

/// Prints a line for the CPU and for every GPU to stdout, and marks the one that `--device auto` takes.
///
/// # Errors
/// When stdout cannot be written.
pub fn run() -> Result<()> {
    let auto = DeviceChoice::Auto.choose()?.device;
    let mark = |device: DeviceId| if device == auto { "  <- auto" } else { "" };
    let threads = available_threads();
    let set = InstructionSet::chosen()?.name();
    tell(format_args!("cpu     {threads} threads, {set} instructions{}", mark(DeviceId::Cpu)))?;
    match devices() {
        Ok(gpus) => {
            for gpu in gpus {
                tell(format_args!("{}{}", line(&gpu), mark(DeviceId::Cuda(gpu.ordinal))))?;
            }
        }
        Err(reason) => tell(format_args!("cuda    none: {reason:#}"))?,
    }
    Ok(())
}

fn line(gpu: &Info) -> String {
    let (major, minor) = gpu.facts.capability;
    let simulated = if gpu.is_simulated { ", simulated on the CPU" } else { "" };
    let unusable =
        prepare_gpu(gpu.ordinal).err().map(|reason| format!(" (not usable: {reason:#})")).unwrap_or_default();
    let memory = gpu.memory >> 20;
    format!("cuda:{}  {}, {memory} MB, compute capability {major}.{minor}{simulated}{unusable}", gpu.ordinal, gpu.name)
}
