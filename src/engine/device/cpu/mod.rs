//! The CPU device: runs a program's steps in recorded order, each one in parallel on the threads of the caller's rayon
//! pool.

mod allocator;
mod checked;
mod memory;

pub use allocator::Allocator;

use std::collections::HashSet;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rayon::prelude::*;

use crate::base::memory::require_stacks;
use crate::engine::access::{Access, Control};
use crate::engine::kernel::cpu::{Bf16Products, Context, CpuKernel, Real, Stored, reserve_scratch};
use crate::engine::plan::{Dependencies, Plan};
use crate::engine::program::{Lifetime, Program, RecordedStep, Step};
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::{BufferId, DType, Tensor};
use memory::{Memory, Workspace};

/// A program with its memory on the CPU, ready to execute in `T`: f32, or f64 for tests.
#[derive(Debug)]
pub struct Cpu<T> {
    program: Program,
    dependencies: Dependencies,
    memory: Memory,
    workspace: Workspace,
    number: PhantomData<T>,
    control: Control,
    set: InstructionSet,
    bf16_products: Bf16Products,
}

impl<T: Real> Cpu<T>
where
    dyn Step: CpuKernel<T>,
{
    /// Plans and allocates the memory of `program`: one arena for all buffers, and scratch memory, of which each thread
    /// of the caller's rayon pool has some of its own. Persistent buffers are zero at first; `control` has the control
    /// values of the first execution.
    ///
    /// # Errors
    /// When the system refuses the memory.
    pub fn new(program: Program, control: Control) -> Result<Cpu<T>> {
        let dependencies = Dependencies::new(&program);
        let memory = Memory::arena::<T>(&program.buffers, &Plan::new(&program, &dependencies, T::bytes))?;
        Cpu::with_memory(program, dependencies, memory, control)
    }

    /// Creates a device with a separate block of zeros for each buffer, between guards that [`Cpu::execute_checked`]
    /// checks: in an arena, a write outside of a buffer would land in another one. For tests.
    ///
    /// # Errors
    /// When the system refuses the memory.
    pub fn checked(program: Program, control: Control) -> Result<Cpu<T>> {
        let dependencies = Dependencies::new(&program);
        let memory = Memory::guarded::<T>(&program.buffers)?;
        Cpu::with_memory(program, dependencies, memory, control)
    }

    /// Returns the number of bytes of memory that `program` takes: arena, scratch memory and that of each thread of the
    /// caller's rayon pool. Persistent buffers that no step accesses (the gradients and moments of a network that only
    /// translates) do not count: they have addresses in the arena, but never get pages of memory.
    pub fn bytes_of(program: &Program) -> usize {
        let plan = Plan::new(program, &Dependencies::new(program), T::bytes);
        let accesses = || program.steps.iter().flat_map(|recorded| &recorded.accesses);
        let touched: HashSet<BufferId> = accesses().filter_map(Access::tensor).map(|tensor| tensor.buffer).collect();
        let untouched = program.buffers.iter().filter(|(id, _)| !touched.contains(id));
        let untouched = untouched.filter(|(_, buffer)| buffer.lifetime == Lifetime::Persistent);
        let untouched: usize = untouched.map(|(_, buffer)| buffer.count() * T::bytes(buffer.dtype)).sum();
        let scratch = workspace::<T>(program) + task_scratch::<T>(program) * rayon::current_num_threads();
        plan.total() - untouched + scratch * size_of::<T>()
    }

    fn with_memory(program: Program, dependencies: Dependencies, memory: Memory, control: Control) -> Result<Cpu<T>> {
        let workspace = Workspace::new(workspace::<T>(&program) * size_of::<T>())?;
        reserve_scratch(task_scratch::<T>(&program) * size_of::<T>());
        let set = InstructionSet::chosen()?;
        let bf16_products = Bf16Products::of(set);
        Ok(Cpu { program, dependencies, memory, workspace, control, set, bf16_products, number: PhantomData })
    }

    /// Has the kernels run by instruction set `set` instead of the one that [`InstructionSet::chosen`] returns. For
    /// tests.
    ///
    /// # Panics
    /// If the machine does not have the set.
    pub fn set_instructions(&mut self, set: InstructionSet) {
        assert!(set.is_available(), "this machine does not have {set:?}");
        self.set = set;
        self.bf16_products = Bf16Products::of(set);
    }

    /// Has products of numbers of bf16 made in this way instead of the fastest of the instruction set. For tests.
    ///
    /// # Panics
    /// If the machine does not have the instructions.
    pub fn set_bf16_products(&mut self, products: Bf16Products) {
        assert!(products.is_available(), "this machine does not have {products:?}");
        self.bf16_products = products;
    }

    /// Runs every step of the program's main part (all but its on-demand steps) once, in recorded order.
    pub fn execute(&mut self) {
        for index in 0..self.program.main {
            self.run(index);
        }
    }

    /// Runs the program's on-demand steps, those after the first [`main_steps`](Program::main_steps), once, in recorded
    /// order.
    pub fn execute_on_demand(&mut self) {
        for index in self.program.main..self.program.steps.len() {
            self.run(index);
        }
    }

    /// Runs the program's main part as [`Cpu::execute`] does, and calls `after` each time that a step has ended, with
    /// the index and the name of the step. For measurements.
    pub fn execute_observed(&mut self, mut after: impl FnMut(usize, &'static str)) {
        for index in 0..self.program.main {
            self.run(index);
            after(index, self.program.steps[index].step.name());
        }
    }

    /// Runs the program's main part as [`Cpu::execute`] does, and returns the duration of each step, in recorded order.
    /// For measurements.
    pub fn execute_timed(&mut self) -> Vec<Duration> {
        let (mut times, mut last) = (Vec::new(), Instant::now());
        self.execute_observed(|_, _| {
            let now = Instant::now();
            times.push(now - last);
            last = now;
        });
        times
    }

    fn run(&mut self, index: usize) {
        let Cpu { program, memory, workspace, control, set, bf16_products, .. } = self;
        run::<T>(&program.steps[index], memory, workspace, control, *set, *bf16_products);
    }

    /// Makes the copies of `written`, which the host has just written.
    fn copy_on(&mut self, written: Tensor) {
        let Cpu { program, memory, workspace, control, set, bf16_products, .. } = self;
        for copy in program.host_copies_of(written) {
            run::<T>(&copy.step, memory, workspace, control, *set, *bf16_products);
        }
    }

    /// The range of `tensor` in its buffer, in elements.
    ///
    /// # Panics
    /// If a pass over the program has removed the buffer.
    fn span(&self, tensor: Tensor) -> Range<usize> {
        let (span, count) = (tensor.span(), self.program.buffers.get(tensor.buffer).count());
        assert!(span.end <= count, "{tensor:?} is in no memory: a pass over the program has removed its buffer");
        span
    }

    /// Returns the values of `tensor` in row-major order `[n, h, w, c]` without gaps, bf16 converted to `T`. The values
    /// of a transient tensor are valid only until a later step reuses its memory.
    ///
    /// # Panics
    /// If a rewrite pass has removed the buffer of `tensor`, or the program has no such buffer.
    pub fn read(&self, tensor: Tensor) -> Vec<T> {
        fn gather<E: Copy, V>(span: &[E], tensor: Tensor, value: impl Fn(E) -> V) -> Vec<V> {
            let pixels = span.chunks(tensor.stride.max(1));
            pixels.flat_map(|pixel| &pixel[..tensor.channels()]).map(|&element| value(element)).collect()
        }
        let span = self.span(tensor);
        match tensor.dtype {
            DType::F32 if tensor.stride == tensor.channels() => self.memory.f32s(tensor.buffer)[span].to_vec(),
            DType::F32 => gather(&self.memory.f32s::<T>(tensor.buffer)[span], tensor, |value| value),
            DType::Bf16 => gather(&self.memory.bf16s::<T>(tensor.buffer)[span], tensor, T::Bf16::load),
        }
    }

    /// True if every element of the whole buffer of `tensor`, also outside of `tensor`, is neither infinite nor NaN.
    ///
    /// # Panics
    /// If the program has no such buffer.
    pub fn is_finite(&self, tensor: Tensor) -> bool {
        match tensor.dtype {
            DType::F32 => self.memory.f32s::<T>(tensor.buffer).par_iter().all(|value| value.is_finite()),
            DType::Bf16 => self.memory.bf16s::<T>(tensor.buffer).par_iter().all(|&value| value.load().is_finite()),
        }
    }

    /// Sets the elements of `tensor` to `values`, in row-major order `[n, h, w, c]` without gaps. If the tensor is of
    /// bf16 and `T` is f32, each value is rounded to the nearest bf16, ties to even; with f64 none is rounded.
    ///
    /// # Panics
    /// If `values` has not exactly one value for each element of `tensor`, or the program has no such buffer (any more:
    /// a rewrite pass may have removed it).
    pub fn write(&mut self, tensor: Tensor, values: &[T]) {
        assert_eq!(values.len(), tensor.count(), "values for {tensor:?}");
        fn scatter<E, V: Copy>(span: &mut [E], tensor: Tensor, values: &[V], element: impl Fn(V) -> E) {
            for (pixel, values) in span.chunks_mut(tensor.stride.max(1)).zip(values.chunks(tensor.channels().max(1))) {
                pixel.iter_mut().zip(values).for_each(|(x, &value)| *x = element(value));
            }
        }
        let span = self.span(tensor);
        match tensor.dtype {
            DType::F32 => {
                scatter(&mut self.memory.f32s_mut::<T>(tensor.buffer)[span], tensor, values, |value| value);
            }
            DType::Bf16 => {
                scatter(&mut self.memory.bf16s_mut::<T>(tensor.buffer)[span], tensor, values, T::to_bf16);
            }
        }
        self.copy_on(tensor);
    }

    /// Calls `fill` with the elements of `tensor`, for `fill` to set.
    ///
    /// # Panics
    /// If `tensor` is not contiguous or not of f32, or a rewrite pass has removed its buffer.
    pub(super) fn write_with(&mut self, tensor: Tensor, fill: impl FnOnce(&mut [T])) {
        assert_eq!(tensor.stride, tensor.channels(), "{tensor:?} is contiguous");
        let span = self.span(tensor);
        fill(&mut self.memory.f32s_mut(tensor.buffer)[span]);
        self.copy_on(tensor);
    }

    /// Returns the control values (seed, number of executions so far, learning rate).
    pub fn control(&self) -> Control {
        self.control
    }

    /// Sets the control values (seed, number of executions so far, learning rate), which hold from the next execution
    /// on.
    pub fn set_control(&mut self, control: Control) {
        self.control = control;
    }

    /// Returns the program that this device executes.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Returns the number of bytes allocated for all buffers (transient ones may share memory) and for scratch memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory.bytes() + self.workspace.bytes()
    }
}

