//! The CUDA device: turns a program into launches once, and replays them as one CUDA graph.
//!
//! The one idea: addresses never change, so neither do launches. Each step says in safe code what it launches
//! ([`CudaKernel`]); the device loads the kernels, launches them in recorded order, and has the driver keep the sequence as a
//! graph, so that a training step costs one call.

mod checked;
mod driver;
mod errors;
mod graph;
mod library;
mod memory;
mod samples;
mod timing;

pub use driver::{Info, devices, ready, usable};
pub use library::FUNCTIONS;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg};

use crate::engine::access::{Access, Control};
use crate::engine::kernel::cuda::kernels::{self, KERNELS};
use crate::engine::kernel::cuda::{Argument, Context, CudaKernel, DeviceControl, Launch, Ptr, PtrMut, blocks, int};
use crate::engine::plan::{Dependencies, Plan};
use crate::engine::program::{Lifetime, Program};
use crate::engine::tensor::{BufferId, Tensor};
use driver::Gpu;
use errors::explain;
use graph::Sequence;
use memory::Memory;
use samples::Staging;

/// How a program is executed on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// Which of the machine's GPUs.
    pub ordinal: usize,
    /// Replay each execution as one CUDA graph, or launch its kernels one by one.
    pub graph: bool,
}

/// A program with its memory on a GPU, ready to execute.
#[derive(Debug)]
pub struct Cuda {
    program: Program,
    dependencies: Dependencies,
    /// By step, its scratch memory.
    workspaces: Vec<Option<Tensor>>,
    stream: Arc<CudaStream>,
    gpu: Arc<Gpu>,
    memory: Memory,
    control: CudaSlice<DeviceControl>,
    /// Set by the kernel `all_finite`.
    not_finite: CudaSlice<i32>,
    /// By the buffer that is filled.
    staging: HashMap<BufferId, Staging>,
    /// What an execution launches, and what runs on demand.
    main: Sequence,
    on_demand: Sequence,
}

impl Cuda {
    /// Plans `program` into one arena on the GPU.
    ///
    /// # Errors
    /// When there is no such GPU, it cannot be used, or it has not that much memory.
    pub fn new(program: Program, control: Control, options: CudaOptions) -> Result<Cuda> {
        let mut cuda = Cuda::start(program, control, options, |stream, program, dependencies| {
            Memory::arena(stream, &program.buffers, &Plan::of(program, dependencies))
        })?;
        let (main, all) = (cuda.program.main, cuda.program.steps.len());
        cuda.main = Sequence::new((0..main).flat_map(|step| cuda.launches(step)).collect(), options.graph);
        cuda.on_demand = Sequence::new((main..all).flat_map(|step| cuda.launches(step)).collect(), options.graph);
        Ok(cuda)
    }

    /// Gives every buffer an allocation of its own, for [`Cuda::execute_in_random_order`]. For tests.
    ///
    /// # Errors
    /// As [`Cuda::new`].
    pub fn checked(program: Program, control: Control, options: CudaOptions) -> Result<Cuda> {
        Cuda::start(program, control, options, |stream, program, _| Memory::separate(stream, &program.buffers))
    }

    fn start(
        mut program: Program,
        control: Control,
        options: CudaOptions,
        memory: impl FnOnce(&Arc<CudaStream>, &Program, &Dependencies) -> Result<Memory>,
    ) -> Result<Cuda> {
        let (context, gpu) = driver::open(options.ordinal)?;
        let workspaces = add_workspaces(&mut program);
        for (_, buffer) in program.buffers.iter() {
            ensure!(
                i32::try_from(buffer.count()).is_ok(),
                "a tensor of {} elements is too large for the CUDA kernels, which count to 2^31; a smaller batch or \
                 picture makes it smaller",
                buffer.count()
            );
        }
        let stream = context.new_stream().map_err(|error| explain("cannot make a stream", error))?;
        let dependencies = Dependencies::of(&program);
        let memory = memory(&stream, &program, &dependencies)?;
        let upload = |error| explain("cannot write to GPU memory", error);
        let control = stream.clone_htod(&[DeviceControl::from(control)]).map_err(upload)?;
        let not_finite = stream.alloc_zeros(1).map_err(upload)?;
        let (main, on_demand) = (Sequence::default(), Sequence::default());
        Ok(Cuda {
            program,
            dependencies,
            workspaces,
            stream,
            gpu,
            memory,
            control,
            not_finite,
            staging: HashMap::new(),
            main,
            on_demand,
        })
    }

    /// What step `index` launches, with the memory as it is now.
    fn launches(&self, index: usize) -> Vec<Launch> {
        let recorded = &self.program.steps[index];
        recorded.step.launches(&Context {
            accesses: &recorded.accesses,
            address: &|tensor| self.memory.address(&self.stream, tensor),
            workspace: self.workspaces[index],
            control: self.control.device_ptr(&self.stream).0,
        })
    }

    /// Runs every step of the main part once, in recorded order. Returns before the GPU has done so: an error may come up
    /// only when something is read.
    ///
    /// # Errors
    /// When the driver refuses, or an earlier execution has failed.
    pub fn execute(&mut self) -> Result<()> {
        self.main.run(&self.stream, &self.gpu.functions)
    }

