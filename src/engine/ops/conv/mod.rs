//! Convolution and its transpose, of any kernel, stride, dilation and padding.
//!
//! Three steps, named as in cuDNN, serve both. The forward pass of a convolution is [`Fprop`], its input gradient
//! [`Dgrad`]. For a transposed convolution they are exchanged: its forward pass *is* a [`Dgrad`], its input gradient an
//! [`Fprop`]. Throughout, `x` is the input of the convolution with c channels, and `y` its output with k channels; a
//! transposed convolution goes from `y` to `x`, so it takes k channels and gives c. Weights of both are
//! `[k, kh, kw, c]`.
//!
//! | step | serves | sums over |
//! |---|---|---|
//! | [`Fprop`] | convolution forward, transposed convolution's input gradient | taps and c |
//! | [`Dgrad`] | transposed convolution forward, convolution's input gradient | taps and k |
//! | [`Wgrad`] | both weight gradients | pixels of the convolution's output |

mod bias_grad;
mod cpu;
mod cuda;
mod dot;
mod epilogue;
mod few;
mod geometry;
mod map;
mod narrow;
mod patch;
mod wgrad_adam;
mod wgrad_patch;

pub use bias_grad::{BiasGrads, MAX_BIAS_GRADS};
pub use epilogue::Epilogue;
pub use geometry::Geometry;
pub use wgrad_adam::WgradAdam;

use std::sync::Arc;

use crate::engine::access::{Access, Destination};
use crate::engine::program::{Backward, Rule, Step};
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

/// The step of a convolution's forward pass, for each output pixel q and channel k:
/// `y[q, k] = bias[k] + sum over taps, c of weight[k, tap, c] * x[q * stride + tap * dilation - pad, c]`, with 0 for
/// pixels outside of `x`.
#[derive(Clone, Copy, Debug)]
pub struct Fprop {
    pub x: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub y: Destination,
    pub geometry: Geometry,
    pub epilogue: Epilogue,
}

/// The step of a convolution's input gradient, for each input pixel p and channel c:
/// `dx[p, c] = bias[c] + sum over q, tap, k of weight[k, tap, c] * dy[q, k]`, over all q and taps with
/// `q * stride + tap * dilation - pad = p`. Only a transposed convolution, whose forward pass this is, has a bias here.
/// `dx` and `weight` are slices of the channels of x that need a gradient, if not all do.
#[derive(Clone, Copy, Debug)]
pub struct Dgrad {
    pub dy: Tensor,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub dx: Destination,
    pub geometry: Geometry,
    pub epilogue: Epilogue,
}

/// The step of a convolution's weight gradient:
/// `dw[k, tap, c] = sum over q of dy[q, k] * x[q * stride + tap * dilation - pad, c]`, over the output pixels q of all
/// images.
#[derive(Debug)]
pub struct Wgrad {
    pub x: Tensor,
    pub dy: Tensor,
    pub dw: Destination,
    pub geometry: Geometry,
}

/// The step of a bias gradient: `dbias[c] = sum over p of dy[p, c]`, over the pixels p of all images.
#[derive(Clone, Copy, Debug)]
pub struct BiasGrad {
    pub dy: Tensor,
    pub dbias: Destination,
}

/// Records a convolution, `out = x * weight + bias`. `x` is `[n, h, w, c]`, `weight` `[k, kh, kw, c]`, `bias` of k
/// elements and `out` `[n, oh, ow, k]`; the sizes of `out` say how much padding there is after the last row and column.
///
/// # Panics
/// If the shapes do not fit together (oh and ow may have any value), or the weight is not contiguous.
pub fn conv(tape: &mut Tape, x: Tensor, weight: Tensor, bias: Option<Tensor>, out: Tensor, geometry: Geometry) {
    check(x, out, weight, bias, out, geometry);
    tape.push(Fprop { x, weight, bias, y: Destination::overwrite(out), geometry, epilogue: Epilogue::None });
}

/// Records the transpose of a convolution from c to k channels: `x` is `[n, h, w, k]`, `weight` `[k, kh, kw, c]`,
/// `bias` of c elements, `out` `[n, oh, ow, c]`. `out` has the sizes of that convolution's input, `x` those of its
/// output.
///
/// # Panics
/// As [`conv`].
pub fn conv_transpose(
    tape: &mut Tape,
    x: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    out: Tensor,
    geometry: Geometry,
) {
    check(out, x, weight, bias, out, geometry);
    tape.push(Dgrad { dy: x, weight, bias, dx: Destination::overwrite(out), geometry, epilogue: Epilogue::None });
}

/// Checks shapes. `x` and `y` are the input and the output of the convolution, also where its transpose is recorded;
/// `out` is the one of them that is written.
fn check(x: Tensor, y: Tensor, weight: Tensor, bias: Option<Tensor>, out: Tensor, geometry: Geometry) {
    let [kernel_rows, kernel_columns] = geometry.kernel;
    assert_eq!(weight.shape, [y.channels(), kernel_rows, kernel_columns, x.channels()], "shape of a weight");
    assert_eq!(weight.stride, weight.channels(), "weights are contiguous");
    assert_eq!(x.shape[0], y.shape[0], "images of input and output");
    if let Some(bias) = bias {
        assert_eq!(bias.count(), out.channels(), "elements of a bias");
    }
}

