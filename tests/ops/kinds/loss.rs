//! Losses, the mean over all elements, fused with their gradients; `dx = weight * d value / dx`.
//!
//! | criterion | value |
//! |---|---|
//! | `mse` | mean of `(x - target)^2` |
//! | `bce` | binary cross-entropy of probabilities x: `clamp(drawn / 2 + 1/2, 1/8, 7/8)`, or `all` everywhere |
//! | `bce_logits` | the same of `sigmoid(x)`; x has the scale `scale` |
//! | `l1`, `l2` | mean of `|x - t|` and of `(x - t)^2` for a tensor t |
//! | `ssim` | 1 - the mean structural similarity of x and t, windows of 11x11, range [-1, 1] |

use pixtape::engine::ops::loss::{Criterion, Loss};
use pixtape::engine::tensor::Shape;
use serde::Deserialize;

use super::{Kind, Layer, Op, Output, cases, describe};

pub const KIND: Kind = Kind { name: "", pytorch: PYTORCH, cases: || cases::<LossCase>(CASES), layers };

const PYTORCH: &str = r#"
if criterion == "bce":
    x = leaf(torch.full_like(x, all) if all is not None else (x / 2 + 0.5).clamp(0.125, 0.875))
if criterion == "bce_logits":
    x = leaf(x * scale)
t = given("t") if target is None else torch.full_like(x, target)

def ssim(x, t):
    k = torch.arange(11, dtype=dtype) - 5
    window = torch.exp(-0.5 * (k / 1.5) ** 2)
    window = torch.outer(window, window) / window.sum() ** 2

    def mean(image):
        return F.conv2d(image.reshape(-1, 1, h, w), window[None, None])

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mx, mt = mean(x), mean(t)
    vx, vt, cov = mean(x * x) - mx * mx, mean(t * t) - mt * mt, mean(x * t) - mx * mt
    return 1 - ((2 * mx * mt + c1) * (2 * cov + c2) / ((mx * mx + mt * mt + c1) * (vx + vt + c2))).mean()

functions = {
    "mse": F.mse_loss,
    "bce": F.binary_cross_entropy,
    "bce_logits": F.binary_cross_entropy_with_logits,
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "ssim": ssim,
}
value = functions[criterion](x, t)
"#;

const CASES: &str = r#"
name                            x            criterion   all  scale  target  weight
mse_to_one                      [1,4,4,1]    mse         -    -      1.0     1.0
mse_to_zero_5x7_batch3          [3,5,7,3]    mse         -    -      0.0     0.5
l1_5x7_batch3                   [3,5,7,3]    l1          -    -      -       100.0
l1_1x1                          [1,1,1,1]    l1          -    -      -       1.0
l1_24x25                        [1,24,25,3]  l1          -    -      -       100.0
mse_21x25_batch2                [2,21,25,3]  mse         -    -      1.0     0.5
l1_27x29                        [1,27,29,3]  l1          -    -      -       100.0
bce_to_1_5x7                    [1,5,7,1]    bce         -    -      1.0     1.0
bce_to_0_5x7_batch3             [3,5,7,3]    bce         -    -      0.0     0.5
bce_to_0_9_21x25_batch2         [2,21,25,3]  bce         -    -      0.9     0.5
bce_of_0_to_0                   [1,1,1,1]    bce         0.0  -      0.0     1.0
bce_of_0_to_1                   [1,1,1,1]    bce         0.0  -      1.0     1.0
bce_of_1_to_0                   [1,1,1,1]    bce         1.0  -      0.0     1.0
bce_of_1_to_1                   [1,1,1,1]    bce         1.0  -      1.0     1.0
bce_logits_to_1_5x7             [1,5,7,1]    bce_logits  -    8.0    1.0     1.0
bce_logits_to_0_5x7_batch3      [3,5,7,3]    bce_logits  -    8.0    0.0     0.5
bce_logits_to_0_9_21x25_batch2  [2,21,25,3]  bce_logits  -    8.0    0.9     0.5
bce_logits_to_1_5x7_saturated   [1,5,7,3]    bce_logits  -    128.0  1.0     1.0
bce_logits_to_0_5x7_saturated   [1,5,7,3]    bce_logits  -    128.0  0.0     1.0

