//! Steps on the CPU: their tensors as slices, matrix products, and blocks of channels.
//!
//! Everything is generic over the number type, so that the code which trains in f32 is the code whose gradients are
//! checked by finite differences in f64.

mod blocks;
mod context;
mod matmul;
mod real;

pub(crate) use blocks::{BLOCK_CHANNELS, Block, BlockMut, for_each_block};
pub use context::{Context, View, ViewMut};
pub use matmul::{Matrix, inside_gemm, matmul};
pub use real::{Element, Real};

/// A step that the CPU can execute in numbers of type `T`: f32, or f64 in tests.
pub trait CpuKernel<T: Real> {
    /// Executes the step once, on the tensors of its accesses, which `context` gives.
    fn run(&self, context: &Context<'_, T>);

    /// Returns the number of elements of scratch memory that the step takes from [`Context::workspace`].
    fn workspace(&self) -> usize {
        0
    }
}
