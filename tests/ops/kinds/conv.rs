//! Convolution and transposed convolution. `out` is the number of output channels and `pad` = [top, left, bottom,
//! right]; of a transposed convolution `pad` is what is cut off of each side of the output.

use pixtape::engine::access::Destination;
use pixtape::engine::ops::conv::{BiasGrad, Dgrad, Epilogue, Fprop, Geometry, Wgrad, conv, conv_transpose};
use pixtape::engine::tensor::Shape;
use pixtape::gan::{ParameterSpec, Role};
use serde::Deserialize;

use super::{Kind, Layer, Op, Output, cases, describe};

pub const KIND: Kind = Kind { name: "", pytorch: PYTORCH, cases: || cases::<Row>(CASES), layers };

const PYTORCH: &str = r#"
top, left, bottom, right = pad
w = parameter("w", (c, out, *kernel) if transposed else (out, c, *kernel))
b = parameter("b", (out,)) if bias else None
if transposed:
    y = F.conv_transpose2d(x, w, b, stride=stride, padding=top, dilation=dilation)
else:
    y = F.conv2d(F.pad(x, (left, right, top, bottom)), w, b, stride=stride, dilation=dilation)
"#;

const CASES: &str = r#"
name                                      x            out  kernel  stride  dilation  pad        bias   transposed

# The U-Net's and the discriminator's convolution: 4x4, stride 2, pad 1.
conv_k4s2_6x10                            [1,6,10,3]   6    [4,4]   2       1         [1,1,1,1]  true   false
conv_k4s2_5x7_batch3                      [3,5,7,3]    3    [4,4]   2       1         [1,1,1,1]  false  false
conv_k4s2_2x2_to_1x1                      [3,2,2,6]    3    [4,4]   2       1         [1,1,1,1]  false  false
conv_k4s2_2x35                            [1,2,35,1]   3    [4,4]   2       1         [1,1,1,1]  true   false
conv_k4s2_1_to_64                         [1,4,4,1]    64   [4,4]   2       1         [1,1,1,1]  false  false
conv_k4s2_64_to_3                         [1,2,4,64]   3    [4,4]   2       1         [1,1,1,1]  true   false

# The discriminator's head: zero-pad one left and one top, then 4x4, stride 1, pad 1.
conv_head_4x5                             [3,4,5,6]    1    [4,4]   1       1         [2,2,1,1]  false  false
conv_head_2x2_from_64                     [1,2,2,64]   1    [4,4]   1       1         [2,2,1,1]  false  false

# Other kernels, strides and paddings.
conv_k4s1_5x6                             [1,5,6,3]    3    [4,4]   1       1         [1,1,1,1]  true   false
conv_k3s1_5x7                             [1,5,7,6]    3    [3,3]   1       1         [1,1,1,1]  true   false
conv_k3s1_1x1_map_batch3                  [3,1,1,3]    6    [3,3]   1       1         [1,1,1,1]  false  false
conv_k3s1_unpadded                        [1,4,3,3]    3    [3,3]   1       1         [0,0,0,0]  false  false
conv_k3s2_lopsided_pad                    [3,6,5,1]    3    [3,3]   2       1         [1,0,0,1]  true   false
conv_k1s1_5x3_batch3                      [3,5,3,6]    1    [1,1]   1       1         [0,0,0,0]  true   false
conv_k1s1_64_to_64                        [1,2,2,64]   64   [1,1]   1       1         [0,0,0,0]  false  false
conv_k7x5_s3                              [1,11,9,3]   2    [7,5]   3       1         [3,1,2,4]  true   false
conv_transpose_1x1                        [1,1,1,6]    3    [4,4]   2       1         [1,1,1,1]  false  true
conv_transpose_2x2_batch3                 [3,2,2,3]    6    [4,4]   2       1         [1,1,1,1]  true   true
conv_transpose_3x5                        [1,3,5,6]    3    [4,4]   2       1         [1,1,1,1]  false  true
conv_transpose_5x3_one_channel            [3,5,3,1]    1    [4,4]   2       1         [1,1,1,1]  true   true
conv_transpose_2x17                       [1,2,17,1]   3    [4,4]   2       1         [1,1,1,1]  false  true
conv_transpose_64_to_3                    [1,1,2,64]   3    [4,4]   2       1         [1,1,1,1]  false  true
conv_transpose_3_to_64                    [1,2,1,3]    64   [4,4]   2       1         [1,1,1,1]  false  true

