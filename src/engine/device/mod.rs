//! Devices, which execute planned programs: the CPU, which is the reference, and GPUs.
//!
//! Training and translation go through [`Device`] and are the same code on all devices, as are programs, weights and
//! checkpoints.

mod choice;
pub mod cpu;
pub mod cuda;

pub use choice::{ChosenDevice, DeviceChoice, DeviceId};

use anyhow::Result;

use crate::engine::access::Control;
use crate::engine::kernel::cuda::PLAIN;
use crate::engine::program::Program;
use crate::engine::rewrite::{self, Pass};
use crate::engine::samples::{Crop, Samples};
use crate::engine::tensor::Tensor;
use cpu::Cpu;
use cuda::{Cuda, CudaOptions, PendingCopy};

/// The optimisations that a [`Device`] applies: CUDA graphs and fast kernels on a GPU, and rewrite passes over the
/// program. All are on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// True if a GPU runs each execution as one CUDA graph, false if it launches the kernels one by one. Without effect
    /// on the CPU.
    pub cuda_graph: bool,
    /// True if the rewrite passes ([`mod@rewrite`]) are applied to the program, which changes no bit of parameters,
    /// moments, losses and pictures. Gradients that only Adam reads can then not be read by the host.
    pub rewrite: bool,
    /// True if a GPU runs every step by its plain kernels, which run on tensors of any shape, and which the faster ones
    /// are tested against. Without effect on the CPU.
    pub plain_kernels: bool,
}

impl Default for DeviceOptions {
    fn default() -> DeviceOptions {
        DeviceOptions { cuda_graph: true, rewrite: true, plain_kernels: false }
    }
}

impl DeviceOptions {
    /// Returns the rewrite passes for a program that is to be executed, in the order of their application: none unless
    /// `rewrite` is true.
    pub fn passes(self) -> &'static [Pass] {
        match self.rewrite {
            true => rewrite::PASSES,
            false => &[],
        }
    }
}

/// A program with its memory on the CPU or on a GPU, ready to execute in f32.
#[derive(Debug)]
pub enum Device {
    Cpu(Box<Cpu<f32>>),
    Cuda(Box<Cuda>),
}

/// The values of a tensor that [`Device::read_later`] was asked for.
#[derive(Debug)]
pub enum PendingRead {
    /// They are here: the CPU has nothing to wait for.
    Done(Vec<f32>),
    /// A GPU copies them when it has computed them.
    Copying(PendingCopy),
}

impl Device {
    /// Applies the rewrite passes of `options` to `program`, plans its memory, and allocates it on `device`. Persistent
    /// buffers are zero at first; `control` has the control values of the first execution.
    ///
    /// # Errors
    /// When the memory does not suffice, or the GPU does not exist or cannot be used; for a GPU also when a buffer has
    /// 2^31 elements or more.
    pub fn new(program: Program, control: Control, device: DeviceId, options: DeviceOptions) -> Result<Device> {
        let program = program.rewritten(options.passes());
        Ok(match device {
            DeviceId::Cpu => Device::Cpu(Box::new(Cpu::new(program, control)?)),
            DeviceId::Cuda(ordinal) => {
                let forced = options.plain_kernels.then_some(PLAIN);
                let options = CudaOptions { ordinal, cuda_graph: options.cuda_graph, forced };
                Device::Cuda(Box::new(Cuda::new(program, control, options)?))
            }
        })
    }

