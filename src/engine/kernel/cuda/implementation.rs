//! The implementations of a step on CUDA, and the choice between them.
//!
//! A step's implementations stand in one table ([`CudaKernel::IMPLEMENTATIONS`]), each with the conditions under which
//! it can run and under which it is preferred. The choice is made once, when a program is brought to a GPU; scratch
//! memory and launches follow from it.

use super::{Context, Launch};

/// The properties of a GPU that the choice of an implementation may depend on: compute capability, multiprocessors,
/// shared memory and L2 cache.
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

/// The memory that an implementation needs besides the tensors of its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scratch {
    /// Bytes with arbitrary values, which [`Context::workspace`] hands out.
    pub bytes: usize,
    /// Words that are zero when a launch begins, and that it leaves at zero: [`Context::tickets`] hands them out.
    pub tickets: usize,
    /// The most blocks that add up sums by tickets, for one part of a result; 0 without tickets.
    pub shares: usize,
}

impl Scratch {
    /// Returns scratch memory of `bytes` bytes, without tickets.
    pub const fn bytes(bytes: usize) -> Scratch {
        Scratch { bytes, tickets: 0, shares: 0 }
    }
}

/// One way to execute a step of type `S` on CUDA: the conditions for its choice, its scratch memory and its launches.
pub struct Implementation<S> {
    /// The name, unique among the implementations of the step.
    pub name: &'static str,
    /// True if the implementation can execute the step on this GPU.
    pub runs: fn(&S, &GpuFacts) -> bool,
    /// True if the implementation is preferred to those after it in the table: where it is faster.
    pub pays: fn(&S, &GpuFacts) -> bool,
    /// The scratch memory on this GPU.
    pub scratch: fn(&S, &GpuFacts) -> Scratch,
    /// The launches that execute the step, in order.
    pub launches: fn(&S, &Context<'_>) -> Vec<Launch>,
}

/// The name of the implementation that every step has.
pub const PLAIN: &str = "plain";

impl<S> Implementation<S> {
    /// Creates the implementation that every step has, named [`PLAIN`], from its `launches`. It runs on every GPU,
    /// without scratch memory, and is the last of its table.
    pub const fn plain(launches: fn(&S, &Context<'_>) -> Vec<Launch>) -> Implementation<S> {
        Implementation {
            name: PLAIN,
            runs: |_, _| true,
            pays: |_, _| true,
            scratch: |_, _| Scratch::bytes(0),
            launches,
        }
    }

    /// Returns this implementation with the scratch memory that `scratch` returns for a step.
    #[must_use]
    pub const fn with_scratch(self, scratch: fn(&S, &GpuFacts) -> Scratch) -> Implementation<S> {
        Implementation { scratch, ..self }
    }
}

/// A step that has implementations on CUDA.
pub trait CudaKernel: Sized + 'static {
    /// The implementations, the preferred ones first: the first one whose [`runs`](Implementation::runs) and
    /// [`pays`](Implementation::pays) are both true is chosen. For the last one they always are.
    const IMPLEMENTATIONS: &'static [Implementation<Self>];
}

/// The object-safe form of [`CudaKernel`]: an implementation is given by its name.
pub trait CudaStep {
    /// Returns the names of the implementations that run on `gpu`, the preferred one first.
    fn implementations(&self, gpu: &GpuFacts) -> Vec<&'static str>;

    /// Returns the scratch memory of an implementation on `gpu`.
    ///
    /// # Panics
    /// If the step has none of this name.
    fn scratch(&self, implementation: &str, gpu: &GpuFacts) -> Scratch;

    /// Returns the launches of an implementation, in order.
    ///
    /// # Panics
    /// If the step has none of this name.
    fn launches(&self, implementation: &str, context: &Context<'_>) -> Vec<Launch>;
}

impl<S: CudaKernel> CudaStep for S {
    fn implementations(&self, gpu: &GpuFacts) -> Vec<&'static str> {
        let runs = S::IMPLEMENTATIONS.iter().filter(|implementation| (implementation.runs)(self, gpu));
        let (mut names, others): (Vec<_>, Vec<_>) = runs.partition(|implementation| (implementation.pays)(self, gpu));
        names.extend(others);
        names.into_iter().map(|implementation| implementation.name).collect()
    }

    fn scratch(&self, implementation: &str, gpu: &GpuFacts) -> Scratch {
        (named::<S>(implementation).scratch)(self, gpu)
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