    /// Runs the steps that were recorded to run on demand.
    ///
    /// # Errors
    /// As [`Cuda::execute`].
    pub fn execute_on_demand(&mut self) -> Result<()> {
        self.on_demand.run(&self.stream, &self.gpu.functions)
    }

    /// Returns when the GPU has done everything before.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn wait(&self) -> Result<()> {
        self.done("a CUDA kernel has failed", self.stream.synchronize())
    }

    /// The values of `tensor`, pixel by pixel, once everything before has been done. Those of a transient tensor may already
    /// have made room for others.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn read(&self, tensor: Tensor) -> Result<Vec<f32>> {
        let span = self.stream.clone_dtoh(&self.memory.view(tensor));
        let span = self.done("cannot read GPU memory", span)?;
        Ok(span.chunks(tensor.stride.max(1)).flat_map(|pixel| &pixel[..tensor.channels()]).copied().collect())
    }

    /// Sets the values of `tensor`, pixel by pixel.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn write(&mut self, tensor: Tensor, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), tensor.count(), "values for {tensor:?}");
        let is_contiguous = tensor.stride == tensor.channels();
        let mut span = Vec::new();
        if !is_contiguous {
            let old = self.stream.clone_dtoh(&self.memory.view(tensor));
            span = self.done("cannot read GPU memory", old)?;
            for (pixel, values) in span.chunks_mut(tensor.stride).zip(values.chunks(tensor.channels())) {
                pixel[..values.len()].copy_from_slice(values);
            }
        }
        let span = if is_contiguous { values } else { &span };
        let sent = self.stream.memcpy_htod(span, &mut self.memory.view_mut(tensor));
        self.done("cannot write to GPU memory", sent)
    }

    /// Whether all values of the buffer of `tensor` are finite.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn is_finite(&mut self, tensor: Tensor) -> Result<bool> {
        let count = self.program.buffers.get(tensor.buffer).count();
        let buffer = Tensor { offset: 0, shape: [1, 1, 1, count], stride: count, ..tensor };
        let cleared = self.stream.memset_zeros(&mut self.not_finite);
        self.done("cannot write to GPU memory", cleared)?;
        let values = Ptr::new(self.memory.address(&self.stream, buffer));
        let found = PtrMut::new(self.not_finite.device_ptr(&self.stream).0);
        let grid = blocks(count, kernels::all_finite::BLOCK);
        let launch = kernels::all_finite(grid, values, found, int(count));
        run(&self.stream, &self.gpu.functions, &launch)?;
        let found = self.done("cannot read GPU memory", self.stream.clone_dtoh(&self.not_finite))?;
        Ok(found == [0])
    }

    /// # Errors
    /// When a kernel has failed.
    pub fn control(&self) -> Result<Control> {
        let control = self.done("cannot read GPU memory", self.stream.clone_dtoh(&self.control))?;
        Ok(control[0].into())
    }

    /// # Errors
    /// When a kernel has failed.
    pub fn set_control(&mut self, control: Control) -> Result<()> {
        let sent = self.stream.memcpy_htod(&[DeviceControl::from(control)], &mut self.control);
        self.done("cannot write to GPU memory", sent)
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The GPU.
    pub fn info(&self) -> &Info {
        &self.gpu.info
    }

    /// Bytes of all buffers.
    pub fn memory_bytes(&self) -> usize {
        self.memory.elements() * size_of::<f32>()
    }

    /// `outcome`, or what went wrong in it or in a call before it that could not say so.
    fn done<T>(&self, what: &str, outcome: Result<T, cudarc::driver::DriverError>) -> Result<T> {
        let value = outcome.map_err(|error| explain(what, error))?;
        self.stream.context().check_err().map_err(|error| explain("a CUDA kernel has failed", error))?;
        Ok(value)
    }
}

/// Gives each step that wants scratch memory a buffer of its own, which is planned like any other.
fn add_workspaces(program: &mut Program) -> Vec<Option<Tensor>> {
    let Program { buffers, steps, .. } = program;
    let workspaces = steps.iter_mut().map(|recorded| {
        let count = CudaKernel::workspace(&*recorded.step);
        let workspace = (count > 0).then(|| buffers.add([1, 1, 1, count], Lifetime::Transient));
        recorded.accesses.extend(workspace.map(Access::Write));
        workspace
    });
    workspaces.collect()
}

/// Puts one launch on the stream.
fn run(stream: &Arc<CudaStream>, functions: &[CudaFunction], launch: &Launch) -> Result<()> {
    let kernel = &KERNELS[launch.kernel];
    let mut builder = stream.launch_builder(&functions[launch.kernel]);
    for argument in &launch.arguments {
        match argument {
            Argument::Pointer(address) => builder.arg(address),
            Argument::Int(value) => builder.arg(value),
            Argument::Float(value) => builder.arg(value),
            Argument::Double(value) => builder.arg(value),
        };
    }
    let config =
        LaunchConfig { grid_dim: launch.grid.dimensions(), block_dim: (kernel.block, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: number, order and types of the arguments are those of the kernel's declaration, from which the function that
    // made the launch was generated. Pointers are spans of declared tensors in live memory of this device, and sizes come
    // from the same tensors' shapes. That a kernel stays inside them is what the simulator's checker and compute-sanitizer
    // watch in the tests.
    let launched = unsafe { builder.launch(config) };
    launched.map(drop).map_err(|error| explain(&format!("cannot launch {}", kernel.name), error))
}
