//! The CUDA device: turns a program into launches once, and replays them as one CUDA graph.
//!
//! Addresses never change, so neither do launches. Each step describes its launches in safe code
//! ([`CudaStep`](crate::engine::kernel::cuda::CudaStep)); the device loads the kernels, launches them in an order that
//! keeps the dependencies, and captures the sequence as a graph, so that a training step is one call of the driver.

mod checked;
pub mod counts;
mod driver;
mod errors;
mod graph;
mod launching;
mod library;
mod memory;
mod nvtx;
mod pinned;
mod resident;
mod tensor_map;
mod timing;
mod units;

pub use driver::{Info, check_gpu, devices, prepare_gpu};
pub use library::FUNCTIONS;
pub use pinned::PendingCopy;
pub use timing::TimedLaunch;
pub use units::{PICTURES, Unit};

use std::sync::Arc;

use anyhow::{Result, ensure};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use half::bf16;

use crate::engine::access::{Access, Control};
use crate::engine::kernel::cuda::kernels::{ALL_FINITE, AllFinite, KERNELS};
use crate::engine::kernel::cuda::{Context, DeviceControl, GpuFacts, Launch, Ptr, PtrMut, Scratch, beside, to_int};
use crate::engine::plan::{Dependencies, Plan};
use crate::engine::program::{HostCopy, Lifetime, Program, RecordedStep};
use crate::engine::tensor::{DType, Tensor};
use driver::Gpu;
use errors::explain;
use graph::Sequence;
use launching::{permit_shared_memory, run};
use memory::Memory;
use pinned::Pinned;
use resident::ResidentPairs;
use tensor_map::tensor_map;
use units::side_by_side;

/// The GPU of a [`Cuda`] device, and the way in which its steps are launched: as a CUDA graph or one by one, and by
/// which implementations of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// Index of the GPU on this machine.
    pub ordinal: usize,
    /// True if each execution is replayed as one CUDA graph, false if its kernels are launched one by one.
    pub cuda_graph: bool,
    /// The name of the implementation to use for every step that has one of this name and can run it; all other steps,
    /// and all if `None`, use their preferred one. For tests and measurements.
    pub forced: Option<&'static str>,
}

/// The chosen implementation of a step, its scratch memory and tickets (`None` if it needs none), and the blocks that
/// share sums ([`Scratch::shares`]).
#[derive(Clone, Copy, Debug)]
struct ChosenImplementation {
    implementation: &'static str,
    workspace: Option<Tensor>,
    tickets: Option<Tensor>,
    shares: usize,
}

/// A program with its memory on a GPU, ready to execute.
#[derive(Debug)]
pub struct Cuda {
    program: Program,
    dependencies: Dependencies,
    /// The implementation of each step.
    chosen: Vec<ChosenImplementation>,
    stream: Arc<CudaStream>,
    gpu: Arc<Gpu>,
    memory: Memory,
    control: CudaSlice<DeviceControl>,
    /// The result of the kernel `all_finite`: 1 if it has found a value that is not finite.
    not_finite: CudaSlice<i32>,
    /// Pairs of pictures of which each execution shows crops; `None` if none are kept.
    resident: Option<ResidentPairs>,
    /// Host memory of finished reads, for later ones.
    read_buffers: Vec<Pinned<u8>>,
    /// The launches of an execution.
    main: Sequence,
    /// The units of these launches, in their order.
    units: Vec<Unit>,
    /// The launches of the on-demand steps.
    on_demand: Sequence,
}

impl Cuda {
    /// Opens the GPU, chooses an implementation for each step of `program`, and allocates one arena for all buffers.
    /// Persistent buffers are zero at first; `control` has the control values of the first execution.
    ///
    /// # Errors
    /// When the GPU does not exist, cannot be used, or does not have enough memory, or a buffer has 2^31 elements or
    /// more.
    pub fn new(program: Program, control: Control, options: CudaOptions) -> Result<Cuda> {
        let cuda = Cuda::start(program, control, options, |stream, program, dependencies| {
            Memory::arena(stream, &program.buffers, &Plan::new(program, dependencies, DType::bytes))
        })?;
        let (main, all) = (cuda.program.main, cuda.program.steps.len());
        let sequence = |launches: Vec<Launch>| {
            permit_shared_memory(&cuda.gpu, &launches).map(|()| Sequence::new(launches, options.cuda_graph))
        };
        let on_demand = sequence((main..all).flat_map(|step| cuda.launches(step)).collect())?;
        let steps = (0..main).map(|step| cuda.launches(step)).collect();
        let (units, launches): (Vec<Unit>, Vec<Vec<Launch>>) =
            side_by_side(steps, &cuda.dependencies).into_iter().unzip();
        let main = sequence(launches.concat())?;
        Ok(Cuda { main, on_demand, units, ..cuda })
    }

