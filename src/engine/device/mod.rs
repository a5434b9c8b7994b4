//! Devices execute planned programs. The CPU is the reference that every other device is held to.
//!
//! The one idea: whoever trains or translates has a [`Device`] and does not ask which. A program, its weights and a
//! checkpoint are the same on all of them.

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

/// Options of executing programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// A GPU replays each execution as one CUDA graph, instead of launching kernel after kernel.
    pub graph: bool,
    /// The program is rewritten for the device ([`mod@rewrite`]), which changes no bit of parameters, moments,
    /// losses and pictures. On the CPU, gradients that go from one step into Adam alone are then nowhere to be read.
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

/// A program with its memory, ready to execute in f32.
#[derive(Debug)]
pub enum Device {
    Cpu(Cpu<f32>),
    Cuda(Box<Cuda>),
}

impl Device {
    /// Plans `program` into memory on `device`.
    ///
    /// # Errors
    /// When there is not that much memory, or the GPU cannot be used.
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

    /// Runs every step of the main part once. A GPU may still be at it when this returns; what fails there is an error
    /// of the next call that reads.
    ///
    /// # Errors
    /// When the GPU has failed. The CPU does not.
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

    /// As [`Device::execute`], but returns when all is done, with the time that each step took. A GPU launches the
    /// steps one by one here. For measurements.
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

    /// Returns when everything before has been done.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn wait(&self) -> Result<()> {
        match self {
            Device::Cpu(_) => Ok(()),
            Device::Cuda(cuda) => cuda.wait(),
        }
    }

    /// The program as it is executed, after the passes of the device.
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

    /// The values of `tensor`, pixel by pixel.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn read(&self, tensor: Tensor) -> Result<Vec<f32>> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.read(tensor)),
            Device::Cuda(cuda) => cuda.read(tensor),
        }
    }

    /// Sets the values of `tensor`, pixel by pixel.
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

    /// Fills `tensor`, contiguous on the CPU, with normalised samples.
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

    /// True if all values of the buffer of `tensor` are finite.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn is_finite(&mut self, tensor: Tensor) -> Result<bool> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.is_finite(tensor)),
            Device::Cuda(cuda) => cuda.is_finite(tensor),
        }
    }

    /// The values that change from one execution to the next.
    ///
    /// # Errors
    /// As [`Device::execute`].
    pub fn control(&self) -> Result<Control> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.control()),
            Device::Cuda(cuda) => cuda.control(),
        }
    }

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
