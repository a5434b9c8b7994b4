//! The generator's last layer of pytorch-gan: nearest-neighbour upsampling by 2, zero padding of one left and one top,
//! and a 4x4 convolution of padding 1 with a bias.

use pixtape::engine::ops::upsample::upsample_conv;
use pixtape::engine::tensor::Shape;
use pixtape::gan::{ParameterSpec, Role};
use serde::Deserialize;

use super::{Kind, Layer, Op, Output, cases};

pub const KIND: Kind = Kind { name: "", pytorch: PYTORCH, cases: || cases::<UpsampleConv>(CASES), layers };

const PYTORCH: &str = r#"
w, b = parameter("w", (out, c, 4, 4)), parameter("b", (out,))
y = F.conv2d(F.pad(F.interpolate(x, scale_factor=2), (1, 0, 1, 0)), w, b, padding=1)
"#;

const CASES: &str = r#"
name                           x           out
upsample_conv_1x1              [1,1,1,6]   3
upsample_conv_3x5_batch3       [3,3,5,3]   3
upsample_conv_2x3_from_64      [1,2,3,64]  1
upsample_conv_3x4_batch2_to_5  [2,3,4,7]   5
upsample_conv_9x2_from_68      [1,9,2,68]  3
"#;

#[derive(Debug, Deserialize)]
struct UpsampleConv {
    x: Shape,
    out: usize,
}

impl Op for UpsampleConv {
    fn x(&self) -> Shape {
        self.x
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let weight = ParameterSpec { name: "w".into(), shape: [self.out, 4, 4, self.x[3]], role: Role::Weight };
        vec![weight, ParameterSpec::bias("b", self.out)]
    }

    fn output(&self) -> Output<'_> {
        let [n, h, w, _] = self.x;
        Output::Image(
            [n, 2 * h, 2 * w, self.out],
            Box::new(|tape, x, parameters, y| upsample_conv(tape, x, parameters[0], parameters[1], y)),
        )
    }
}

fn layers() -> Vec<Layer> {
    let layer = |name: &'static str, steps: &[&'static str]| {
        Layer::new(name, steps, |r| {
            let (x, y) = (r.image([1, 128, 128, 128]), r.tape.transient([1, 256, 256, 3]));
            let (weight, bias) = (r.weight([3, 4, 4, 128]), r.weight([1, 1, 1, 3]));
            upsample_conv(&mut r.tape, x, weight, bias, y);
            r.differentiate(y, &[x, weight, bias]);
        })
    };
    let backward = ["upsample_shuffle_grad", "bias_grad", "conv_dgrad", "conv_wgrad", "upsample_fold_grad"];
    vec![
        layer("G.final forward (128x128x128 -> 256x256x3)", &["upsample_fold", "conv_fprop", "upsample_shuffle"]),
        layer("G.final backward (128x128x128 -> 256x256x3)", &backward),
        layer("G.final fold", &["upsample_fold"]),
        layer("G.final fold gradient", &["upsample_fold_grad"]),
        layer("G.final shuffle", &["upsample_shuffle"]),
        layer("G.final shuffle gradient", &["upsample_shuffle_grad"]),
    ]
}
