//! Detach: a view with the same values, through which no gradient passes.
//!
//! It costs nothing: a detached tensor is a view like any other, and the tape gives it no gradient to write.

use crate::engine::tensor::Tensor;

/// `x` as a constant of differentiation: the generated picture in the discriminator's loss, or a bias that the norm
/// after it cancels, whose gradient is zero.
pub fn detach(x: Tensor) -> Tensor {
    Tensor { detached: true, ..x }
}
