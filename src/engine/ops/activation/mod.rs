//! The activations tanh, for the generator's output, and logistic sigmoid, for probabilities. Their derivatives are
//! functions of the output `y`, so the backward pass needs `y` alone.

mod cpu;
mod cuda;

use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Function {
    /// Hyperbolic tangent, with derivative `1 - y^2`.
    Tanh,
    /// Logistic function `1 / (1 + exp(-x))`, with derivative `y (1 - y)`.
    Sigmoid,
}

/// The forward pass, `y = function(x)`.
#[derive(Debug)]
pub(in crate::engine) struct Activation {
    pub function: Function,
    pub x: Tensor,
    pub y: Tensor,
}

/// The backward pass, `dx = dy * function'(x)`, with the derivative as a function of `y`.
#[derive(Debug)]
pub(in crate::engine) struct ActivationGrad {
    pub function: Function,
    pub y: Tensor,
    pub dy: Tensor,
    pub dx: Destination,
}

/// Records `y = tanh(x)`, element by element; both are `[n, h, w, c]`.
///
/// # Panics
/// If the shapes differ.
pub fn tanh(tape: &mut Tape, x: Tensor, y: Tensor) {
    activation(tape, Function::Tanh, x, y);
}

/// Records `y = 1 / (1 + exp(-x))`, element by element; both are `[n, h, w, c]`.
///
/// # Panics
/// If the shapes differ.
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
