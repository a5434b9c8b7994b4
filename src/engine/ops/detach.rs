//! Detach: a view with the same values, through which no gradient passes.
//!
//! It costs nothing: a detached tensor is a view like any other, and the tape gives it no gradient to write.

use crate::engine::tensor::Tensor;

/// Returns a view of `x`, with the same values, that a backward pass treats as a constant: no gradient passes through
/// it. The networks use it for a bias that the norm after it cancels, whose gradient is zero.
pub fn detach(x: Tensor) -> Tensor {
    Tensor { detached: true, ..x }
}
