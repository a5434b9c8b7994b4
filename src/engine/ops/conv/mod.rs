//! Convolution and its transpose, of any kernel, stride, dilation and padding.
//!
//! The one idea: three steps serve both directions of both. Weights are `[s, kh, kw, b]`, s channels on the small grid and b
//! on the big one, for a convolution (big to small) and for a transposed convolution (small to big) alike.
//!
//! | step | serves | sums over |
//! |---|---|---|
//! | [`Down`] | convolution forward, transposed convolution's input gradient | taps and big channels |
//! | [`Up`] | transposed convolution forward, convolution's input gradient | taps and small channels |
//! | [`Wgrad`] | both weight gradients | pixels of the small grid |

mod columns;
mod cpu;
mod cuda;
mod geometry;

pub use geometry::Geometry;

use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

/// `small[q, s] = bias[s] + sum over taps, b of weight[s, tap, b] * big[q * stride + tap * dilation - pad, b]`.
#[derive(Debug)]
pub struct Down {
    pub big: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub small: Destination,
    pub geometry: Geometry,
}

/// `big[p, b] = bias[b] + sum over s and the taps at which small q meets p of weight[s, tap, b] * small[q, s]`.
#[derive(Debug)]
pub struct Up {
    pub small: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub big: Destination,
    pub geometry: Geometry,
}

/// `weight[s, tap, b] = sum over q of small[q, s] * big[q * stride + tap * dilation - pad, b]`.
#[derive(Debug)]
pub struct Wgrad {
    pub small: Tensor,
    pub big: Tensor,
    pub weight: Destination,
    pub geometry: Geometry,
}

/// `bias[c] = sum over pixels p of gradient[p, c]`.
#[derive(Debug)]
pub struct BiasGrad {
    pub gradient: Tensor,
    pub bias: Destination,
}

/// Convolution: records `out = x * weight + bias`. `x` is `[n, h, w, b]`, `weight` `[s, kh, kw, b]`, `bias` of s elements
/// and `out` `[n, oh, ow, s]`; the sizes of `out` say how much padding there is after the last row and column.
pub fn conv(tape: &mut Tape, x: Tensor, weight: Tensor, bias: Option<Tensor>, out: Tensor, geometry: Geometry) {
    check(x, out, weight, bias, out, geometry);
    tape.push(Down { big: x, weight, bias, small: Destination::overwrite(out), geometry });
}

/// Transposed convolution: `x` is `[n, h, w, s]`, `weight` `[s, kh, kw, b]`, `bias` of b elements, `out` `[n, oh, ow, b]`.
pub fn conv_transpose(
    tape: &mut Tape,
    x: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    out: Tensor,
    geometry: Geometry,
) {
    check(out, x, weight, bias, out, geometry);
    tape.push(Up { small: x, weight, bias, big: Destination::overwrite(out), geometry });
}

fn check(big: Tensor, small: Tensor, weight: Tensor, bias: Option<Tensor>, out: Tensor, geometry: Geometry) {
    let [kernel_rows, kernel_columns] = geometry.kernel;
    assert_eq!(weight.shape, [small.channels(), kernel_rows, kernel_columns, big.channels()], "shape of a weight");
    assert_eq!(weight.stride, weight.channels(), "weights are contiguous");
    assert_eq!(small.shape[0], big.shape[0], "images on both grids");
    if let Some(bias) = bias {
        assert_eq!(bias.count(), out.channels(), "elements of a bias");
    }
}

impl Step for Down {
    fn name(&self) -> &'static str {
        "conv_down"
    }

    fn accesses(&self) -> Vec<Access> {
        let reads = [Some(self.big), Some(self.weight), self.bias].into_iter().flatten().map(Access::Read);
        reads.chain([self.small.access()]).collect()
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for Down {
    fn output(&self) -> Tensor {
        self.small.tensor
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let Down { big, weight, bias, geometry, .. } = *self;
        let big = backward.at(big);
        if let Some(destination) = backward.destination(big) {
            backward.push(Up { small: dy, weight, bias: None, big: destination, geometry });
        }
        if let Some(weight) = backward.destination(weight) {
            backward.push(Wgrad { small: dy, big, weight, geometry });
        }
        push_bias_gradient(bias, dy, backward);
    }
}

impl Step for Up {
    fn name(&self) -> &'static str {
        "conv_up"
    }

    fn accesses(&self) -> Vec<Access> {
        let reads = [Some(self.small), Some(self.weight), self.bias].into_iter().flatten().map(Access::Read);
        reads.chain([self.big.access()]).collect()
    }

    fn rule(&self) -> Option<&dyn Rule> {
        Some(self)
    }
}

impl Rule for Up {
    fn output(&self) -> Tensor {
        self.big.tensor
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let Up { small, weight, bias, geometry, .. } = *self;
        let small = backward.at(small);
        if let Some(destination) = backward.destination(small) {
            backward.push(Down { big: dy, weight, bias: None, small: destination, geometry });
        }
        if let Some(weight) = backward.destination(weight) {
            backward.push(Wgrad { small, big: dy, weight, geometry });
        }
        push_bias_gradient(bias, dy, backward);
    }
}

fn push_bias_gradient(bias: Option<Tensor>, gradient: Tensor, backward: &mut dyn Backward) {
    if let Some(bias) = bias.and_then(|bias| backward.destination(bias)) {
        backward.push(BiasGrad { gradient, bias });
    }
}

impl Step for Wgrad {
    fn name(&self) -> &'static str {
        "conv_wgrad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.small), Access::Read(self.big), self.weight.access()]
    }
}

impl Step for BiasGrad {
    fn name(&self) -> &'static str {
        "bias_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.gradient), self.bias.access()]
    }
}
