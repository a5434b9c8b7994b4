//! The implementations of a step on CUDA, and the choice between them.
//!
//! A step's implementations stand in one table ([`CudaKernel::IMPLEMENTATIONS`]), each with the conditions under which
//! it can run and under which it is preferred. The choice is made once, when a program is brought to a GPU; scratch
//! memory and launches follow from it.

use super::{Context, Launch};

/// The properties of a GPU that the choice of an implementation may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuFacts {
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    pub multiprocessors: usize,
    /// The most bytes of shared memory that a block can have, by opt-in.
    pub shared_memory: usize,
    /// Bytes of the L2 cache.
    pub l2_cache: usize,
}

/// An implementation of step `S`.
pub struct Implementation<S> {
    /// The name, unique in its table.
    pub name: &'static str,
    /// True if it can execute the step on this GPU.
    pub runs: fn(&S, &GpuFacts) -> bool,
    /// True if it is preferred to those after it in the table: where it is faster.
    pub pays: fn(&S, &GpuFacts) -> bool,
    /// Bytes of scratch memory, which [`Context::workspace`] hands out.
    pub workspace: fn(&S) -> usize,
    /// The launches that execute the step, in order.
    pub launches: fn(&S, &Context<'_>) -> Vec<Launch>,
}

impl<S> Implementation<S> {
    /// The implementation named `plain`, which runs everywhere and is the last of its table, without scratch memory.
    pub const fn plain(launches: fn(&S, &Context<'_>) -> Vec<Launch>) -> Implementation<S> {
        Implementation { name: "plain", runs: |_, _| true, pays: |_, _| true, workspace: |_| 0, launches }
    }

    /// This implementation with scratch memory.
    #[must_use]
    pub const fn with_workspace(self, workspace: fn(&S) -> usize) -> Implementation<S> {
        Implementation { workspace, ..self }
    }
}

/// A step that CUDA executes.
pub trait CudaKernel: Sized + 'static {
    /// The table of implementations. The first one that runs and pays is chosen; the last one always does.
    const IMPLEMENTATIONS: &'static [Implementation<Self>];
}

/// The object-safe form of [`CudaKernel`].
pub trait CudaStep {
    /// Names of the implementations that run on `gpu`, the preferred one first.
    fn implementations(&self, gpu: &GpuFacts) -> Vec<&'static str>;

    /// Bytes of scratch memory of an implementation.
    fn workspace(&self, implementation: &str) -> usize;

    /// The launches of an implementation, in order.
    fn launches(&self, implementation: &str, context: &Context<'_>) -> Vec<Launch>;
}

impl<S: CudaKernel> CudaStep for S {
    fn implementations(&self, gpu: &GpuFacts) -> Vec<&'static str> {
        let runs = S::IMPLEMENTATIONS.iter().filter(|implementation| (implementation.runs)(self, gpu));
        let (mut names, others): (Vec<_>, Vec<_>) = runs.partition(|implementation| (implementation.pays)(self, gpu));
        names.extend(others);
        names.into_iter().map(|implementation| implementation.name).collect()
    }

    fn workspace(&self, implementation: &str) -> usize {
        (named::<S>(implementation).workspace)(self)
    }

    fn launches(&self, implementation: &str, context: &Context<'_>) -> Vec<Launch> {
        (named::<S>(implementation).launches)(self, context)
    }
}

/// The implementation of `S` with this name.
fn named<S: CudaKernel>(name: &str) -> &'static Implementation<S> {
    let found = S::IMPLEMENTATIONS.iter().find(|implementation| implementation.name == name);
    found.expect("an implementation is one of the step's own")
}
