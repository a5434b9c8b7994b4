//! Devices, which execute planned programs: the CPU, which is the reference, and GPUs.
//!
//! Training and translation go through [`Device`] and are the same code on all devices, as are programs, weights and
//! checkpoints.

mod choice;
pub mod cpu;
pub mod cuda;

pub use choice::{Chosen, DeviceChoice, DeviceId};

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::engine::access::Control;
use crate::engine::program::Program;
use crate::engine::rewrite::{self, Pass};
use crate::engine::samples::Samples;
use crate::engine::tensor::Tensor;
use cpu::Cpu;
use cuda::{Cuda, CudaOptions};

/// Options of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// True if a GPU replays each execution as one CUDA graph, instead of launching its kernels one by one.
    pub graph: bool,
    /// True if the program is rewritten for the device ([`mod@rewrite`]), which changes no bit of parameters, moments,
    /// losses and pictures. On the CPU, gradients that only Adam reads can then not be read by the host.
    pub rewrite: bool,
}

impl Default for DeviceOptions {
    fn default() -> DeviceOptions {
        DeviceOptions { graph: true, rewrite: true }
    }
}

impl DeviceOptions {
    /// The passes over a program that is to be executed on `device`.
    pub fn passes(self, device: DeviceId) -> &'static [Pass] {
        match device {
            DeviceId::Cpu if self.rewrite => rewrite::CPU,
            DeviceId::Cpu | DeviceId::Cuda(_) => &[],
        }
    }
}

/// A program with its memory on the CPU or on a GPU, ready to execute in f32.
#[derive(Debug)]
pub enum Device {
    Cpu(Cpu<f32>),
    Cuda(Box<Cuda>),
}

impl Device {
    /// Plans `program` into memory on `device`.
    ///
    /// # Errors
    /// When the memory does not suffice, or the GPU cannot be used.
    pub fn new(program: Program, control: Control, device: DeviceId, options: DeviceOptions) -> Result<Device> {
        let program = program.rewritten(options.passes(device));
        Ok(match device {
            DeviceId::Cpu => Device::Cpu(Cpu::new(program, control)?),
            DeviceId::Cuda(ordinal) => {
                let options = CudaOptions { ordinal, graph: options.graph, forced: None };
                Device::Cuda(Box::new(Cuda::new(program, control, options)?))
            }
        })
    }

    /// Runs every step of the main part once. On a GPU it returns before they have finished, and a kernel that fails is
    /// an error of the next call that reads.
    ///
    /// # Errors
    /// When the GPU has failed; never on the CPU.
    pub fn execute(&mut self) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.execute();
                Ok(())
            }
            Device::Cuda(cuda) => cuda.execute(),
        }
    }

    /// Runs the steps that were recorded to run on demand.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn execute_on_demand(&mut self) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.execute_on_demand();
                Ok(())
            }
            Device::Cuda(cuda) => cuda.execute_on_demand(),
        }
    }

    /// Runs every step of the main part once, and returns the time of each. A GPU launches the steps one by one for
    /// this. For measurements.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn execute_timed(&mut self) -> Result<Vec<Duration>> {
        match self {
            Device::Cpu(cpu) => {
                let (mut times, mut last) = (Vec::new(), Instant::now());
                cpu.execute_observed(|_, _| {
                    let now = Instant::now();
                    times.push(now - last);
                    last = now;
                });
                Ok(times)
            }
            Device::Cuda(cuda) => cuda.execute_timed(),
        }
    }

    /// Waits until everything that was started before has finished.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn wait(&self) -> Result<()> {
        match self {
            Device::Cpu(_) => Ok(()),
            Device::Cuda(cuda) => cuda.wait(),
        }
    }

    /// The executed program, after the passes of the device.
    pub fn program(&self) -> &Program {
        match self {
            Device::Cpu(cpu) => cpu.program(),
            Device::Cuda(cuda) => cuda.program(),
        }
    }

    /// Bytes of all buffers and of scratch memory.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Device::Cpu(cpu) => cpu.memory_bytes(),
            Device::Cuda(cuda) => cuda.memory_bytes(),
        }
    }

    /// The values of `tensor` in row-major order `[n, h, w, c]`, without gaps.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn read(&self, tensor: Tensor) -> Result<Vec<f32>> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.read(tensor)),
            Device::Cuda(cuda) => cuda.read(tensor),
        }
    }

    /// Sets the values of `tensor`, in row-major order `[n, h, w, c]`, without gaps.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn write(&mut self, tensor: Tensor, values: &[f32]) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.write(tensor, values);
                Ok(())
            }
            Device::Cuda(cuda) => cuda.write(tensor, values),
        }
    }

    /// Sets `tensor` to normalised samples. On the CPU it has to be contiguous.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn write_samples(&mut self, tensor: Tensor, samples: Samples<'_>) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.write_with(tensor, |values| samples.normalize(values));
                Ok(())
            }
            Device::Cuda(cuda) => cuda.write_samples(tensor, samples),
        }
    }

    /// True if every value of the buffer of `tensor` is finite.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn is_finite(&mut self, tensor: Tensor) -> Result<bool> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.is_finite(tensor)),
            Device::Cuda(cuda) => cuda.is_finite(tensor),
        }
    }

    /// The control values: seed, step and learning rate.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn control(&self) -> Result<Control> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.control()),
            Device::Cuda(cuda) => cuda.control(),
        }
    }

    /// Sets the control values for the next execution.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn set_control(&mut self, control: Control) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.set_control(control);
                Ok(())
            }
            Device::Cuda(cuda) => cuda.set_control(control),
        }
    }
}
