//! The CUDA device: turns a program into launches once, and replays them as one CUDA graph.
//!
//! Addresses never change, so neither do launches. Each step describes its launches in safe code ([`CudaStep`]); the
//! device loads the kernels, launches them in recorded order, and captures the sequence as a graph, so that a training
//! step is one call of the driver.

mod checked;
mod driver;
mod errors;
mod graph;
mod launching;
mod library;
mod memory;
mod samples;
mod tensor_map;
mod timing;

pub use driver::{Info, devices, ready, usable};
pub use library::FUNCTIONS;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use half::bf16;

use crate::engine::access::{Access, Control};
use crate::engine::kernel::cuda::kernels::{ALL_FINITE, AllFinite};
use crate::engine::kernel::cuda::{Context, CudaStep, DeviceControl, GpuFacts, Launch, Ptr, PtrMut, int};
use crate::engine::plan::{Dependencies, Plan};
use crate::engine::program::{Lifetime, Program, RecordedStep};
use crate::engine::tensor::{BufferId, DType, Tensor};
use driver::Gpu;
use errors::explain;
use graph::Sequence;
use launching::{permit_shared_memory, run};
use memory::Memory;
use samples::Staging;
use tensor_map::tensor_map;

/// Options of a CUDA device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// Index of the GPU on this machine.
    pub ordinal: usize,
    /// True if each execution is replayed as one CUDA graph, false if its kernels are launched one by one.
    pub graph: bool,
    /// The name of the implementation to use for every step that has one of this name and can run it. For tests and
    /// measurements.
    pub forced: Option<&'static str>,
}

/// The chosen implementation of a step, and its scratch memory.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    implementation: &'static str,
    workspace: Option<Tensor>,
}

/// A program with its memory on a GPU, ready to execute.
#[derive(Debug)]
pub struct Cuda {
    program: Program,
    dependencies: Dependencies,
    /// The implementation of each step.
    chosen: Vec<Chosen>,
    stream: Arc<CudaStream>,
    gpu: Arc<Gpu>,
    memory: Memory,
    control: CudaSlice<DeviceControl>,
    /// The result of the kernel `all_finite`: 1 if it has found a value that is not finite.
    not_finite: CudaSlice<i32>,
    /// Staging memory for samples, by the buffer that they are converted into.
    staging: HashMap<BufferId, Staging>,
    /// The launches of an execution.
    main: Sequence,
    /// The launches of the on-demand steps.
    on_demand: Sequence,
}

impl Cuda {
    /// Plans `program` into one arena on the GPU.
    ///
    /// # Errors
    /// When the GPU does not exist, cannot be used, or has not enough memory.
    pub fn new(program: Program, control: Control, options: CudaOptions) -> Result<Cuda> {
        let cuda = Cuda::start(program, control, options, |stream, program, dependencies| {
            Memory::arena(stream, &program.buffers, &Plan::new(program, dependencies, DType::bytes))
        })?;
        let (main, all) = (cuda.program.main, cuda.program.steps.len());
        let sequence = |steps: std::ops::Range<usize>| {
            let launches: Vec<Launch> = steps.flat_map(|step| cuda.launches(step)).collect();
            permit_shared_memory(&cuda.gpu, &launches).map(|()| Sequence::new(launches, options.graph))
        };
        let (main, on_demand) = (sequence(0..main)?, sequence(main..all)?);
        Ok(Cuda { main, on_demand, ..cuda })
    }

    /// A device with a separate allocation for each buffer, for [`Cuda::execute_in_random_order`]. For tests.
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
        let chosen = choose(&mut program, &gpu.facts, options.forced);
        for (_, buffer) in program.buffers.iter() {
            ensure!(
                i32::try_from(buffer.count()).is_ok(),
                "a tensor of {} elements is too large for the CUDA kernels, which count to 2^31; a smaller batch or \
                 picture makes it smaller",
                buffer.count()
            );
        }
        let stream = context.new_stream().map_err(|error| explain("cannot make a stream", error))?;
        let dependencies = Dependencies::new(&program);
        let memory = memory(&stream, &program, &dependencies)?;
        let upload = |error| explain("cannot write to GPU memory", error);
        let control = stream.clone_htod(&[DeviceControl::from(control)]).map_err(upload)?;
        let not_finite = stream.alloc_zeros(1).map_err(upload)?;
        let (main, on_demand) = (Sequence::default(), Sequence::default());
        Ok(Cuda {
            program,
            dependencies,
            chosen,
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

    /// The launches of step `index`, with the addresses that its buffers have now.
    fn launches(&self, index: usize) -> Vec<Launch> {
        let recorded = &self.program.steps[index];
        let Chosen { implementation, workspace } = self.chosen[index];
        let context = Context {
            accesses: &recorded.accesses,
            address: &|tensor| self.memory.address(&self.stream, tensor),
            tensor_map: &|tensor, boxes| tensor_map(tensor, self.memory.address(&self.stream, tensor), boxes),
            workspace,
            control: self.control.device_ptr(&self.stream).0,
        };
        recorded.step.launches(implementation, &context)
    }

    /// Starts every step of the main part once, in recorded order, without waiting for them: a kernel that fails is an
    /// error of the next call that reads.
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

    /// Waits until the GPU has finished everything that was started before.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn wait(&self) -> Result<()> {
        self.done("a CUDA kernel has failed", self.stream.synchronize())
    }

    /// Names of the implementations that can run step `index` on this GPU, and the name of the chosen one.
    pub fn implementations(&self, index: usize) -> (Vec<&'static str>, &'static str) {
        let step = &self.program.steps[index].step;
        (step.implementations(&self.gpu.facts), self.chosen[index].implementation)
    }

    /// The values of `tensor` in row-major order, bf16 widened, after waiting for everything that was started before.
    /// Those of a transient tensor are lost if its memory has been reused.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn read(&self, tensor: Tensor) -> Result<Vec<f32>> {
        let span = self.stream.clone_dtoh(&self.memory.view(tensor));
        let span = to_f32(tensor.dtype, &self.done("cannot read GPU memory", span)?);
        Ok(span.chunks(tensor.stride.max(1)).flat_map(|pixel| &pixel[..tensor.channels()]).copied().collect())
    }