# Squared errors to a picture.
l2_5x7_batch3                   [3,5,7,3]    l2          -    -      -       100.0
l2_1x1                          [1,1,1,1]    l2          -    -      -       1.0
l2_27x29                        [1,27,29,3]  l2          -    -      -       100.0

# Structural dissimilarity: one window, fewer windows than taps, more.
ssim_11x11                      [1,11,11,1]  ssim        -    -      -       1.0
ssim_12x15_batch3               [3,12,15,3]  ssim        -    -      -       100.0
ssim_27x29                      [1,27,29,3]  ssim        -    -      -       100.0
"#;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Name {
    Mse,
    Bce,
    BceLogits,
    L1,
    L2,
    Ssim,
}

#[derive(Debug, Deserialize)]
struct LossCase {
    x: Shape,
    criterion: Name,
    all: Option<f64>,
    scale: Option<f64>,
    target: Option<f64>,
    weight: f64,
}

impl Op for LossCase {
    fn x(&self) -> Shape {
        self.x
    }

    fn x_value(&self, drawn: f64) -> f64 {
        match self.criterion {
            Name::Bce => self.all.unwrap_or((drawn / 2.0 + 0.5).clamp(0.125, 0.875)),
            Name::BceLogits => drawn * self.scale.expect("a scale of logits"),
            _ => drawn,
        }
    }

    fn output(&self) -> Output<'_> {
        let number = || self.target.expect("a target that is a number");
        Output::Loss(
            self.weight,
            Box::new(move |tensor| match self.criterion {
                Name::Mse => Criterion::Mse { target: number() },
                Name::Bce => Criterion::Bce { target: number() },
                Name::BceLogits => Criterion::BceLogits { target: number() },
                Name::L1 => Criterion::L1 { target: tensor() },
                Name::L2 => Criterion::L2 { target: tensor() },
                Name::Ssim => Criterion::Ssim { target: tensor() },
            }),
        )
    }

    /// At the edges of what a probability can be there is no derivative.
    fn has_slope(&self) -> bool {
        self.all.is_none()
    }
}

/// The pixel losses on a picture, and the adversarial losses on the maps of the recipes.
fn layers() -> Vec<Layer> {
    let layer = |layer: &str, step: &'static str, shape: Shape| {
        Layer::new(format!("{layer} ({})", describe(shape)), &[step], move |r| {
            // Probabilities, which all criteria accept.
            let x = r.given(shape, [0.0, 1.0]);
            let criterion = match step {
                "l1_loss" => Criterion::L1 { target: r.image(shape) },
                "l2_loss" => Criterion::L2 { target: r.image(shape) },
                "ssim_loss" => Criterion::Ssim { target: r.image(shape) },
                "mse_loss" => Criterion::Mse { target: 1.0 },
                "bce_loss" => Criterion::Bce { target: 1.0 },
                _ => Criterion::BceLogits { target: 1.0 },
            };
            let value = r.tape.persistent([1; 4]);
            r.backward(&Loss { x, criterion, weight: 1.0, value }, &[x]);
        })
    };
    vec![
        layer("L1", "l1_loss", [1, 256, 256, 3]),
        layer("L2", "l2_loss", [1, 256, 256, 3]),
        layer("SSIM", "ssim_loss", [1, 256, 256, 3]),
        layer("LSGAN", "mse_loss", [1, 16, 16, 1]),
        layer("BCE", "bce_loss", [1, 70, 70, 1]),
        layer("BCE of logits", "bce_logits_loss", [1, 30, 30, 1]),
    ]
}
