//! The CPU device: runs a program's steps in recorded order, each step in parallel inside itself.
//!
//! Threads are those of the rayon pool that the caller runs in.

mod allocator;
mod checked;
mod memory;

pub use allocator::Allocator;

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use rayon::prelude::*;

use crate::base::bytes::ByteSize;
use crate::base::memory::require_stacks;
use crate::engine::access::{Access, Control};
use crate::engine::kernel::cpu::{Context, CpuKernel, Real};
use crate::engine::plan::{Dependencies, Plan};
use crate::engine::program::{Lifetime, Program, Step};
use crate::engine::tensor::{BufferId, Tensor};
use memory::Memory;

/// A program with its memory, ready to execute.
#[derive(Debug)]
pub struct Cpu<T> {
    program: Program,
    dependencies: Dependencies,
    memory: Memory<T>,
    workspace: Vec<T>,
    control: Control,
}

impl<T: Real> Cpu<T>
where
    dyn Step: CpuKernel<T>,
{
    /// Plans `program` into one arena.
    ///
    /// # Errors
    /// When the system has not that much memory.
    pub fn new(program: Program, control: Control) -> Result<Cpu<T>> {
        let dependencies = Dependencies::of(&program);
        let memory = Memory::arena(&program.buffers, &Plan::of(&program, &dependencies))?;
        Cpu::with_memory(program, dependencies, memory, control)
    }

    /// Gives every buffer an allocation of its own between guards, so that [`Cpu::execute_checked`] can see what the arena
    /// hides. For tests.
    ///
    /// # Errors
    /// When the system has not that much memory.
    pub fn checked(program: Program, control: Control) -> Result<Cpu<T>> {
        let dependencies = Dependencies::of(&program);
        let memory = Memory::guarded(&program.buffers)?;
        Cpu::with_memory(program, dependencies, memory, control)
    }

    /// Bytes of the arena and the scratch memory that `program` takes. Buffers that no step touches (a network that
    /// only translates has gradients and moments too) have a place in the arena, but no memory.
    pub fn bytes_of(program: &Program) -> usize {
        let plan = Plan::of(program, &Dependencies::of(program));
        let accesses = || program.steps.iter().flat_map(|recorded| &recorded.accesses);
        let touched: HashSet<BufferId> = accesses().filter_map(Access::tensor).map(|tensor| tensor.buffer).collect();
        let untouched = program.buffers.iter().filter(|(id, _)| !touched.contains(id));
        let untouched = untouched.filter(|(_, buffer)| buffer.lifetime == Lifetime::Persistent);
        let untouched: usize = untouched.map(|(_, buffer)| buffer.count()).sum();
        (plan.total() - untouched + workspace::<T>(program)) * size_of::<T>()
    }

    fn with_memory(
        program: Program,
        dependencies: Dependencies,
        memory: Memory<T>,
        control: Control,
    ) -> Result<Cpu<T>> {
        let length = workspace::<T>(&program);
        let mut workspace = Vec::new();
        let bytes = length * size_of::<T>();
        workspace
            .try_reserve_exact(length)
            .with_context(|| format!("out of memory: {} were refused", ByteSize(bytes as u64)))?;
        workspace.resize(length, T::zero());
        Ok(Cpu { program, dependencies, memory, workspace, control })
    }

    /// Runs every step of the main part once, in recorded order.
    pub fn execute(&mut self) {
        for index in 0..self.program.main {
            self.run(index);
        }
    }

    /// Runs the steps that were recorded to run on demand.
    pub fn execute_on_demand(&mut self) {
        for index in self.program.main..self.program.steps.len() {
            self.run(index);
        }
    }

    /// As [`Cpu::execute`], calling `after` with the index and name of each step when it has ended. For measurements.
    pub fn execute_observed(&mut self, mut after: impl FnMut(usize, &'static str)) {
        for index in 0..self.program.main {
            self.run(index);
            after(index, self.program.steps[index].step.name());
        }
    }

    fn run(&mut self, index: usize) {
        let recorded = &self.program.steps[index];
        let memory = &mut self.memory;
        let start = |id| memory.raw(id);
        // SAFETY: `self` is borrowed mutably while the step runs, so its memory is the step's alone.
        let context = unsafe { Context::new(&recorded.accesses, start, &mut self.workspace, &mut self.control) };
        recorded.step.run(&context);
    }

    /// The values of `tensor`, pixel by pixel. Those of a transient tensor may already have made room for others.
    pub fn read(&self, tensor: Tensor) -> Vec<T> {
        let span = &self.memory.buffer(tensor.buffer)[tensor.span()];
        if tensor.stride == tensor.channels() {
            return span.to_vec();
        }
        span.chunks(tensor.stride.max(1)).flat_map(|pixel| &pixel[..tensor.channels()]).copied().collect()
    }

    /// Whether all values of the buffer of `tensor` are finite.
    pub fn is_finite(&self, tensor: Tensor) -> bool {
        self.memory.buffer(tensor.buffer).par_iter().all(|value| value.is_finite())
    }

    /// Sets the values of `tensor`, pixel by pixel.
    pub fn write(&mut self, tensor: Tensor, values: &[T]) {
        assert_eq!(values.len(), tensor.count(), "values for {tensor:?}");
        let span = &mut self.memory.buffer_mut(tensor.buffer)[tensor.span()];
        for (pixel, values) in span.chunks_mut(tensor.stride.max(1)).zip(values.chunks(tensor.channels().max(1))) {
            pixel[..values.len()].copy_from_slice(values);
        }
    }

    /// Lets `fill` write all of a contiguous tensor.
    pub(super) fn write_with(&mut self, tensor: Tensor, fill: impl FnOnce(&mut [T])) {
        assert_eq!(tensor.stride, tensor.channels(), "{tensor:?} is contiguous");
        fill(&mut self.memory.buffer_mut(tensor.buffer)[tensor.span()]);
    }

    pub fn control(&self) -> Control {
        self.control
    }

    pub fn set_control(&mut self, control: Control) {
        self.control = control;
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Elements of all buffers and of the scratch memory.
    pub fn memory_elements(&self) -> usize {
        self.memory.elements() + self.workspace.len()
    }
}

/// Elements of the scratch memory that the steps of `program` share.
fn workspace<T: Real>(program: &Program) -> usize
where
    dyn Step: CpuKernel<T>,
{
    program.steps.iter().map(|s| CpuKernel::<T>::workspace(&*s.step)).max().unwrap_or(0)
}

/// Starts the threads for what is done in parallel outside of [`with_threads`]. Left to itself, rayon starts as many as
/// a variable of the environment says.
///
/// # Errors
/// When the operating system refuses the threads.
pub fn start_threads(threads: usize) -> Result<()> {
    require_stacks(threads)?;
    let started = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    started.with_context(|| format!("cannot start {threads} threads: raise ulimit -u or -v"))
}

/// Runs `work` with `threads` threads; everything a [`Cpu`] does inside uses them.
///
/// # Errors
/// When the operating system refuses the threads.
pub fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    require_stacks(threads)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(pool.with_context(|| format!("cannot start {threads} threads; try a smaller --threads"))?.install(work))
}
