//! Weight gradient of a convolution: products over the pixels of its output.

mod direct;
mod packing;
mod winograd;

use std::ops::Range;

use super::super::Geometry;
use crate::engine::kernel::cpu::{Operand, Packed, Real};
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::Shape;
use direct::DirectWgrad;
use winograd::WinogradWgrad;

/// Filters of a task.
const FILTERS: usize = 24;

/// Pixels or tiles of a sum in registers; longer sums are added up in memory from these.
const SEGMENT: usize = 256;

/// The products of a weight gradient, by the method that its shapes ask for.
#[expect(
    clippy::large_enum_variant,
    reason = "a few hundred bytes on the stack, where a box would allocate in each step"
)]
#[derive(Clone, Copy)]
pub(super) enum WeightProducts {
    Winograd(WinogradWgrad),
    Direct(DirectWgrad),
}

impl WeightProducts {
    /// The products with operands that are packed as `P`.
    pub fn new<T: Real, P: Packed<T>>(
        input: Shape,
        output: Shape,
        geometry: Geometry,
        set: InstructionSet,
    ) -> WeightProducts {
        if let Some(winograd) = WinogradWgrad::new::<T, P>(input, output, geometry, set) {
            return WeightProducts::Winograd(winograd);
        }
        WeightProducts::Direct(DirectWgrad::new::<T, P>(input, output, geometry, set))
    }

    /// Elements of the packed operands.
    pub fn workspace(&self) -> usize {
        match self {
            WeightProducts::Winograd(winograd) => winograd.workspace(),
            WeightProducts::Direct(direct) => direct.workspace(),
        }
    }

    /// Elements of scratch memory of a task.
    pub fn scratch(&self) -> usize {
        match self {
            WeightProducts::Winograd(winograd) => winograd.scratch(),
            WeightProducts::Direct(direct) => direct.scratch(),
        }
    }

    /// Calls `emit` with every filter, a range of its elements (tap, channel), and the gradient there, in parallel; and
    /// `ahead` some time before that with the filter and the range, or parts of it, so that memory can be asked for.
    pub fn run<T: Real, P: Packed<T>>(
        &self,
        set: InstructionSet,
        x: Operand<'_, T>,
        dy: Operand<'_, T>,
        workspace: &mut [T],
        ahead: impl Fn(usize, Range<usize>) + Sync,
        emit: impl Fn(usize, Range<usize>, &[T]) + Sync,
    ) {
        match self {
            WeightProducts::Winograd(winograd) => winograd.run::<T, P>(set, x, dy, workspace, emit),
            WeightProducts::Direct(direct) => direct.run::<T, P>(set, x, dy, workspace, ahead, emit),
        }
    }
}