/// Runs a step of the program that `memory` is the memory of.
fn run<T: Real>(
    recorded: &RecordedStep,
    memory: &mut Memory,
    workspace: &mut Workspace,
    control: &mut Control,
    set: InstructionSet,
    bf16_products: Bf16Products,
) where
    dyn Step: CpuKernel<T>,
{
    let start = |id| memory.raw(id);
    // SAFETY: the memory is borrowed mutably while the step runs, so it is the step's alone.
    let context =
        unsafe { Context::new(&recorded.accesses, start, workspace.elements_mut::<T>(), control, set, bf16_products) };
    recorded.step.run(&context);
}

/// Elements of the scratch memory of `program`: the most that one of its steps needs.
fn workspace<T: Real>(program: &Program) -> usize
where
    dyn Step: CpuKernel<T>,
{
    program.steps.iter().map(|s| CpuKernel::<T>::workspace(&*s.step)).max().unwrap_or(0)
}

/// Elements of the scratch memory of a thread that executes tasks of `program`: the most that one of its steps needs.
fn task_scratch<T: Real>(program: &Program) -> usize
where
    dyn Step: CpuKernel<T>,
{
    program.steps.iter().map(|s| CpuKernel::<T>::task_scratch(&*s.step)).max().unwrap_or(0)
}

/// Starts rayon's global pool with `threads` threads, for all parallel work outside of [`with_threads`]. Without this
/// call, rayon starts it on first use, with a number of threads from its environment variable `RAYON_NUM_THREADS` or
/// else one for each core.
///
/// # Errors
/// When the operating system refuses the threads or the memory of their stacks, or the pool has already been started.
pub fn start_threads(threads: usize) -> Result<()> {
    require_stacks(threads)?;
    let started = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    started.with_context(|| format!("cannot start {threads} threads: raise ulimit -u or -v"))
}

/// Runs `work` in a new pool of `threads` threads and returns the result of `work`. Every [`Cpu`] that executes inside
/// of `work` uses these threads.
///
/// # Errors
/// When the operating system refuses the threads or the memory of their stacks.
pub fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    require_stacks(threads)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(pool.with_context(|| format!("cannot start {threads} threads; try a smaller --threads"))?.install(work))
}
