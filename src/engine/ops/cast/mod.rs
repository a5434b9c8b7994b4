//! Casts between number formats. No network records them yet: the tests do, which hold both devices to buffers of bf16.

mod cpu;
mod cuda;

use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::{DType, Tensor};

/// `y = x`, or `y += x`, in the number format of y; to bf16 by rounding to nearest, ties to even.
#[derive(Debug)]
struct Cast {
    x: Tensor,
    y: Destination,
}

/// Records `y = x`, of which one is of f32 and the other of bf16; the shapes are equal.
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

/// A gradient has the number format of what it is the gradient of, so it is cast the other way.
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
