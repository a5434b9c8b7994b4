//! Several implementations of one step, and the choice among them.
//!
//! A step's implementations stand in one table ([`CudaKernel::IMPLEMENTATIONS`]), each with the conditions under which
//! it can run and under which it is preferred. The choice is made once, when a program is brought to a GPU; scratch
//! memory and launches follow from it.

use super::{Context, Launch};

/// The facts on a GPU that the choice of an implementation may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuFacts {
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    pub multiprocessors: usize,
    /// Bytes of shared memory that a block can have at most, by opt-in.
    pub shared_memory: usize,
    /// Bytes of the L2 cache.
    pub l2_cache: usize,
}

/// One way to do the step `S`.
pub struct Implementation<S> {
    /// Unique in its table.
    pub name: &'static str,
    /// True if the step can be done so on this GPU.
    pub runs: fn(&S, &GpuFacts) -> bool,
    /// True if it is preferred to those after it in the table.
    pub pays: fn(&S, &GpuFacts) -> bool,
    /// Bytes of scratch memory, which [`Context::workspace`] hands out.
    pub workspace: fn(&S) -> usize,
    /// The launches that do it, in order.
    pub launches: fn(&S, &Context<'_>) -> Vec<Launch>,
}

impl<S> Implementation<S> {
    /// The implementation that runs for every step on every GPU, without scratch memory.
    pub const fn plain(launches: fn(&S, &Context<'_>) -> Vec<Launch>) -> Implementation<S> {
        Implementation { name: "plain", runs: |_, _| true, pays: |_, _| true, workspace: |_| 0, launches }
    }

    /// The same with scratch memory.
    #[must_use]
    pub const fn with_workspace(self, workspace: fn(&S) -> usize) -> Implementation<S> {
        Implementation { workspace, ..self }
    }
}

/// A step that CUDA executes.
pub trait CudaKernel: Sized + 'static {
    /// Of those that run the first that pays is taken; the last one always runs and pays.
    const IMPLEMENTATIONS: &'static [Implementation<Self>];
}

/// A [`CudaKernel`] without its type.
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

fn named<S: CudaKernel>(name: &str) -> &'static Implementation<S> {
    let found = S::IMPLEMENTATIONS.iter().find(|implementation| implementation.name == name);
    found.expect("an implementation is one of the step's own")
}
