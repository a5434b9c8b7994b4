//! Adam (Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015) over flat buffers, and the increment of the
//! step number at the end of a training step.

mod cpu;
mod cuda;
mod ranges;

pub(super) use cpu::Update;
pub(super) use cuda::{adam_launch, adam_state};
pub use ranges::{AdamRanges, MAX_RANGES};

use crate::engine::access::Access;
use crate::engine::program::Step;
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

/// Hyperparameters of Adam that stay the same in a training: PyTorch's `betas` and `eps`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
}

/// The step that updates `parameters` by `gradients`, with the moments `first` and `second`. All four tensors are
/// `[1, 1, 1, count]`.
///
/// The learning rate is [`Control::learning_rate`](crate::engine::access::Control), and the paper's t is
/// `Control::step` + 1, since a program updates each parameter once in an execution.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    pub parameters: Tensor,
    pub gradients: Tensor,
    /// First moments.
    pub first: Tensor,
    /// Second moments.
    pub second: Tensor,
    pub options: AdamOptions,
}

/// Records an Adam update of `parameters` by `gradients`; the next backward pass overwrites the gradients. `moments`
/// are the first and the second moments, in this order; all four tensors are `[1, 1, 1, count]`.
///
/// # Panics
/// If a tensor has another shape.
pub fn adam(tape: &mut Tape, parameters: Tensor, gradients: Tensor, moments: [Tensor; 2], options: AdamOptions) {
    let [first, second] = moments;
    for tensor in [parameters, gradients, first, second] {
        assert_eq!(tensor.shape, [1, 1, 1, parameters.count()], "Adam works on flat buffers of one length");
    }
    tape.push(Adam { parameters, gradients, first, second, options });
    tape.gradients_used(parameters);
}

impl Step for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn accesses(&self) -> Vec<Access> {
        self.tensors().into_iter().chain([Access::ReadControl]).collect()
    }
}

impl Adam {
    /// The accesses to tensors.
    fn tensors(&self) -> [Access; 4] {
        let Adam { parameters, gradients, first, second, .. } = *self;
        [Access::Update(parameters), Access::Read(gradients), Access::Update(first), Access::Update(second)]
    }
}

/// The last operation of a training step: adds 1 to the step number in the control values.
#[derive(Debug)]
pub(in crate::engine) struct Advance;

/// Records the last operation of a training step, which adds 1 to
/// [`Control::step`](crate::engine::access::Control::step), the number of training steps completed.
pub fn advance(tape: &mut Tape) {
    tape.push(Advance);
}

impl Step for Advance {
    fn name(&self) -> &'static str {
        "advance"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::WriteControl]
    }
}