    /// Runs every step of the program's main part (all but its on-demand steps) once. On a GPU this only enqueues the
    /// steps; the error of a kernel that fails is returned by a later call, at the latest by the next that waits.
    ///
    /// # Errors
    /// When an earlier kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
    pub fn execute(&mut self) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.execute();
                Ok(())
            }
            Device::Cuda(cuda) => cuda.execute(),
        }
    }

    /// Runs the program's on-demand steps, those after the first [`main_steps`](Program::main_steps), once. As
    /// [`Device::execute`], it only enqueues them on a GPU.
    ///
    /// # Errors
    /// When an earlier kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
    pub fn execute_on_demand(&mut self) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.execute_on_demand();
                Ok(())
            }
            Device::Cuda(cuda) => cuda.execute_on_demand(),
        }
    }

    /// Waits until the GPU has finished everything that earlier calls have enqueued. Returns at once on the CPU, whose
    /// calls enqueue nothing.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
    pub fn wait(&self) -> Result<()> {
        match self {
            Device::Cpu(_) => Ok(()),
            Device::Cuda(cuda) => cuda.wait(),
        }
    }

    /// Returns the program as it is executed: after the rewrite passes, and on a GPU with a further buffer for each
    /// step that needs scratch memory.
    pub fn program(&self) -> &Program {
        match self {
            Device::Cpu(cpu) => cpu.program(),
            Device::Cuda(cuda) => cuda.program(),
        }
    }

    /// Returns the number of bytes allocated on the device for all buffers (transient ones may share memory) and for
    /// scratch memory.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Device::Cpu(cpu) => cpu.memory_bytes(),
            Device::Cuda(cuda) => cuda.memory_bytes(),
        }
    }

    /// Returns the values of `tensor` in row-major order `[n, h, w, c]` without gaps, bf16 converted to f32. On a GPU
    /// it waits first for everything that has been enqueued. The values of a transient tensor are valid only until a
    /// later step reuses its memory.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
    ///
    /// # Panics
    /// If a rewrite pass has removed the buffer of `tensor`, or the program has no such buffer.
    pub fn read(&self, tensor: Tensor) -> Result<Vec<f32>> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.read(tensor)),
            Device::Cuda(cuda) => cuda.read(tensor),
        }
    }

    /// Asks for the values that `tensor` has after all executions so far, and does not wait for them on a GPU.
    /// [`Device::finish_read`] returns them.
    ///
    /// # Errors
    /// When an earlier kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
    ///
    /// # Panics
    /// As [`Device::read`].
    pub fn read_later(&mut self, tensor: Tensor) -> Result<PendingRead> {
        match self {
            Device::Cpu(cpu) => Ok(PendingRead::Done(cpu.read(tensor))),
            Device::Cuda(cuda) => cuda.read_later(tensor).map(PendingRead::Copying),
        }
    }

    /// Returns the values of a read, in row-major order `[n, h, w, c]` without gaps, bf16 converted to f32. On a GPU it
    /// waits for them, but for nothing that was enqueued after [`Device::read_later`].
    ///
    /// # Errors
    /// When a kernel has failed on the GPU; never on the CPU.
    ///
    /// # Panics
    /// If `read` is of a device of the other kind.
    pub fn finish_read(&mut self, read: PendingRead) -> Result<Vec<f32>> {
        match (self, read) {
            (_, PendingRead::Done(values)) => Ok(values),
            (Device::Cuda(cuda), PendingRead::Copying(copy)) => cuda.finish_read(copy),
            (Device::Cpu(_), PendingRead::Copying(_)) => panic!("a read of a GPU, finished on the CPU"),
        }
    }

    /// Sets the elements of `tensor` to `values`, in row-major order `[n, h, w, c]` without gaps. If the tensor is of
    /// bf16, each value is rounded to the nearest bf16, ties to even.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
    ///
    /// # Panics
    /// If `values` has not exactly one value for each element of `tensor`, or the program has no such buffer (any more:
    /// a rewrite pass may have removed it).
    pub fn write(&mut self, tensor: Tensor, values: &[f32]) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                cpu.write(tensor, values);
                Ok(())
            }
            Device::Cuda(cuda) => cuda.write(tensor, values),
        }
    }

    /// Shows `samples`, of the inputs and of the targets, in `tensors`, of f32, in the executions from now on:
    /// normalised to [-1, 1], and an image flipped left to right if it is marked in `mirrored`, the floats of
    /// [`Samples::normalize`], bit for bit. The CPU writes them to the tensors at once; on a GPU an execution begins
    /// with that. On the CPU, the tensors have to be contiguous.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, its memory does not suffice, or the driver refuses the call; never on the
    /// CPU.
    ///
    /// # Panics
    /// If a tensor is not of f32, or has another number of elements than its samples; on the CPU also if it is not
    /// contiguous, on a GPU also if the shapes differ, the two sides are not mirrored alike, or it keeps other pairs
    /// ([`Device::keep_pairs`]), or pairs for other tensors.
    pub fn show_samples(&mut self, tensors: [Tensor; 2], samples: [Samples<'_>; 2]) -> Result<()> {
        match self {
            Device::Cpu(cpu) => {
                let sides = tensors.into_iter().zip(samples);
                sides.for_each(|(tensor, samples)| cpu.write_with(tensor, |values| samples.normalize(values)));
                Ok(())
            }
            Device::Cuda(cuda) => cuda.show_samples(tensors, samples),
        }
    }

    /// Returns how many bytes of the GPU's memory are free, and how many it has; `None` on the CPU, whose memory is the
    /// host's.
    ///
    /// # Errors
    /// When the driver refuses the call.
    pub fn free_and_total_memory(&self) -> Result<Option<[usize; 2]>> {
        match self {
            Device::Cpu(_) => Ok(None),
            Device::Cuda(cuda) => cuda.free_and_total_memory().map(Some),
        }
    }

    /// Allocates memory on a GPU for pairs of pictures of `sizes`, height and width, to be filled by
    /// [`Device::write_pairs`]. From now on each execution of the main part begins by filling `tensors`, of f32, and
    /// what the program copies of them when they are written, with the crops of them that [`Device::show`] has set:
    /// normalised to [-1, 1], and mirrored left to right if that is asked for, the floats of [`Samples::normalize`],
    /// bit for bit.
    ///
    /// # Errors
    /// When the GPU does not have enough memory.
    ///
    /// # Panics
    /// On the CPU, which is shown pictures by [`Device::show_samples`] alone. Also if pairs are kept already, a
    /// picture is smaller than an image of the tensors, the tensors differ in more than their channels, or one is not
    /// of f32.
    pub fn keep_pairs(&mut self, sizes: &[[usize; 2]], tensors: [Tensor; 2]) -> Result<()> {
        self.gpu().keep_pairs(sizes, tensors)
    }

    /// Copies the pictures of pair `first` and of those behind it to the memory that [`Device::keep_pairs`] has
    /// allocated, as many as there are samples for: the inputs and the targets, `[h, w, c]` in row-major order, one
    /// after the other.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, or the driver refuses the call.
    ///
    /// # Panics
    /// If no pairs are kept, there is no pair `first`, or the samples of the two sides do not end with the same pair.
    pub fn write_pairs(&mut self, first: usize, pictures: [&[u16]; 2]) -> Result<()> {
        self.gpu().write_pairs(first, pictures)
    }

    /// Sets the crops that the executions from now on show, one for each image of the tensors of
    /// [`Device::keep_pairs`]. It only enqueues a copy of them.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, or the driver refuses the call.
    ///
    /// # Panics
    /// If no pairs are kept, there are more or fewer crops than images, or a crop is not inside of its pair.
    pub fn show(&mut self, crops: &[Crop]) -> Result<()> {
        self.gpu().show(crops)
    }

    fn gpu(&mut self) -> &mut Cuda {
        match self {
            Device::Cpu(_) => panic!("only a GPU keeps pairs"),
            Device::Cuda(cuda) => cuda,
        }
    }

    /// True if every element of the whole buffer of `tensor`, also outside of `tensor`, is neither infinite nor NaN.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
    ///
    /// # Panics
    /// If the program has no such buffer.
    pub fn is_finite(&mut self, tensor: Tensor) -> Result<bool> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.is_finite(tensor)),
            Device::Cuda(cuda) => cuda.is_finite(tensor),
        }
    }

    /// Returns the control values (seed, number of executions so far, learning rate). On a GPU it waits first for
    /// everything that has been enqueued.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
    pub fn control(&self) -> Result<Control> {
        match self {
            Device::Cpu(cpu) => Ok(cpu.control()),
            Device::Cuda(cuda) => cuda.control(),
        }
    }

    /// Sets the control values (seed, number of executions so far, learning rate), which hold from the next execution
    /// on.
    ///
    /// # Errors
    /// When a kernel has failed on the GPU, or the driver refuses the call; never on the CPU.
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