impl Step for Fprop {
    fn name(&self) -> &'static str {
        "conv_fprop"
    }

    fn accesses(&self) -> Vec<Access> {
        let reads = [Some(self.x), Some(self.weight), self.bias].into_iter().flatten().map(Access::Read);
        reads.chain([self.y.access()]).chain(self.epilogue.accesses()).collect()
    }

    fn multiply_adds(&self) -> usize {
        self.y.tensor.pixels() * self.weight.count()
    }

    fn receptive_field(&self) -> usize {
        self.geometry.kernel[0]
    }

    fn moved(&self, moved: &dyn Fn(Tensor) -> Tensor) -> Option<Arc<dyn Step>> {
        let Fprop { x, weight, bias, y, geometry, epilogue } = *self;
        let (x, weight, bias, epilogue) = (moved(x), moved(weight), bias.map(moved), epilogue.moved(moved));
        Some(Arc::new(Fprop { x, weight, bias, y: y.moved(moved), geometry, epilogue }))
    }

    fn rule(&self) -> Option<&dyn Rule> {
        (self.epilogue == Epilogue::None).then_some(self as &dyn Rule)
    }
}

impl Rule for Fprop {
    fn output(&self) -> Tensor {
        self.y.tensor
    }

    fn backward(&self, dy: Tensor, backward: &mut dyn Backward) {
        let Fprop { x, weight, bias, geometry, .. } = *self;
        let x = backward.at(x);
        if let Some(channels) = backward.needed_channels(x)
            && let Some(dx) = backward.destination(x.channel_slice(channels.clone()))
        {
            let weight = weight.channel_slice(channels);
            backward.push(Dgrad { dy, weight, bias: None, dx, geometry, epilogue: Epilogue::None });
        }
        if let Some(dw) = backward.destination(weight) {
            backward.push(Wgrad { x, dy, dw, geometry });
        }
        push_bias_grad(bias, dy, backward);
    }
}

impl Step for Dgrad {
    fn name(&self) -> &'static str {
        "conv_dgrad"
    }

    fn accesses(&self) -> Vec<Access> {
        let reads = [Some(self.dy), Some(self.weight), self.bias].into_iter().flatten().map(Access::Read);
        reads.chain([self.dx.access()]).chain(self.epilogue.accesses()).collect()
    }

    fn multiply_adds(&self) -> usize {
        self.dy.pixels() * self.weight.count()
    }

    fn receptive_field(&self) -> usize {
        self.geometry.kernel[0].div_ceil(self.geometry.stride)
    }

    fn moved(&self, moved: &dyn Fn(Tensor) -> Tensor) -> Option<Arc<dyn Step>> {
        let Dgrad { dy, weight, bias, dx, geometry, epilogue } = *self;
        let (dy, weight, bias, epilogue) = (moved(dy), moved(weight), bias.map(moved), epilogue.moved(moved));
        Some(Arc::new(Dgrad { dy, weight, bias, dx: dx.moved(moved), geometry, epilogue }))
    }

    fn rule(&self) -> Option<&dyn Rule> {
        (self.epilogue == Epilogue::None).then_some(self as &dyn Rule)
    }
}

/// The derivative of a transposed convolution, whose input is `dy` and whose output is `dx`.
impl Rule for Dgrad {
    fn output(&self) -> Tensor {
        self.dx.tensor
    }

    fn backward(&self, gradient: Tensor, backward: &mut dyn Backward) {
        let Dgrad { dy, weight, bias, geometry, .. } = *self;
        let input = backward.at(dy);
        if let Some(y) = backward.destination(input) {
            backward.push(Fprop { x: gradient, weight, bias: None, y, geometry, epilogue: Epilogue::None });
        }
        if let Some(dw) = backward.destination(weight) {
            backward.push(Wgrad { x: gradient, dy: input, dw, geometry });
        }
        push_bias_grad(bias, gradient, backward);
    }
}

/// Records the gradient of the bias, if there is one and its gradient is needed.
fn push_bias_grad(bias: Option<Tensor>, dy: Tensor, backward: &mut dyn Backward) {
    if let Some(dbias) = bias.and_then(|bias| backward.destination(bias)) {
        backward.push(BiasGrad { dy, dbias });
    }
}

impl Step for Wgrad {
    fn name(&self) -> &'static str {
        "conv_wgrad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.dy), Access::Read(self.x), self.dw.access()]
    }

    fn multiply_adds(&self) -> usize {
        self.dy.pixels() * self.dw.tensor.count()
    }

    fn moved(&self, moved: &dyn Fn(Tensor) -> Tensor) -> Option<Arc<dyn Step>> {
        let Wgrad { x, dy, dw, geometry } = *self;
        Some(Arc::new(Wgrad { x: moved(x), dy: moved(dy), dw: dw.moved(moved), geometry }))
    }
}

impl Step for BiasGrad {
    fn name(&self) -> &'static str {
        "bias_grad"
    }

    fn accesses(&self) -> Vec<Access> {
        vec![Access::Read(self.dy), self.dbias.access()]
    }

    fn moved(&self, moved: &dyn Fn(Tensor) -> Tensor) -> Option<Arc<dyn Step>> {
        Some(Arc::new(BiasGrad { dy: moved(self.dy), dbias: self.dbias.moved(moved) }))
    }
}
