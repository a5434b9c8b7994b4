//! Instance norm (biased variance, eps 1e-5) if `norm`, with gain g and bias b if `affine`; then `act` (leaky slope
//! 0.2); then dropout by the draws of seed 7, step 3, pass 1, layer 2 for a batch in which x is the images from
//! `first_image` on.

use pixtape::engine::ops::norm_act::{Activation, Affine, Dropout, NormAct, norm_act};
use pixtape::engine::tensor::Shape;
use pixtape::gan::ParameterSpec;
use serde::Deserialize;

use super::{Kind, Layer, Op, Output, cases, describe};

pub const KIND: Kind = Kind { name: "", pytorch: PYTORCH, cases: || cases::<Row>(CASES), layers };

const PYTORCH: &str = r#"
g, b = (parameter("g", (c,)), parameter("b", (c,))) if affine else (None, None)
activations = {"none": lambda x: x, "relu": F.relu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2)}
y = activations[act](F.instance_norm(x, weight=g, bias=b, eps=1e-5) if norm else x)
mask = keep_mask(7, 3, 1, 2, (first_image + n, h, w, c), dropout)[first_image:]
y = y * torch.from_numpy(mask).to(dtype)
"#;

const CASES: &str = r#"
name                                         x            norm   affine  act         dropout  first_image
norm_relu_2x2                                [1,2,2,6]    true   false   relu        0.0      0
norm_leaky_5x7_batch3                        [3,5,7,3]    true   false   leaky_relu  0.0      0
norm_none_3x5                                [1,3,5,6]    true   false   none        0.0      0
norm_relu_16x33_one_channel                  [1,16,33,1]  true   false   relu        0.0      0
norm_relu_dropout_4x6_batch3                 [3,4,6,6]    true   false   relu        0.5      0
norm_leaky_dropout_5x7                       [1,5,7,3]    true   false   leaky_relu  0.5      0
norm_none_dropout_1x2_from_64                [1,1,2,64]   true   false   none        0.5      0
leaky_5x7                                    [1,5,7,3]    false  false   leaky_relu  0.0      0
leaky_dropout_1x1_from_64_batch3             [3,1,1,64]   false  false   leaky_relu  0.5      0
relu_1x1                                     [3,1,1,1]    false  false   relu        0.0      0
dropout_3x3                                  [1,3,3,3]    false  false   none        0.5      0
norm_relu_dropout_3x4_of_37                  [2,3,4,37]   true   false   relu        0.5      0
norm_leaky_dropout_33x35_batch2              [2,33,35,1]  true   false   leaky_relu  0.5      0
norm_relu_5x7_of_67                          [1,5,7,67]   true   false   relu        0.0      0
leaky_dropout_9x15_batch2_of_3               [2,9,15,3]   false  false   leaky_relu  0.5      0
relu_5x7_of_35_batch2                        [2,5,7,35]   false  false   relu        0.0      0

# Four channels at a time: blocks of the CUDA kernels hold 64, 256, 1024 or 4096 pixels of 16 or 8 channels, or a part
# of 256 pixels.
norm_relu_dropout_7x9_of_20_batch2           [2,7,9,20]   true   false   relu        0.5      0
affine_none_13x15_of_20_batch2               [2,13,15,20] true   true    none        0.0      0
norm_none_dropout_25x30_of_12                [1,25,30,12] true   false   none        0.5      0
norm_none_dropout_45x50_of_4                 [1,45,50,4]  true   false   none        0.5      0
affine_none_dropout_65x64_of_4_batch2        [2,65,64,4]  true   true    none        0.5      0
leaky_dropout_9x7_of_20_batch2_from_image_3  [2,9,7,20]   false  false   leaky_relu  0.5      3

# Blocks of the CPU's kernels hold 64 pixels, and here the last of an image 15; 16 channels are computed at once.
affine_leaky_dropout_17x31_of_21_batch2      [2,17,31,21] true   true    leaky_relu  0.5      0