# Beyond what one task, tile or block of the CPU kernels holds: more than 64 output pixels an image, more than 256
# pixels under a bias, two channel blocks of which one is partial, more than 512 pixels of a loss.
conv_k4s2_18x22_batch3                    [3,18,22,3]  5    [4,4]   2       1         [1,1,1,1]  true   false
conv_transpose_9x10_to_18x20              [1,9,10,4]   3    [4,4]   2       1         [1,1,1,1]  true   true

# Beyond what one block or run of the CUDA kernels holds, and never a multiple of it: blocks are 256 threads in a row,
# or 32 channels by 16 rows of pixels; sums are cut after 128 channels, after 1024 pixels and after 2048 elements of a
# loss.
conv_k4s2_131_to_2                        [1,3,5,131]  2    [4,4]   2       1         [1,1,1,1]  true   false
conv_k1s1_3_to_133                        [2,2,3,3]    133  [1,1]   1       1         [0,0,0,0]  true   false
conv_k1s1_23x25_batch2                    [2,23,25,1]  2    [1,1]   1       1         [0,0,0,0]  true   false
conv_transpose_131_to_3_batch2            [2,1,3,131]  3    [4,4]   2       1         [1,1,1,1]  true   true
conv_transpose_2_to_35                    [1,2,3,2]    35   [4,4]   2       1         [1,1,1,1]  true   true

# Of other recipes: a transposed convolution with stride 4 and dilation 3, whose outputs mostly see one input, some
# none; the two of stride 2 meet taps 2 apart, whose stride and dilation have a common divisor.
conv_transpose_k4s4d3_16x16_to_70x70      [1,16,16,3]  1    [4,4]   4       3         [0,0,0,0]  true   true
conv_transpose_k4s4d3_3x5_from_37_batch2  [2,3,5,37]   1    [4,4]   4       3         [0,0,0,0]  true   true
conv_transpose_k4s4d3_3x3_from_132_batch2 [2,3,3,132]  1    [4,4]   4       3         [1,1,1,1]  true   true
conv_transpose_k3x4_s2d2_padded           [2,3,4,3]    5    [3,4]   2       2         [1,1,1,1]  false  true
conv_k3x2_s2d2_lopsided_pad               [2,9,8,3]    4    [3,2]   2       2         [2,1,1,0]  true   false
conv_k4s1d3_11x13                         [1,11,13,2]  3    [4,4]   1       3         [1,2,0,1]  true   false

