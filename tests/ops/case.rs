//! A row of `tests/op_table.toml`: what its op takes, what it gives, and how it is recorded.

use pixtape::engine::access::Control;
use pixtape::engine::ops::conv::{Geometry, conv, conv_transpose};
use pixtape::engine::ops::norm_act::{Activation, Affine, Dropout, NormAct, norm_act};
use pixtape::engine::ops::squash::{sigmoid, tanh};
use pixtape::engine::ops::upsample::upsample_conv;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::{Shape, Tensor};
use pixtape::gan::{Role, Spec};
use serde::Deserialize;

/// Scale of weights and biases; everything else has scale 1.
pub const WEIGHT_SCALE: f64 = 0.25;

/// Where the dropout rows are in their run.
pub const CONTROL: Control = Control { seed: 7, step: 3, learning_rate: 0.0 };

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    #[serde(flatten)]
    pub op: Op,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Images {
    pub n: usize,
    pub h: usize,
    pub w: usize,
}

impl Images {
    pub fn of(self, channels: usize) -> Shape {
        [self.n, self.h, self.w, channels]
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    None,
    Relu,
    LeakyRelu,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct AdamRow {
    pub len: usize,
    pub steps: usize,
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    Conv {
        #[serde(flatten)]
        images: Images,
        c_in: usize,
        c_out: usize,
        kernel: [usize; 2],
        stride: usize,
        #[serde(default = "one")]
        dilation: usize,
        /// Top, left, bottom, right.
        pad: [usize; 4],
        bias: bool,
    },
    ConvTranspose {
        #[serde(flatten)]
        images: Images,
        c_in: usize,
        c_out: usize,
        kernel: [usize; 2],
        stride: usize,
        #[serde(default = "one")]
        dilation: usize,
        /// What is cut off of each side of the output.
        pad: usize,
        bias: bool,
    },
    NormAct {
        #[serde(flatten)]
        images: Images,
        c: usize,
        norm: bool,
        #[serde(default)]
        affine: bool,
        act: Act,
        dropout: f64,
        #[serde(default)]
        first_image: usize,
    },
    Tanh {
        #[serde(flatten)]
        images: Images,
        c: usize,
    },
    Sigmoid {
        #[serde(flatten)]
        images: Images,
        c: usize,
    },
    UpsampleConv {
        #[serde(flatten)]
        images: Images,
        c_in: usize,
        c_out: usize,
    },
    Mse {
        #[serde(flatten)]
        images: Images,
        c: usize,
        target: f64,
        weight: f64,
    },
    Bce {
        #[serde(flatten)]
        images: Images,
        c: usize,
        /// All elements of x, in rows about the edges of what a probability can be.
        x: Option<f64>,
        target: f64,
        weight: f64,
    },
    BceLogits {
        #[serde(flatten)]
        images: Images,
        c: usize,
        scale: f64,
        target: f64,
        weight: f64,
    },
    L1 {
        #[serde(flatten)]
        images: Images,
        c: usize,
        weight: f64,
    },
    L2 {
        #[serde(flatten)]
        images: Images,
        c: usize,
        weight: f64,
    },
    Adam(AdamRow),
}

fn one() -> usize {
    1
}

/// All rows. A row that does not parse, an op that nobody knows and a name that occurs twice are failures.
pub fn table() -> Vec<Case> {
    let Table { case: cases } = toml::from_str(include_str!("../op_table.toml")).expect("the op table");
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "a name occurs twice in the op table");
    cases
}

/// Every row but Adam's, which has no gradient.
pub fn differentiable() -> impl Iterator<Item = Case> {
    table().into_iter().filter(|case| !matches!(case.op, Op::Adam(_)))
}

/// What rows may be, as [`Op::kind`] says it.
pub const KINDS: [&str; 12] = [
    "conv",
    "conv_transpose",
    "norm_act",
    "tanh",
    "sigmoid",
    "upsample_conv",
    "mse",
    "bce",
    "bce_logits",
    "l1",
    "l2",
    "adam",
];

impl Op {
    /// As the table names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Conv { .. } => "conv",
            Op::ConvTranspose { .. } => "conv_transpose",
            Op::NormAct { .. } => "norm_act",
            Op::Tanh { .. } => "tanh",
            Op::Sigmoid { .. } => "sigmoid",
            Op::UpsampleConv { .. } => "upsample_conv",
            Op::Mse { .. } => "mse",
            Op::Bce { .. } => "bce",
            Op::BceLogits { .. } => "bce_logits",
            Op::L1 { .. } => "l1",
            Op::L2 { .. } => "l2",
            Op::Adam(_) => "adam",
        }
    }

    /// Shape of the input image.
    pub fn x(&self) -> Shape {
        match *self {
            Op::Conv { images, c_in, .. }
            | Op::ConvTranspose { images, c_in, .. }
            | Op::UpsampleConv { images, c_in, .. } => images.of(c_in),
            Op::NormAct { images, c, .. }
            | Op::Tanh { images, c }
            | Op::Sigmoid { images, c }
            | Op::Mse { images, c, .. }
            | Op::Bce { images, c, .. }
            | Op::BceLogits { images, c, .. }
            | Op::L1 { images, c, .. }
            | Op::L2 { images, c, .. } => images.of(c),
            Op::Adam(_) => unreachable!("Adam has no image"),
        }
    }

    /// The input image's value where the one that is drawn for it is `drawn`.
    pub fn x_value(&self, drawn: f64) -> f64 {
        match *self {
            Op::Bce { x, .. } => x.unwrap_or((drawn / 2.0 + 0.5).clamp(0.125, 0.875)),
            Op::BceLogits { scale, .. } => drawn * scale,
            _ => drawn,
        }
    }

    /// Weight or gain, and bias, by the names that the reference gives them.
    pub fn parameters(&self) -> Vec<Spec> {
        let weight = |small, [rows, columns]: [usize; 2], big| Spec {
            name: "w".into(),
            shape: [small, rows, columns, big],
            role: Role::Weight,
        };
        let bias = |wanted: bool, channels| wanted.then(|| Spec::bias("b", channels));
        match *self {
            Op::Conv { c_in, c_out, kernel, bias: biased, .. } => {
                [weight(c_out, kernel, c_in)].into_iter().chain(bias(biased, c_out)).collect()
            }
            Op::ConvTranspose { c_in, c_out, kernel, bias: biased, .. } => {
                [weight(c_in, kernel, c_out)].into_iter().chain(bias(biased, c_out)).collect()
            }
            Op::UpsampleConv { c_in, c_out, .. } => vec![weight(c_out, [4, 4], c_in), Spec::bias("b", c_out)],
            Op::NormAct { c, affine: true, .. } => vec![Spec::bias("g", c), Spec::bias("b", c)],
            _ => Vec::new(),
        }
    }

    /// Shape of the output; none of a loss, which is a number.
    pub fn y(&self) -> Option<Shape> {
        match *self {
            Op::Conv { images, c_out, kernel, stride, dilation, pad: [top, left, bottom, right], .. } => {
                let steps = |size: usize, kernel: usize| (size - dilation * (kernel - 1) - 1) / stride + 1;
                let h = steps(images.h + top + bottom, kernel[0]);
                Some([images.n, h, steps(images.w + left + right, kernel[1]), c_out])
            }
            Op::ConvTranspose {
                images: Images { n, h, w },
                c_out,
                kernel: [rows, columns],
                stride,
                dilation,
                pad,
                ..
            } => {
                let size = |steps: usize, kernel: usize| (steps - 1) * stride + dilation * (kernel - 1) + 1 - 2 * pad;
                Some([n, size(h, rows), size(w, columns), c_out])
            }
            Op::UpsampleConv { images: Images { n, h, w }, c_out, .. } => Some([n, 2 * h, 2 * w, c_out]),
            Op::NormAct { .. } | Op::Tanh { .. } | Op::Sigmoid { .. } => Some(self.x()),
            Op::Mse { .. } | Op::Bce { .. } | Op::BceLogits { .. } | Op::L1 { .. } | Op::L2 { .. } | Op::Adam(_) => {
                None
            }
        }
    }

    /// Records `y = op(x, w, b)`.
    pub fn record(&self, tape: &mut Tape, x: Tensor, parameters: &[Tensor], y: Tensor) {
        match *self {
            Op::Conv { kernel, stride, dilation, pad: [top, left, ..], .. } => {
                let geometry = Geometry { kernel, stride, dilation, pad: [top, left] };
                conv(tape, x, parameters[0], parameters.get(1).copied(), y, geometry);
            }
            Op::ConvTranspose { kernel, stride, dilation, pad, .. } => {
                let geometry = Geometry { kernel, stride, dilation, pad: [pad, pad] };
                conv_transpose(tape, x, parameters[0], parameters.get(1).copied(), y, geometry);
            }
            Op::NormAct { norm, affine, act, dropout, first_image, .. } => {
                let activation = match act {
                    Act::None => Activation::Identity,
                    Act::Relu => Activation::Relu,
                    Act::LeakyRelu => Activation::LeakyRelu,
                };
                let dropout = Dropout { probability: dropout, layer: 2, pass: 1, first_image, by_step: false };
                let dropout = (dropout.probability > 0.0).then_some(dropout);
                let affine = affine.then(|| Affine { gain: parameters[0], bias: parameters[1] });
                norm_act(tape, x, y, affine, NormAct { norm, activation, dropout });
            }
            Op::Tanh { .. } => tanh(tape, x, y),
            Op::Sigmoid { .. } => sigmoid(tape, x, y),
            Op::UpsampleConv { .. } => upsample_conv(tape, x, parameters[0], parameters[1], y),
            _ => unreachable!("it has no output image"),
        }
    }
}
