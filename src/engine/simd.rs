//! Instruction sets of the CPU.

/// Runs `work` compiled for the best instruction set that this CPU has. `work` must be `#[inline(always)]` all the way
/// down for the compiler to use it. No instruction set changes a result: nothing is contracted or reordered.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
