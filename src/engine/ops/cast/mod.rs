//! Casts between number formats. No network uses them yet; the tests do, for buffers of bf16 on both devices.

mod cpu;
mod cuda;

use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::{DType, Tensor};

/// The cast `y = x`, or `y += x`, to the number format of `y`: to bf16 by rounding to nearest, ties to even.
#[derive(Debug)]
struct Cast {
    x: Tensor,
    y: Destination,
}

/// Records the cast `y = x` from f32 to bf16, rounded to nearest with ties to even, or from bf16 to f32. Both tensors
/// are `[n, h, w, c]`.
///
/// # Panics
/// If the shapes differ, or the number formats do not.
pub fn cast(tape: &mut Tape, x: Tensor, y: Tensor) {
    assert_eq!(x.shape, y.shape, "a cast keeps the shape");
    assert_ne!(x.dtype, y.dtype, "a cast changes the number format");
    tape.push(Cast { x, y: Destination::overwrite(y) });
}

impl Cast {
    fn is_to_bf16(&self) -> bool {
        self.y.tensor.dtype == DType::Bf16
    }
}

impl Step for Cast {
    fn name(&self) -> &'static str {
        if self.is_to_bf16() { "cast_to_bf16" } else { "cast_from_bf16" }
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.x), self.y.access()]
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

/// The gradient of a tensor has its number format, so the derivative is the cast in the other direction.
impl Rule for Cast {
    fn output(&self) -> Tensor {
        self.y.tensor
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let x = backward.at(self.x);
        if let Some(dx) = backward.destination(x) {
            backward.push(Cast { x: dy, y: dx });
        }
    }
}
