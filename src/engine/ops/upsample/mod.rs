//! The generator's last layer: nearest-neighbour upsampling by 2, zero padding and a 4x4 convolution, folded into one
//! 3x3 convolution at the size of the input.
//!
//! Output pixel `2y + a` of the plain composition sums kernel rows `r` over the pixels `floor((2y + a - 2 + r) / 2)` of
//! the input, which is row `floor((a + r) / 2)` of a 3x3 neighbourhood of `y`: rows that fall together are added up
//! beforehand (`Fold`). One convolution then computes all four phases `(a, b)` of a pixel, and `Shuffle` lays them out.
//! The result is that of the composition with 36 of its 64 multiplications (11 of them by zeros), and there is no
//! upsampled tensor.

mod cpu;
mod cuda;
mod shuffle_tanh;

pub use shuffle_tanh::{ShuffleTanh, ShuffleTanhGrad};

use std::sync::Arc;

use super::conv::{BiasGrad, Geometry, conv};
use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

/// Geometry of the folded convolution.
const FOLDED: Geometry = Geometry { kernel: [3, 3], stride: 1, dilation: 1, pad: [1, 1] };

/// The row or column of the folded kernel to which row or column `tap` of the plain one is added, for phase `phase`.
fn folded(phase: usize, tap: usize) -> usize {
    (phase + tap) / 2
}

/// The fold of the weight: `folded[(a, b, k), (a + r) / 2, (b + s) / 2, c] = sum of weight[k, r, s, c]`.
#[derive(Debug)]
struct Fold {
    weight: Tensor,
    folded: Tensor,
}

/// The gradient of the fold.
#[derive(Debug)]
struct FoldGrad {
    dfolded: Tensor,
    dweight: Destination,
}

/// The pixel shuffle (Shi et al., 2016) with a bias: `y[n, 2h + a, 2w + b, k] = x[n, h, w, (a, b, k)] + bias[k]`.
#[derive(Debug)]
pub(in crate::engine) struct Shuffle {
    pub x: Tensor,
    pub bias: Tensor,
    pub y: Tensor,
}

/// The gradient of the pixel shuffle.
#[derive(Debug)]
pub(in crate::engine) struct ShuffleGrad {
    pub dy: Tensor,
    pub dx: Destination,
}

/// Records `out = conv4x4(pad(upsample(x)), weight) + bias`: nearest neighbour x2, two rows and columns of zeros before
/// and one after. `x` is `[n, h, w, c]`, `weight` `[k, 4, 4, c]`, `bias` of k elements, `out` `[n, 2h, 2w, k]`.
///
/// # Panics
/// If a tensor has another shape.
pub fn upsample_conv(tape: &mut Tape, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) {
    let [n, h, w, c] = x.shape;
    let k = bias.count();
    assert_eq!(weight.shape, [k, 4, 4, c], "shape of the last layer's weight");
    assert_eq!(out.shape, [n, 2 * h, 2 * w, k], "the last layer doubles the size");
    let folded = tape.transient([4 * k, 3, 3, c]);
    tape.push(Fold { weight, folded });
    let phases = tape.transient([n, h, w, 4 * k]);
    conv(tape, x, folded, None, phases, FOLDED);
    tape.push(Shuffle { x: phases, bias, y: out });
}

impl Step for Fold {
    fn name(&self) -> &'static str {
        "upsample_fold"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.weight), Access::Write(self.folded)]
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for Fold {
    fn output(&self) -> Tensor {
        self.folded
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        if let Some(dweight) = backward.destination(self.weight) {
            backward.push(FoldGrad { dfolded: dy, dweight });
        }
    }
}

impl Step for FoldGrad {
    fn name(&self) -> &'static str {
        "upsample_fold_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.dfolded), self.dweight.access()]
    }

    fn moved(&self, moved: &dyn Fn(Tensor) -> Tensor) -> Option<Arc<dyn Step>> {
        Some(Arc::new(FoldGrad { dfolded: moved(self.dfolded), dweight: self.dweight.moved(moved) }))
    }
}

impl Step for Shuffle {
    fn name(&self) -> &'static str {
        "upsample_shuffle"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.x), Access::Read(self.bias), Access::Write(self.y)]
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for Shuffle {
    fn output(&self) -> Tensor {
        self.y
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let x = backward.at(self.x);
        if let Some(dx) = backward.destination(x) {
            backward.push(ShuffleGrad { dy, dx });
        }
        if let Some(dbias) = backward.destination(self.bias) {
            backward.push(BiasGrad { dy, dbias });
        }
    }
}

impl Step for ShuffleGrad {
    fn name(&self) -> &'static str {
        "upsample_shuffle_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.dy), self.dx.access()]
    }
}
