//! Vectorisation: loops compiled for several instruction sets of the CPU.

/// Runs `work`, in the version that was compiled for the best instruction set of this CPU, and returns its result.
/// `work` and all that it calls must be `#[inline(always)]`; otherwise they are compiled for the baseline instruction
/// set alone. Results are the same with any of them: operations are neither contracted nor reordered.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
