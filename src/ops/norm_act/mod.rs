//! Instance normalisation, activation and dropout in one pass, in this order, each of them optional.
//!
//! Each channel of each image is normalised by its own mean and biased variance (Ulyanov et al., "Instance Normalization",
//! 2016), in training and in use alike. Dropout stores no mask: the bits are Philox of (seed, step, pass, layer, element), so
//! the backward pass draws the same ones again.

mod cpu;
mod cuda;

use crate::program::{Access, Destination, Rule, Step};
use crate::tape::{Backward, Tape};
use crate::tensor::Tensor;

/// Added to the variance before its root is taken: PyTorch's default.
pub const EPSILON: f64 = 1e-5;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Identity,
    /// `max(x, 0.2 x)`.
    LeakyRelu,
    Relu,
}

impl Activation {
    /// The slope for values that are not positive.
    pub fn slope(self) -> f64 {
        match self {
            Activation::Identity => 1.0,
            Activation::LeakyRelu => 0.2,
            Activation::Relu => 0.0,
        }
    }
}

/// Each element is zeroed with `probability`, and what is left scaled up by `1 / (1 - probability)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    pub probability: f64,
    /// Which of its network's dropout layers, in forward order.
    pub layer: u16,
    /// Which evaluation of the network within the step.
    pub pass: u16,
}

impl Dropout {
    /// The counter word that keeps the draws of layers and passes apart.
    pub(crate) fn place(self) -> u32 {
        u32::from(self.layer) | u32::from(self.pass) << 16
    }

    /// A draw below this is dropped.
    pub(crate) fn threshold(self) -> u32 {
        (self.probability * 4_294_967_296.0).round().min(4_294_967_295.0) as u32
    }

    /// What elements that are left are multiplied by.
    pub(crate) fn scale(self) -> f64 {
        1.0 / (1.0 - self.probability)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormAct {
    pub norm: bool,
    pub activation: Activation,
    pub dropout: Option<Dropout>,
}

/// Records `y = dropout(activation(norm(x)))`; both are `[n, h, w, c]`.
pub fn norm_act(tape: &mut Tape, x: Tensor, y: Tensor, op: NormAct) {
    assert_eq!(x.shape, y.shape, "norm_act keeps the shape");
    assert!(
        !op.norm || x.shape[1] * x.shape[2] > 1,
        "a one-pixel map cannot be instance-normalised: it would be all zeros"
    );
    let statistics = tape.transient([x.shape[0], 1, 2, x.channels()]);
    tape.push(Forward { x, y, statistics, op });
}

/// `statistics` is `[n, 1, 2, c]`: mean and 1 / standard deviation, 0 and 1 without norm.
#[derive(Debug)]
pub struct Forward {
    x: Tensor,
    y: Tensor,
    statistics: Tensor,
    op: NormAct,
}

#[derive(Debug)]
pub struct Gradient {
    x: Tensor,
    dy: Tensor,
    statistics: Tensor,
    dx: Destination,
    op: NormAct,
    /// Place of the first image in the forward step's batch.
    first_image: usize,
}

/// The access to the control values that dropout needs.
fn control(op: NormAct) -> Option<Access> {
    op.dropout.map(|_| Access::ReadControl)
}

impl Step for Forward {
    fn name(&self) -> &'static str {
        "norm_act"
    }

    fn accesses(&self) -> Vec<Access> {
        let tensors = [Access::Read(self.x), Access::Write(self.y), Access::Write(self.statistics)];
        tensors.into_iter().chain(control(self.op)).collect()
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for Forward {
    fn output(&self) -> Tensor {
        self.y
    }

    fn backward(&self, dy: Tensor, backward: &mut Backward<'_>) {
        let x = backward.at(self.x);
        let statistics = backward.at(self.statistics);
        let first_image = backward.first_image();
        if let Some(dx) = backward.destination(x) {
            backward.push(Gradient { x, dy, statistics, dx, op: self.op, first_image });
        }
    }
}

impl Step for Gradient {
    fn name(&self) -> &'static str {
        "norm_act_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        let reads = [self.x, self.dy, self.statistics].map(Access::Read).into_iter();
        reads.chain([self.dx.access()]).chain(control(self.op)).collect()
    }
}
