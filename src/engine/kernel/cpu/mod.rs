//! Steps on the CPU: their tensors as slices, matrix products, and blocks of channels.
//!
//! The one idea: everything is generic over the number type, so that the code which trains in f32 is the code whose
//! gradients are checked by finite differences in f64.

mod blocks;
mod context;
mod matmul;
mod real;

pub(crate) use blocks::{BLOCK, Block, BlockMut, for_each_block};
pub use context::{Context, View, ViewMut};
pub use matmul::{Matrix, inside_gemm, matmul};
pub use real::{Element, Real};

/// A step that the CPU executes.
pub trait CpuKernel<T: Real> {
    /// Does the step once. What it reads and writes comes from `context`, by the tensors of its accesses.
    fn run(&self, context: &Context<'_, T>);

    /// Elements of scratch memory that [`Context::workspace`] hands to this step.
    fn workspace(&self) -> usize {
        0
    }
}