    /// Creates a device with a separate allocation for each buffer, so that the simulator or compute-sanitizer sees
    /// every access outside of a buffer. Its program is executed by [`Cuda::execute_shuffled`] alone, since transient
    /// buffers exist only while they are in use. For tests.
    ///
    /// # Errors
    /// When the GPU does not exist, cannot be used, or does not have enough memory, or a buffer has 2^31 elements or
    /// more.
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
            resident: None,
            read_buffers: Vec::new(),
            main,
            units: Vec::new(),
            on_demand,
        })
    }

    /// The launches of step `index`, with the addresses that its buffers have now.
    fn launches(&self, index: usize) -> Vec<Launch> {
        self.launches_of(&self.program.steps[index], self.chosen[index])
    }

    /// The launches of a host copy, whose step has one implementation and needs no scratch memory.
    fn copy_launches(&self, copy: &HostCopy) -> Vec<Launch> {
        let implementation = copy.step.step.implementations(&self.gpu.facts)[0];
        let chosen = ChosenImplementation { implementation, workspace: None, tickets: None, shares: 0 };
        self.launches_of(&copy.step, chosen)
    }

    /// Enqueues the copies of `written`, which the host has just written.
    fn copy_on(&self, written: Tensor) -> Result<()> {
        let launches = self.program.host_copies_of(written).flat_map(|copy| self.copy_launches(copy));
        launches.into_iter().try_for_each(|launch| run(&self.stream, &self.gpu.functions, &launch))
    }

    fn launches_of(&self, recorded: &RecordedStep, chosen: ChosenImplementation) -> Vec<Launch> {
        let ChosenImplementation { implementation, workspace, tickets, .. } = chosen;
        let context = Context {
            accesses: &recorded.accesses,
            address: &|tensor| self.memory.address(&self.stream, tensor),
            tensor_map: &|tensor, boxes| tensor_map(tensor, self.memory.address(&self.stream, tensor), boxes),
            workspace,
            tickets,
            gpu: &self.gpu.facts,
            control: self.control.device_ptr(&self.stream).0,
        };
        recorded.step.launches(implementation, &context)
    }

    fn launches_of_unit(&self, unit: Unit) -> Vec<Launch> {
        match unit {
            Unit::Crops => self.resident.as_ref().map_or_else(Vec::new, |pairs| pairs.launches.clone()),
            Unit::Step(step) => self.launches(step),
            Unit::Pair { patch, wgrad } => {
                let [patch, wgrad] = [patch, wgrad].map(|step| self.launches(step).remove(0));
                beside(&patch, &wgrad).into_iter().collect()
            }
        }
    }

    /// Returns the names of the kernels of `unit`, in the order of their launches.
    ///
    /// # Panics
    /// If the program has no such step.
    pub fn kernels(&self, unit: Unit) -> Vec<&'static str> {
        self.launches_of_unit(unit).iter().map(|launch| KERNELS[launch.kernel].name).collect()
    }

    /// Returns what an execution of the main part launches, in this order; of a device of [`Cuda::checked`] nothing.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Enqueues every step of the program's main part (all but its on-demand steps) once, in an order that keeps the
    /// dependencies. The error of a kernel that fails is returned by a later call, at the latest by the next that
    /// waits.
    ///
    /// # Errors
    /// When an earlier kernel has failed, or the driver refuses the call.
    ///
    /// # Panics
    /// On a device of [`Cuda::checked`].
    pub fn execute(&mut self) -> Result<()> {
        self.memory.assert_arena();
        self.main.run(&self.stream, &self.gpu.functions)
    }

    /// Enqueues the program's on-demand steps, those after the first [`main_steps`](Program::main_steps), once, in
    /// recorded order.
    ///
    /// # Errors
    /// When an earlier kernel has failed, or the driver refuses the call.
    ///
    /// # Panics
    /// On a device of [`Cuda::checked`].
    pub fn execute_on_demand(&mut self) -> Result<()> {
        self.memory.assert_arena();
        self.on_demand.run(&self.stream, &self.gpu.functions)
    }

    /// Waits until the GPU has finished everything that earlier calls have enqueued.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    pub fn wait(&self) -> Result<()> {
        self.done("a CUDA kernel has failed", self.stream.synchronize())
    }

    /// Returns the names of the implementations that can run step `index` of the program on this GPU, the preferred one
    /// first, and the name of the one that is used.
    ///
    /// # Panics
    /// If the program has no step `index`.
    pub fn implementations(&self, index: usize) -> (Vec<&'static str>, &'static str) {
        let step = &self.program.steps[index].step;
        (step.implementations(&self.gpu.facts), self.chosen[index].implementation)
    }

    /// Returns the values of `tensor` in row-major order `[n, h, w, c]` without gaps, bf16 converted to f32, after
    /// waiting for everything that has been enqueued. The values of a transient tensor are valid only until a later
    /// step reuses its memory.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    ///
    /// # Panics
    /// If the program has no such buffer, or it is a transient one of a checked device, which is not allocated between
    /// executions.
    pub fn read(&self, tensor: Tensor) -> Result<Vec<f32>> {
        let span = self.stream.clone_dtoh(&self.memory.view(tensor));
        Ok(elements(tensor, &self.done("cannot read GPU memory", span)?))
    }

    /// Sets the elements of `tensor` to `values`, in row-major order `[n, h, w, c]` without gaps. If the tensor is of
    /// bf16, each value is rounded to the nearest bf16, ties to even.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    ///
    /// # Panics
    /// If `values` has not exactly one value for each element of `tensor`, or the program has no such buffer.
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
        self.done("cannot write to GPU memory", sent)?;
        self.copy_on(tensor)
    }

    /// True if every element of the whole buffer of `tensor`, also outside of `tensor`, is neither infinite nor NaN.
    /// Waits for everything that has been enqueued.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    ///
    /// # Panics
    /// If the program has no such buffer, or it is a transient one of a checked device, which is not allocated between
    /// executions.
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
            count: to_int(count),
        };
        run(&self.stream, &self.gpu.functions, &ALL_FINITE.launch_for(count, argument))?;
        let found = self.done("cannot read GPU memory", self.stream.clone_dtoh(&self.not_finite))?;
        Ok(found == [0])
    }

    /// Returns the control values (seed, number of executions so far, learning rate), after waiting for everything that
    /// has been enqueued.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    pub fn control(&self) -> Result<Control> {
        let control = self.done("cannot read GPU memory", self.stream.clone_dtoh(&self.control))?;
        Ok(control[0].into())
    }

    /// Sets the control values (seed, number of executions so far, learning rate), which hold from the next execution
    /// on.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    pub fn set_control(&mut self, control: Control) -> Result<()> {
        let sent = self.stream.memcpy_htod(&[DeviceControl::from(control)], &mut self.control);
        self.done("cannot write to GPU memory", sent)
    }

    /// Returns the program that this device executes: the given one, with a further transient buffer for each step that
    /// needs scratch memory.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Returns the properties of the GPU.
    pub fn info(&self) -> &Info {
        &self.gpu.info
    }

    /// Returns the number of bytes of GPU memory allocated for all buffers, which include scratch memory; transient
    /// ones may share memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// Returns the value of `outcome`, unless it is an error (`what` says what could not be done) or an earlier call of
    /// cudarc has failed that could not return its error.
    fn done<T>(&self, what: &str, outcome: Result<T, cudarc::driver::DriverError>) -> Result<T> {
        let value = outcome.map_err(|error| explain(what, error))?;
        self.stream.context().check_err().map_err(|error| explain("a CUDA kernel has failed", error))?;
        Ok(value)
    }
}

