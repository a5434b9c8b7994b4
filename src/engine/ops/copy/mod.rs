//! Copies between views: of data into a slice of a larger buffer, and of a given gradient into a backward pass.

mod cpu;
mod cuda;

use std::sync::Arc;

use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::{Root, Tape};
use crate::engine::tensor::Tensor;

/// The step that copies a tensor to another of its shape, `to = from`, or adds it there, `to += from`, as the mode of
/// `to` says.
#[derive(Debug)]
pub struct Copy {
    pub from: Tensor,
    pub to: Destination,
}

/// Records the copy `to = from`; both are `[n, h, w, c]`.
///
/// # Panics
/// If the shapes differ.
pub fn copy(tape: &mut Tape, from: Tensor, to: Tensor) {
    assert_eq!(from.shape, to.shape, "a copy keeps the shape");
    tape.push(Copy { from, to: Destination::overwrite(to) });
}

impl Step for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.from), self.to.access()]
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for Copy {
    fn output(&self) -> Tensor {
        self.to.tensor
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let from = backward.at(self.from);
        if let Some(to) = backward.destination(from) {
            backward.push(Copy { from: dy, to });
        }
    }
}

/// The root of a backward pass that starts from a given gradient: `dy`, of the shape of `y`, is the gradient of `y`.
#[derive(Debug)]
pub struct Upstream {
    pub y: Tensor,
    pub dy: Tensor,
}

impl Root for Upstream {
    fn input(&self) -> Tensor {
        self.y
    }

    fn step(&self, gradient: Destination) -> Arc<dyn Step> {
        Arc::new(Copy { from: self.dy, to: gradient })
    }
}
