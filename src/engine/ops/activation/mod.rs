//! Hyperbolic tangent, the generator's output, and the logistic sigmoid, a probability. Their derivatives are functions
//! of `y`, so only that is kept.

mod cpu;
mod cuda;

use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    /// Its derivative is `1 - y^2`.
    Tanh,
    /// `1 / (1 + exp(-x))`; its derivative is `y (1 - y)`.
    Sigmoid,
}

#[derive(Debug)]
struct Activation {
    function: Function,
    x: Tensor,
    y: Tensor,
}

#[derive(Debug)]
struct ActivationGrad {
    function: Function,
    y: Tensor,
    dy: Tensor,
    dx: Destination,
}

/// Records `y = tanh(x)`; the shapes are equal.
pub fn tanh(tape: &mut Tape, x: Tensor, y: Tensor) {
    activation(tape, Function::Tanh, x, y);
}

/// Records `y = 1 / (1 + exp(-x))`; the shapes are equal.
pub fn sigmoid(tape: &mut Tape, x: Tensor, y: Tensor) {
    activation(tape, Function::Sigmoid, x, y);
}

fn activation(tape: &mut Tape, function: Function, x: Tensor, y: Tensor) {
    assert_eq!(x.shape, y.shape, "{function:?} keeps the shape");
    tape.push(Activation { function, x, y });
}

impl Step for Activation {
    fn name(&self) -> &'static str {
        match self.function {
            Function::Tanh => "tanh",
            Function::Sigmoid => "sigmoid",
        }
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.x), Access::Write(self.y)]
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for Activation {
    fn output(&self) -> Tensor {
        self.y
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let (x, y) = (backward.at(self.x), backward.at(self.y));
        if let Some(dx) = backward.destination(x) {
            backward.push(ActivationGrad { function: self.function, y, dy, dx });
        }
    }
}

impl Step for ActivationGrad {
    fn name(&self) -> &'static str {
        match self.function {
            Function::Tanh => "tanh_grad",
            Function::Sigmoid => "sigmoid_grad",
        }
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.y), Access::Read(self.dy), self.dx.access()]
    }
}
