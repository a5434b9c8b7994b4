//! The choice of a device of this machine.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::DeviceOptions;
use super::cpu::Cpu;
use super::cuda::{Info, devices, prepare_gpu};
use crate::base::words::count;
use crate::engine::program::Program;
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::DType;

/// The device that a user asks for by `--device`: parsed from and written as `auto`, `cpu`, `cuda` (the GPU with number
/// 0) or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first GPU that can be used and is not simulated, else the CPU.
    Auto,
    Cpu,
    /// A GPU by its number.
    Cuda(usize),
}

/// A device of this machine, as [`DeviceChoice::choose`] finds it: the CPU, or a GPU by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceId {
    Cpu,
    /// A GPU by its number.
    Cuda(usize),
}

impl DeviceId {
    /// Returns the number of bytes of host memory that `program` takes when it is executed on this device: buffers,
    /// scratch memory and that of the caller's threads. It is 0 for a GPU, whose own memory
    /// [`Device::new`](super::Device::new) checks.
    pub fn program_bytes(self, program: Program, options: DeviceOptions) -> u64 {
        match self {
            DeviceId::Cpu => Cpu::<f32>::bytes_of(&program.rewritten(options.passes())) as u64,
            DeviceId::Cuda(_) => 0,
        }
    }
}

/// The device that [`DeviceChoice::choose`] has found, with its name if it is a GPU, or the reason why `auto` has come
/// to the CPU.
#[derive(Clone, Debug)]
pub struct ChosenDevice {
    pub device: DeviceId,
    /// For a GPU, its name. For the CPU, the reason why no GPU is used if the choice was `auto`; `None` if the choice
    /// was `cpu`.
    pub note: Option<String>,
}

impl ChosenDevice {
    /// Returns the device in words, for the first line of a run: `the CPU with 8 threads and avx2 instructions`,
    /// followed by the note in parentheses if there is one, or `cuda:0, NVIDIA H200`. `threads` is the number of CPU
    /// threads.
    pub fn describe(&self, threads: usize) -> String {
        if let DeviceId::Cuda(ordinal) = self.device {
            return format!("cuda:{ordinal}, {}", self.note.as_deref().unwrap_or("a GPU"));
        }
        // A set that cannot be used has been refused by `choose`.
        let set = InstructionSet::chosen().unwrap_or(InstructionSet::Portable);
        let note = self.note.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("the CPU with {} and {} instructions{note}", count(threads, "thread"), set.name())
    }
}

impl ChosenDevice {
    /// Checks that the device computes with activations of this number format.
    ///
    /// # Errors
    /// When it does not: a GPU has kernels for f32 alone.
    pub fn require(&self, activations: DType) -> Result<()> {
        ensure!(
            activations == DType::F32 || self.device == DeviceId::Cpu,
            "--precision bf16: only the CPU computes in bf16 so far, and this is {}; give --device cpu, or leave \
             --precision out",
            self.describe(1)
        );
        Ok(())
    }
}

impl DeviceChoice {
    /// Finds the chosen device on this machine: `auto` takes the first GPU that can be used and is not simulated, else
    /// the CPU. To see if a GPU can be used, it creates a context on it and loads the kernels.
    ///
    /// # Errors
    /// When the choice is a GPU that does not exist or cannot be used, with the reason and the cure; when it is the CPU
    /// and `PIXTAPE_CPU` asks for instructions that this machine does not have.
    pub fn choose(self) -> Result<ChosenDevice> {
        let chosen = self.find()?;
        if chosen.device == DeviceId::Cpu {
            InstructionSet::chosen()?;
        }
        Ok(chosen)
    }

    fn find(self) -> Result<ChosenDevice> {
        let on_gpu = |info: &Info| ChosenDevice { device: DeviceId::Cuda(info.ordinal), note: Some(info.name.clone()) };
        match self {
            DeviceChoice::Cpu => Ok(ChosenDevice { device: DeviceId::Cpu, note: None }),
            DeviceChoice::Auto => Ok(match devices().and_then(|found| first_ready(&found, prepare_gpu)) {
                Ok(info) => on_gpu(&info),
                Err(reason) => ChosenDevice { device: DeviceId::Cpu, note: Some(format!("{reason:#}")) },
            }),
            DeviceChoice::Cuda(ordinal) => match prepare_gpu(ordinal) {
                Ok(info) => Ok(on_gpu(&info)),
                Err(reason) => bail!("--device {self}: {reason:#}; --device cpu works everywhere"),
            },
        }
    }
}

/// Returns the first GPU of `found` that is not simulated and for which `ready` succeeds.
///
/// # Errors
/// When there is none, with the reason for each GPU.
fn first_ready(found: &[Info], ready: impl Fn(usize) -> Result<Info>) -> Result<Info> {
    let mut reasons = Vec::new();
    for info in found {
        if info.is_simulated {
            reasons.push("a simulated GPU is used only when it is asked for".to_owned());
            continue;
        }
        match ready(info.ordinal) {
            Ok(info) => return Ok(info),
            Err(reason) => reasons.push(format!("{reason:#}")),
        }
    }
    bail!("{}", reasons.join("; "))
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(0) => f.write_str("cuda"),
            DeviceChoice::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<DeviceChoice> {
        let cuda = |number: &str| number.parse().ok().map(DeviceChoice::Cuda);
        let choice = match text {
            "auto" => Some(DeviceChoice::Auto),
            "cpu" => Some(DeviceChoice::Cpu),
            "cuda" => Some(DeviceChoice::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(cuda),
        };
        match choice {
            Some(choice) => Ok(choice),
            None => bail!("'{text}' is no device: auto, cpu, cuda, or cuda:N for the GPU with number N"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<DeviceChoice> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> String {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernel::cuda::GpuFacts;

    #[test]
    fn devices_are_written_as_they_are_read() {
        for text in ["auto", "cpu", "cuda", "cuda:7"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!("cuda:0".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda0", "CPU"] {
            assert!(text.parse::<DeviceChoice>().unwrap_err().to_string().contains("cuda:N"), "{text}");
        }
    }

    #[test]
    fn auto_takes_the_first_gpu_that_is_ready_and_says_why_there_is_none() {
        let gpu = |ordinal, is_simulated| Info {
            ordinal,
            name: format!("GPU {ordinal}"),
            memory: 1 << 30,
            facts: GpuFacts { capability: (9, 0), multiprocessors: 132, shared_memory: 232_448, l2_cache: 50 << 20 },
            is_simulated,
        };
        let found = [gpu(0, true), gpu(1, false), gpu(2, false)];
        let busy = |ordinal| bail!("cuda:{ordinal} is busy");
        let free = |ordinal| if ordinal == 1 { busy(1) } else { Ok(gpu(ordinal, false)) };
        assert_eq!(first_ready(&found, free).unwrap().ordinal, 2);
        let reasons = first_ready(&found, busy).unwrap_err().to_string();
        assert_eq!(reasons, "a simulated GPU is used only when it is asked for; cuda:1 is busy; cuda:2 is busy");
    }

    #[test]
    fn the_cpu_is_always_there() {
        let chosen = DeviceChoice::Cpu.choose().unwrap();
        assert_eq!((chosen.device, chosen.note), (DeviceId::Cpu, None));
    }
}