# Beyond a tile, a chunk or a share of the CUDA kernels whose accesses are of 16 bytes, and never a multiple: tiles are
# 8x8 pixels by 64 channels, 8x16 pixels, or 16x16 of a picture; chunks are of 8, 16, 32 or 64 input channels; weight
# gradients of 16 by 32 channels, and of 17 shares or more in several runs.
conv_k4s2_18x2_from_12_to_68              [1,18,2,12]  68   [4,4]   2       1         [1,1,1,1]  true   false
conv_k4s2_2x18_from_20_to_8               [1,2,18,20]  8    [4,4]   2       1         [1,1,1,1]  false  false
conv_k4s2_3x4_from_20_to_8_batch2         [2,3,4,20]   8    [4,4]   2       1         [1,1,1,1]  true   false
conv_k4s2_2x2_from_136_to_68              [1,2,2,136]  68   [4,4]   2       1         [1,1,1,1]  true   false
conv_k4s1_10x4_from_12_to_8               [1,10,4,12]  8    [4,4]   1       1         [1,1,1,1]  false  false
conv_k4s2_18x4_from_6_to_68               [1,18,4,6]   68   [4,4]   2       1         [1,1,1,1]  true   false
conv_k4s2_2x272_from_3_to_8               [1,2,272,3]  8    [4,4]   2       1         [1,1,1,1]  true   false
conv_k4s2_10x12_from_1_to_8               [1,10,12,1]  8    [4,4]   2       1         [1,1,1,1]  false  false
conv_k4s2_10x12_from_1_to_68_batch2       [2,10,12,1]  68   [4,4]   2       1         [1,1,1,1]  true   false
conv_k4s2_10x12_from_2_to_8               [1,10,12,2]  8    [4,4]   2       1         [1,1,1,1]  false  false
conv_k4s2_10x12_from_4_to_8               [1,10,12,4]  8    [4,4]   2       1         [1,1,1,1]  false  false
conv_transpose_9x2_from_36_to_12          [1,9,2,36]   12   [4,4]   2       1         [1,1,1,1]  true   true
conv_transpose_1x2_from_8_to_68_batch2    [2,1,2,8]    68   [4,4]   2       1         [1,1,1,1]  true   true
conv_transpose_9x2_from_36_to_3           [1,9,2,36]   3    [4,4]   2       1         [1,1,1,1]  true   true
conv_transpose_2x9_from_36_to_6           [1,2,9,36]   6    [4,4]   2       1         [1,1,1,1]  false  true
conv_head_9x2_from_132                    [1,9,2,132]  1    [4,4]   1       1         [2,2,1,1]  true   false
conv_k3s1_9x2_from_8_to_12                [1,9,2,8]    12   [3,3]   1       1         [1,1,1,1]  true   false
conv_k3s1_1x17_from_8_to_12               [1,1,17,8]   12   [3,3]   1       1         [1,1,1,1]  true   false
conv_k3s1_17x1_from_132_to_4              [1,17,1,132] 4    [3,3]   1       1         [1,1,1,1]  false  false
conv_k3s1_20x2_from_8_to_4                [1,20,2,8]   4    [3,3]   1       1         [1,1,1,1]  false  false
conv_k3s1_5x6_from_8_to_8                 [2,5,6,8]    8    [3,3]   1       1         [1,1,1,1]  false  false
conv_k3s1_4x5_from_8_to_12_lopsided_pad   [1,4,5,8]    12   [3,3]   1       1         [2,0,0,2]  false  false
conv_k2x3s1_5x6_from_8_to_16              [1,5,6,8]    16   [2,3]   1       1         [1,1,0,1]  true   false

# One tile more for the even rows of dx than for the odd ones.
conv_k4s2_17x9_from_4_to_8_batch2         [2,17,9,4]   8    [4,4]   2       1         [1,1,1,1]  false  false

# Two rows and two columns of tiles.
conv_k4s2_18x20_from_4_to_8               [1,18,20,4]  8    [4,4]   2       1         [1,1,1,1]  false  false
conv_k3s1_9x17_from_4_to_4                [1,9,17,4]   4    [3,3]   1       1         [1,1,1,1]  false  false

# Tiles of the same kernels that the channels or the pixels of an image fill, with another tile behind them.
conv_k4s2_2x2_from_16_to_36               [1,2,2,16]   36   [4,4]   2       1         [1,1,1,1]  false  false
conv_k4s2_16x16_from_4_to_8_batch2        [2,16,16,4]  8    [4,4]   2       1         [1,1,1,1]  false  false
conv_k3s1_8x16_from_4_to_4_batch2         [2,8,16,4]   4    [3,3]   1       1         [1,1,1,1]  false  false

# Fewer channels or taps than the same kernels have, and a dilation of those that have one.
conv_transpose_k3s1_3x4_from_3_to_4       [1,3,4,3]    4    [3,3]   1       1         [1,1,1,1]  false  true
conv_k3x2s1_4x5_from_8_to_12              [1,4,5,8]    12   [3,2]   1       1         [1,0,1,1]  false  false
conv_k3x2s1d2_6x7_from_4_to_1_batch2      [2,6,7,4]    1    [3,2]   1       2         [1,2,2,1]  false  false
conv_transpose_k3x2s1d2_3x4_from_1_to_132 [1,3,4,1]    132  [3,2]   1       2         [1,1,1,1]  true   true

