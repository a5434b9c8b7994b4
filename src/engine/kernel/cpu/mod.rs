//! Steps on the CPU: their tensors as slices, the micro-kernel of products, and blocks of pixels.
//!
//! Everything is generic over the number type, so that the code which trains in f32 is the code whose gradients are
//! checked by finite differences in f64.

mod blocks;
mod context;
mod operand;
mod packed;
mod prefetch;
mod real;
mod scratch;
mod shared;
mod tile;
mod tiles;
mod transpose;

pub(crate) use blocks::{Block, Blocks};
pub use context::{Context, View, ViewMut};
pub use operand::Operand;
pub(crate) use operand::Output;
pub use packed::{Bf16Products, Packed, Pair};
pub(crate) use packed::{PackedWork, as_packed};
pub(crate) use prefetch::prefetch_lines;
pub use real::{Element, Real, Stored};
pub(crate) use scratch::{reserve_scratch, with_scratch};
pub(crate) use shared::SharedMut;
pub use tile::{Run, Target};
pub(crate) use tile::{inner_products, tile};
pub(crate) use transpose::{BLOCK, transpose};

/// A step that the CPU can execute in numbers of type `T`: f32, or f64 in tests.
pub trait CpuKernel<T: Real> {
    /// Executes the step once, on the tensors of its accesses, which `context` gives.
    fn run(&self, context: &Context<'_, T>);

    /// Returns the number of elements of scratch memory that the step takes from [`Context::workspace`].
    fn workspace(&self) -> usize {
        0
    }

    /// Returns the most elements of scratch memory of its thread that a task of the step uses.
    fn task_scratch(&self) -> usize {
        0
    }
}
