//! Losses, fused with their gradients: one pass over the elements computes both.
//!
//! A loss is a [`Root`]: `tape.backward` records it, because the destination of its gradient is not known before. The
//! value is unweighted; the gradient is that of `weight * value`.

mod cpu;
mod cuda;
mod several;
pub mod ssim;

pub use several::{Losses, MAX_LOSSES};

use std::sync::Arc;

use crate::engine::access::{Access, Destination};
use crate::engine::program::Step;
use crate::engine::tape::Root;
use crate::engine::tensor::Tensor;

/// The function that a loss is the mean of (squared or absolute error, cross-entropy, or 1 - SSIM), with its target:
/// one number for all elements, or a tensor of the shape of the loss's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Criterion {
    /// Mean squared error, `(x - target)^2`. The least-squares GAN loss (Mao et al., 2017) has target 1 for real and 0
    /// for fake.
    Mse { target: f64 },
    /// Binary cross-entropy, `-(target ln x + (1 - target) ln(1 - x))`, of probabilities x. As in PyTorch the
    /// logarithms end at -100, and the gradient is `(x - target) / (x (1 - x))` with a divisor of at least 1e-12.
    Bce { target: f64 },
    /// Binary cross-entropy of `sigmoid(x)`, computed from the logits x, so that it neither overflows nor loses
    /// precision.
    BceLogits { target: f64 },
    /// Mean absolute error, `|x - target|`, with gradient 0 where they are equal.
    L1 { target: Tensor },
    /// Mean squared error, `(x - target)^2`, to a tensor.
    L2 { target: Tensor },
    /// `1 - SSIM(x, target)` of pictures in [-1, 1]: see [`ssim`].
    Ssim { target: Tensor },
}

impl Criterion {
    /// The target, if it is a tensor.
    fn target(self) -> Option<Tensor> {
        match self {
            Criterion::Mse { .. } | Criterion::Bce { .. } | Criterion::BceLogits { .. } => None,
            Criterion::L1 { target } | Criterion::L2 { target } | Criterion::Ssim { target } => Some(target),
        }
    }

    /// Returns the same criterion with `moved(target)` in the place of a target that is a tensor.
    fn moved(self, moved: &dyn Fn(Tensor) -> Tensor) -> Criterion {
        match self {
            Criterion::Mse { .. } | Criterion::Bce { .. } | Criterion::BceLogits { .. } => self,
            Criterion::L1 { target } => Criterion::L1 { target: moved(target) },
            Criterion::L2 { target } => Criterion::L2 { target: moved(target) },
            Criterion::Ssim { target } => Criterion::Ssim { target: moved(target) },
        }
    }
}

/// A loss, the root of a backward pass: the mean of `criterion` over the elements of `x`, or for SSIM over its windows.
/// It is written to `value`, a tensor of one element; the gradient is that of `weight * value`.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub x: Tensor,
    pub criterion: Criterion,
    /// Factor of the gradient, but not of `value`.
    pub weight: f64,
    pub value: Tensor,
}

impl Root for Loss {
    fn input(&self) -> Tensor {
        self.x
    }

    fn step(&self, dx: Destination) -> Arc<dyn Step> {
        if let Some(target) = self.criterion.target() {
            assert_eq!(target.shape, self.x.shape, "a loss compares tensors of one shape");
        }
        assert_eq!(self.value.count(), 1, "a loss is one number");
        Arc::new(LossGrad { loss: *self, dx })
    }
}

/// The step of a loss: its value and its gradient.
#[derive(Clone, Copy, Debug)]
pub struct LossGrad {
    loss: Loss,
    dx: Destination,
}

impl LossGrad {
    /// True if the loss is a mean over the elements of its input: any but SSIM, which is one over windows.
    pub fn is_by_element(&self) -> bool {
        !matches!(self.loss.criterion, Criterion::Ssim { .. })
    }
}

impl Step for LossGrad {
    fn name(&self) -> &'static str {
        match self.loss.criterion {
            Criterion::Mse { .. } => "mse_loss",
            Criterion::Bce { .. } => "bce_loss",
            Criterion::BceLogits { .. } => "bce_logits_loss",
            Criterion::L1 { .. } => "l1_loss",
            Criterion::L2 { .. } => "l2_loss",
            Criterion::Ssim { .. } => "ssim_loss",
        }
    }

    fn accesses(&self) -> Vec<Access> {
        let accesses = [Access::Read(self.loss.x), Access::Write(self.loss.value), self.dx.access()];
        accesses.into_iter().chain(self.loss.criterion.target().map(Access::Read)).collect()
    }

    fn moved(&self, moved: &dyn Fn(Tensor) -> Tensor) -> Option<Arc<dyn Step>> {
        let Loss { x, criterion, weight, value } = self.loss;
        let loss = Loss { x: moved(x), criterion: criterion.moved(moved), weight, value: moved(value) };
        Some(Arc::new(LossGrad { loss, dx: self.dx.moved(moved) }))
    }
}