# The 70x70 discriminator's last convolutions, and those of one that looks at single pixels.
conv_k4s1_head_7x9_batch2_to_1            [2,7,9,6]    1    [4,4]   1       1         [1,1,1,1]  true   false
conv_k1s1_6x7_from_6_to_64                [1,6,7,6]    64   [1,1]   1       1         [0,0,0,0]  true   false
"#;

#[derive(Debug, Deserialize)]
struct Row {
    x: Shape,
    out: usize,
    kernel: [usize; 2],
    stride: usize,
    dilation: usize,
    pad: [usize; 4],
    bias: bool,
    transposed: bool,
}

impl Op for Row {
    fn x(&self) -> Shape {
        self.x
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let [rows, columns] = self.kernel;
        let [k, c] = if self.transposed { [self.x[3], self.out] } else { [self.out, self.x[3]] };
        let weight = ParameterSpec { name: "w".into(), shape: [k, rows, columns, c], role: Role::Weight };
        [weight].into_iter().chain(self.bias.then(|| ParameterSpec::bias("b", self.out))).collect()
    }

    fn output(&self) -> Output<'_> {
        let Row { x: [n, h, w, _], kernel, stride, dilation, pad: [top, left, bottom, right], .. } = *self;
        let side = |size: usize, pads: usize, kernel: usize| match self.transposed {
            true => (size - 1) * stride + dilation * (kernel - 1) + 1 - pads,
            false => (size + pads - dilation * (kernel - 1) - 1) / stride + 1,
        };
        let shape = [n, side(h, top + bottom, kernel[0]), side(w, left + right, kernel[1]), self.out];
        let geometry = Geometry { kernel, stride, dilation, pad: [top, left] };
        let record = if self.transposed { conv_transpose } else { conv };
        Output::Image(
            shape,
            Box::new(move |tape, x, parameters, y| {
                record(tape, x, parameters[0], parameters.get(1).copied(), y, geometry);
            }),
        )
    }
}