# Norms with gain and bias, and dropout for a batch that is computed in several.
affine_relu_2x2                              [1,2,2,6]    true   true    relu        0.0      0
affine_leaky_5x7_batch3                      [3,5,7,3]    true   true    leaky_relu  0.0      0
affine_none_dropout_3x4_of_37_batch2         [2,3,4,37]   true   true    none        0.5      0
affine_relu_33x35_batch2_of_2                [2,33,35,2]  true   true    relu        0.0      0
affine_leaky_2x3_batch19                     [19,2,3,2]   true   true    leaky_relu  0.0      0
affine_relu_dropout_3x5_batch2_from_image_3  [2,3,5,3]    true   true    relu        0.5      3
leaky_dropout_3x3_batch2_from_image_5        [2,3,3,5]    false  false   leaky_relu  0.5      5
"#;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    None,
    Relu,
    LeakyRelu,
}

#[derive(Debug, Deserialize)]
struct Row {
    x: Shape,
    norm: bool,
    affine: bool,
    act: Act,
    dropout: f64,
    first_image: usize,
}

impl Op for Row {
    fn x(&self) -> Shape {
        self.x
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        if self.affine { ["g", "b"].map(|name| ParameterSpec::bias(name, self.x[3])).to_vec() } else { Vec::new() }
    }

    fn output(&self) -> Output<'_> {
        let activation = match self.act {
            Act::None => Activation::Identity,
            Act::Relu => Activation::Relu,
            Act::LeakyRelu => Activation::LeakyRelu,
        };
        let first_image = self.first_image;
        let dropout = Dropout { probability: self.dropout, layer: 2, pass: 1, first_image, by_step: false };
        let dropout = (self.dropout > 0.0).then_some(dropout);
        let op = NormAct { norm: self.norm, activation, dropout };
        Output::Image(
            self.x,
            Box::new(move |tape, x, parameters, y| {
                let affine = self.affine.then(|| Affine { gain: parameters[0], bias: parameters[1] });
                norm_act(tape, x, y, affine, op);
            }),
        )
    }
}

/// Both networks' levels, by side, channels and images.
fn layers() -> Vec<Layer> {
    use Activation::{LeakyRelu, Relu};
    let channels = |level: usize| 64 << (level - 1).min(3);
    let dropout =
        |drops: bool| drops.then_some(Dropout { probability: 0.5, layer: 0, pass: 0, first_image: 0, by_step: false });
    let op = |norm, activation, drops| NormAct { norm, activation, dropout: dropout(drops) };
    let mut levels: Vec<(String, Shape, NormAct)> = Vec::new();
    for level in 1..=8 {
        let side = 256 >> level;
        let normed = (2..8).contains(&level);
        let shape = [1, side, side, channels(level)];
        levels.push((format!("G.down{level}"), shape, op(normed, LeakyRelu, level >= 4)));
        if normed {
            levels.push((format!("G.down{level}, skip of isola"), shape, op(false, Relu, false)));
        }
    }
    for up in 1..=7 {
        let side = 1 << up.min(7);
        levels.push((format!("G.up{up}"), [1, side, side, channels(8 - up)], op(true, Relu, up <= 4)));
    }
    for images in [1, 2] {
        for level in 1..=4 {
            let side = 256 >> level;
            let shape = [images, side, side, channels(level)];
            levels.push((format!("D.conv{level}"), shape, op(level > 1, LeakyRelu, false)));
        }
        levels.push(("D.conv4 of isola".into(), [images, 31, 31, 512], op(true, LeakyRelu, false)));
    }
    let steps = [("norm_act", "forward"), ("norm_act_grad", "backward")];
    let passes = levels.into_iter().flat_map(|(layer, shape, op)| {
        let affine = [false].into_iter().chain((layer == "G.down2").then_some(true));
        let variants: Vec<_> = affine.flat_map(|affine| steps.map(|step| (affine, step))).collect();
        variants.into_iter().map(move |(affine, (step, pass))| {
            let with = if affine { ", affine" } else { "" };
            Layer::new(format!("{layer}{with} {pass} ({})", describe(shape)), &[step], move |r| {
                let (x, y) = (r.image(shape), r.tape.transient(shape));
                let affine = affine.then(|| {
                    let [gain, bias] = [(); 2].map(|()| r.weight([1, 1, 1, shape[3]]));
                    Affine { gain, bias }
                });
                norm_act(&mut r.tape, x, y, affine, op);
                r.differentiate(y, &[x]);
            })
        })
    });
    passes.collect()
}