    /// Sets the values of `tensor`, in row-major order, bf16 rounded.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn write(&mut self, tensor: Tensor, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), tensor.count(), "values for {tensor:?}");
        let mut span = to_bytes(tensor.dtype, values);
        if tensor.stride != tensor.channels() {
            let old = self.stream.clone_dtoh(&self.memory.view(tensor));
            let old = self.done("cannot read GPU memory", old)?;
            let new = std::mem::replace(&mut span, old);
            let [stride, channels] = [tensor.stride, tensor.channels()].map(|count| count * tensor.dtype.bytes());
            for (pixel, values) in span.chunks_mut(stride).zip(new.chunks(channels)) {
                pixel[..values.len()].copy_from_slice(values);
            }
        }
        let sent = self.stream.memcpy_htod(&span, &mut self.memory.view_mut(tensor));
        self.done("cannot write to GPU memory", sent)
    }

    /// True if every value of the buffer of `tensor` is finite.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn is_finite(&mut self, tensor: Tensor) -> Result<bool> {
        let count = self.program.buffers.get(tensor.buffer).count();
        let buffer = Tensor { offset: 0, shape: [1, 1, 1, count], stride: count, ..tensor };
        if tensor.dtype != DType::F32 {
            return Ok(self.read(buffer)?.iter().all(|value| value.is_finite()));
        }
        let cleared = self.stream.memset_zeros(&mut self.not_finite);
        self.done("cannot write to GPU memory", cleared)?;
        let argument = AllFinite {
            values: Ptr::new(self.memory.address(&self.stream, buffer)),
            not_finite: PtrMut::new(self.not_finite.device_ptr(&self.stream).0),
            count: int(count),
        };
        run(&self.stream, &self.gpu.functions, &ALL_FINITE.launch_for(count, argument))?;
        let found = self.done("cannot read GPU memory", self.stream.clone_dtoh(&self.not_finite))?;
        Ok(found == [0])
    }

    /// The control values: seed, step and learning rate.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn control(&self) -> Result<Control> {
        let control = self.done("cannot read GPU memory", self.stream.clone_dtoh(&self.control))?;
        Ok(control[0].into())
    }

    /// Sets the control values for the next execution.
    ///
    /// # Errors
    /// When a kernel has failed.
    pub fn set_control(&mut self, control: Control) -> Result<()> {
        let sent = self.stream.memcpy_htod(&[DeviceControl::from(control)], &mut self.control);
        self.done("cannot write to GPU memory", sent)
    }

    /// The executed program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The properties of the GPU.
    pub fn info(&self) -> &Info {
        &self.gpu.info
    }

    /// Bytes of all buffers.
    pub fn memory_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// `outcome`, or its error, or that of an earlier call that could not report one.
    fn done<T>(&self, what: &str, outcome: Result<T, cudarc::driver::DriverError>) -> Result<T> {
        let value = outcome.map_err(|error| explain(what, error))?;
        self.stream.context().check_err().map_err(|error| explain("a CUDA kernel has failed", error))?;
        Ok(value)
    }
}

/// Chooses an implementation for each step (`forced` where the step has it and it runs), and adds a transient buffer
/// for its scratch memory, which is planned like any other.
fn choose(program: &mut Program, gpu: &GpuFacts, forced: Option<&str>) -> Vec<Chosen> {
    let Program { buffers, steps, .. } = program;
    let choose = |recorded: &mut RecordedStep| {
        let names = recorded.step.implementations(gpu);
        let implementation = names.iter().find(|name| Some(**name) == forced).unwrap_or(&names[0]);
        let bytes = CudaStep::workspace(&*recorded.step, implementation);
        let words = bytes.div_ceil(DType::F32.bytes());
        let workspace = (words > 0).then(|| buffers.add(DType::F32, [1, 1, 1, words], Lifetime::Transient));
        recorded.accesses.extend(workspace.map(Access::Write));
        Chosen { implementation, workspace }
    };
    steps.iter_mut().map(choose).collect()
}

/// The values of elements from the device, whose byte order is that of this machine.
fn to_f32(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F32 => bytes.chunks_exact(4).map(|x| f32::from_ne_bytes([x[0], x[1], x[2], x[3]])).collect(),
        DType::Bf16 => bytes.chunks_exact(2).map(|x| bf16::from_ne_bytes([x[0], x[1]]).to_f32()).collect(),
    }
}

/// The bytes of elements for the device; bf16 rounded to nearest.
fn to_bytes(dtype: DType, values: &[f32]) -> Vec<u8> {
    match dtype {
        DType::F32 => values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        DType::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_ne_bytes()).collect(),
    }
}
