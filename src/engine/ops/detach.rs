//! Detach: the same values, where no gradient passes.
//!
//! It costs nothing: a detached tensor is a view like any other, and the tape gives it no gradient to write.

use crate::engine::tensor::Tensor;

/// `x` as a constant. The discriminator's step sees the generator's picture like this, so that no gradient of it
/// reaches the generator; so does a bias that a norm cancels, whose gradient is zero.
pub fn detach(x: Tensor) -> Tensor {
    Tensor { detached: true, ..x }
}