/// Chooses an implementation for each step (`forced` where the step has it and it runs), and adds buffers for its
/// scratch memory and tickets, which are planned like any other.
fn choose(program: &mut Program, gpu: &GpuFacts, forced: Option<&str>) -> Vec<ChosenImplementation> {
    let Program { buffers, steps, .. } = program;
    let choose = |recorded: &mut RecordedStep| {
        let names = recorded.step.implementations(gpu);
        let implementation = names.iter().find(|name| Some(**name) == forced).unwrap_or(&names[0]);
        let Scratch { bytes, tickets, shares } = recorded.step.scratch(implementation, gpu);
        let mut add = |words: usize, lifetime| (words > 0).then(|| buffers.add(DType::F32, [1, 1, 1, words], lifetime));
        let workspace = add(bytes.div_ceil(DType::F32.bytes()), Lifetime::Transient);
        // Zero at first, as all persistent memory is, and whenever no launch is under way.
        let tickets = add(tickets, Lifetime::Persistent);
        recorded.accesses.extend(workspace.map(Access::Write));
        recorded.accesses.extend(tickets.map(Access::Update));
        ChosenImplementation { implementation, workspace, tickets, shares }
    };
    steps.iter_mut().map(choose).collect()
}

/// The values of `tensor` without gaps, from the bytes between its first element and its last.
fn elements(tensor: Tensor, span: &[u8]) -> Vec<f32> {
    let span = to_f32(tensor.dtype, span);
    span.chunks(tensor.stride.max(1)).flat_map(|pixel| &pixel[..tensor.channels()]).copied().collect()
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