/// A convolution of one of the networks, or the one that is transposed: `[height, width, channels]` of its input and
/// output.
#[derive(Clone)]
struct Convolution {
    name: String,
    x: [usize; 3],
    y: [usize; 3],
    geometry: Geometry,
    transposed: bool,
    /// Images of the forward pass, of the input gradient and of the weight gradient, wherever there are some.
    images: [&'static [usize]; 3],
}

/// All convolutions of the recipes at 256x256 with 64 channels. The discriminator sees the fake and the real picture,
/// at once or one by one; its input gradients in the generator's pass are those of the fake alone.
fn convolutions() -> Vec<Convolution> {
    let channels = |level: usize| if level == 0 { 3 } else { 64 << (level - 1).min(3) };
    let generator: [&[usize]; 3] = [&[1], &[1], &[1]];
    let discriminator: [&[usize]; 3] = [&[1, 2], &[1, 2], &[2]];
    let mut all = Vec::new();
    let mut add = |name: String, x, y, geometry, transposed, images| {
        all.push(Convolution { name, x, y, geometry, transposed, images });
    };
    for level in 1..=8 {
        let (side, c) = (256 >> level, channels(level));
        let (x, y) = ([2 * side, 2 * side, channels(level - 1)], [side, side, c]);
        // The gradient of the generator's input is not needed.
        let images = if level == 1 { [&[1][..], &[], &[1]] } else { generator };
        add(format!("G.down{level}"), x, y, Geometry::HALVING, false, images);
    }
    for up in 1..=7 {
        let (level, side) = (8 - up, 256 >> (8 - up));
        let below = channels(level + 1);
        let (x, y) = ([side, side, channels(level)], [side / 2, side / 2, if up == 1 { below } else { 2 * below }]);
        add(format!("G.up{up}"), x, y, Geometry::HALVING, true, generator);
    }
    add("G.final of isola".into(), [256, 256, 3], [128, 128, 128], Geometry::HALVING, true, generator);
    let folded = Geometry { kernel: [3, 3], stride: 1, dilation: 1, pad: [1, 1] };
    add("G.final, folded".into(), [128, 128, 128], [128, 128, 12], folded, false, generator);
    for level in 1..=4 {
        let side = 256 >> level;
        let inputs = if level == 1 { 6 } else { channels(level - 1) };
        let (x, y) = ([2 * side, 2 * side, inputs], [side, side, channels(level)]);
        let images = if level == 1 { [discriminator[0], &[], discriminator[2]] } else { discriminator };
        add(format!("D.conv{level}"), x, y, Geometry::HALVING, false, images);
    }
    // Of the discriminator's input only the fake picture has a gradient, not its condition.
    add("D.conv1, picture".into(), [256, 256, 3], [128, 128, 64], Geometry::HALVING, false, [&[], &[1], &[]]);
    let stride_1 = |pad: usize| Geometry { kernel: [4, 4], stride: 1, dilation: 1, pad: [pad, pad] };
    add("D.conv4 of isola".into(), [32, 32, 256], [31, 31, 512], stride_1(1), false, discriminator);
    add("D.head".into(), [16, 16, 512], [16, 16, 1], stride_1(2), false, discriminator);
    add("D.head of isola".into(), [31, 31, 512], [30, 30, 1], stride_1(1), false, discriminator);
    let map = Geometry { kernel: [4, 4], stride: 4, dilation: 3, pad: [0, 0] };
    add("D.map of block-ck".into(), [70, 70, 1], [16, 16, 512], map, true, discriminator);
    all
}

fn layers() -> Vec<Layer> {
    let mut layers = Vec::new();
    for layer in convolutions() {
        let [from, to] = if layer.transposed { [layer.y, layer.x] } else { [layer.x, layer.y] };
        for (pass, images) in ["fprop", "dgrad", "wgrad"].into_iter().zip(layer.images) {
            for &n in images {
                let batched = |[h, w, c]: [usize; 3]| [n, h, w, c];
                let shapes = format!("{} -> {}", describe(batched(from)), describe([1, to[0], to[1], to[2]]));
                let name = format!("{} {pass} ({shapes})", layer.name);
                let (x, y, geometry) = (batched(layer.x), batched(layer.y), layer.geometry);
                let weight = [y[3], geometry.kernel[0], geometry.kernel[1], x[3]];
                // A transposed convolution's forward pass is the other's input gradient, and the other way round.
                layers.push(match (pass, layer.transposed) {
                    ("wgrad", _) => Layer::new(name, &["conv_wgrad"], move |r| {
                        let (x, dy) = (r.image(x), r.image(y));
                        let dw = Destination::overwrite(r.tape.persistent(weight));
                        r.tape.push(Wgrad { x, dy, dw, geometry });
                    }),
                    ("fprop", false) | ("dgrad", true) => Layer::new(name, &["conv_fprop"], move |r| {
                        let (x, weight) = (r.image(x), r.weight(weight));
                        let y = Destination::overwrite(r.tape.transient(y));
                        r.tape.push(Fprop { x, weight, bias: None, y, geometry, epilogue: Epilogue::None });
                    }),
                    _ => Layer::new(name, &["conv_dgrad"], move |r| {
                        let (dy, weight) = (r.image(y), r.weight(weight));
                        let dx = Destination::overwrite(r.tape.transient(x));
                        r.tape.push(Dgrad { dy, weight, bias: None, dx, geometry, epilogue: Epilogue::None });
                    }),
                });
            }
        }
    }
    let shape = [2, 128, 128, 64];
    layers.push(Layer::new(format!("D.conv1 bias gradient ({})", describe(shape)), &["bias_grad"], move |r| {
        let dy = r.image(shape);
        let dbias = Destination::overwrite(r.tape.persistent([1, 1, 1, 64]));
        r.tape.push(BiasGrad { dy, dbias });
    }));
    layers
}
