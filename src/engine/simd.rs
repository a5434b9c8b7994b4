//! Vectorisation: loops compiled for several instruction sets of the CPU.

/// Runs `work`, compiled for the best instruction set of this CPU. For the compiler to use it, `work` and all that it
/// calls must be `#[inline(always)]`. Results are the same with any instruction set: operations are neither contracted
/// nor reordered.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
