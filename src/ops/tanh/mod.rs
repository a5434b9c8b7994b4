//! Hyperbolic tangent: the generator's output. Its derivative is `1 - y^2`, so only `y` is kept.

mod cpu;
mod cuda;

use crate::program::{Access, Destination, Rule, Step};
use crate::tape::{Backward, Tape};
use crate::tensor::Tensor;

#[derive(Debug)]
pub struct Tanh {
    x: Tensor,
    y: Tensor,
}

#[derive(Debug)]
pub struct TanhGrad {
    y: Tensor,
    dy: Tensor,
    dx: Destination,
}

/// Records `y = tanh(x)`; the shapes are equal.
pub fn tanh(tape: &mut Tape, x: Tensor, y: Tensor) {
    assert_eq!(x.shape, y.shape, "tanh keeps the shape");
    tape.push(Tanh { x, y });
}

impl Step for Tanh {
    fn name(&self) -> &'static str {
        "tanh"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.x), Access::Write(self.y)]
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for Tanh {
    fn output(&self) -> Tensor {
        self.y
    }

    fn backward(&self, dy: Tensor, backward: &mut Backward<'_>) {
        let (x, y) = (backward.at(self.x), backward.at(self.y));
        if let Some(dx) = backward.destination(x) {
            backward.push(TanhGrad { y, dy, dx });
        }
    }
}

impl Step for TanhGrad {
    fn name(&self) -> &'static str {
        "tanh_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.y), Access::Read(self.dy), self.dx.access()]
    }
}
