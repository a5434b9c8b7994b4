//! Every op at the shapes that it has in a step of the recipes in full size: 256x256, 64 channels, batch 1. The discriminator judges two
//! images, the fake and the real one; its input gradients are those of the generator's pass, of the fake alone.
//!
//! The benches `ops` and `cuda` run them on the CPU and on a GPU.
//!
//! Here a step follows itself, so it finds its weights in a cache that holds them; in training they come from memory.
//!
//! Throughput of a convolution is in floating-point operations (criterion calls them elements), a multiplication and an addition
//! counted as two; that of Adam in bytes read and written; that of all others in elements of their output.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use pixtape::engine::access::{Control, Destination};
use pixtape::engine::device::{Device, DeviceOptions, Place};
use pixtape::engine::ops::adam::{AdamOptions, adam};
use pixtape::engine::ops::conv::{BiasGrad, Dgrad, Fprop, Geometry, Wgrad};
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::loss::{Criterion as Distance, Loss};
use pixtape::engine::ops::norm_act::{Activation, Affine, Dropout, NormAct, norm_act};
use pixtape::engine::ops::squash::{sigmoid, tanh};
use pixtape::engine::ops::upsample::upsample_conv;
use pixtape::engine::tape::{Root, Tape};
use pixtape::engine::tensor::{Shape, Tensor};

use crate::common;

/// Benches every op at `place`. Names begin with `prefix`, so that criterion does not compare one place with another.
pub fn all(criterion: &mut Criterion, place: Place, prefix: &'static str) {
    let benches = &mut Benches { criterion, place, prefix };
    convolutions(benches);
    norms(benches);
    output_layer(benches);
    losses(benches);
    copies(benches);
    updates(benches);
}

struct Benches<'a> {
    criterion: &'a mut Criterion,
    place: Place,
    prefix: &'static str,
}

/// Parameters of the generator of the full recipe.
const GENERATOR: usize = 54_404_099;

/// A program of a few steps over given tensors.
#[derive(Default)]
struct Recording {
    tape: Tape,
    given: Vec<(Tensor, [f32; 2])>,
}

impl Recording {
    /// A tensor with values from `low` to `high`.
    fn given(&mut self, shape: Shape, range: [f32; 2]) -> Tensor {
        let tensor = self.tape.persistent(shape);
        self.given.push((tensor, range));
        tensor
    }

    fn image(&mut self, shape: Shape) -> Tensor {
        self.given(shape, [-1.0, 1.0])
    }

    fn weight(&mut self, shape: Shape) -> Tensor {
        self.given(shape, [-0.1, 0.1])
    }

    /// Records the gradients of `of` with respect to `wrt` for a given upstream gradient.
    fn differentiate(&mut self, of: Tensor, wrt: &[Tensor]) {
        let gradient = self.image(of.shape);
        self.backward(&Upstream { of, gradient }, wrt);
    }

    fn backward(&mut self, root: &dyn Root, wrt: &[Tensor]) {
        self.tape.backward(&[root], wrt).expect("one op can be differentiated");
    }

    fn ready(self, place: Place) -> Device {
        let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
        let mut device =
            Device::new(self.tape.finish(), control, place, DeviceOptions { graph: false, rewrite: false })
                .expect("there is enough memory");
        for (tensor, range) in self.given {
            common::fill(&mut device, tensor, range);
        }
        device
    }
}

impl Benches<'_> {
    fn group(&mut self, name: &str) -> Group<'_> {
        let mut group = self.criterion.benchmark_group(format!("{}{name}", self.prefix));
        group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        Group { group, place: self.place }
    }
}

/// Benches of one kind.
struct Group<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    place: Place,
}

impl Group<'_> {
    /// Times the steps called `steps` of what `record` records; the others run beside them, as in training, and are not
    /// counted.
    fn bench(&mut self, name: &str, throughput: Throughput, steps: &[&str], record: impl Fn(&mut Recording)) {
        let mut device = None;
        self.group.throughput(throughput);
        self.group.bench_function(name, |bencher| {
            // Only a bench that was asked for is set up.
            let device = device.get_or_insert_with(|| {
                let mut recording = Recording::default();
                record(&mut recording);
                recording.ready(self.place)
            });
            bencher.iter_custom(|executions| (0..executions).map(|_| time_of(device, steps)).sum());
        });
    }

    fn finish(self) {
        self.group.finish();
    }
}

/// The time that the steps called `steps` take in one execution.
fn time_of(device: &mut Device, steps: &[&str]) -> Duration {
    let times = device.execute_timed().expect("the device works");
    let named = device.program().steps().iter().zip(times);
    named.filter(|(recorded, _)| steps.contains(&recorded.step().name())).map(|(_, time)| time).sum()
}

fn elements(shape: Shape) -> Throughput {
    Throughput::Elements(shape.iter().product::<usize>() as u64)
}

/// A layer of one of the networks. `small` and `big` are `[height, width, channels]`.
struct Layer {
    name: String,
    images: usize,
    small: [usize; 3],
    big: [usize; 3],
    geometry: Geometry,
}

impl Layer {
    fn small(&self) -> Shape {
        let [h, w, c] = self.small;
        [self.images, h, w, c]
    }

    fn big(&self) -> Shape {
        let [h, w, c] = self.big;
        [self.images, h, w, c]
    }

    fn weight(&self) -> Shape {
        let [rows, columns] = self.geometry.kernel;
        [self.small[2], rows, columns, self.big[2]]
    }

    fn operations(&self) -> Throughput {
        let pixels = self.images * self.small[0] * self.small[1];
        Throughput::Elements(2 * (pixels * self.weight().iter().product::<usize>()) as u64)
    }

    fn describe(&self, pass: &str) -> String {
        let shape = |[h, w, c]: [usize; 3]| format!("{h}x{w}x{c}");
        let images = if self.images == 1 { String::new() } else { format!(", {} images", self.images) };
        format!("{} {pass} ({} and {}{images})", self.name, shape(self.big), shape(self.small))
    }
}

/// The layers that halve the size, of the generator's way down and of the discriminator, and the discriminator's head.
/// `judged` is the number of images that the discriminator sees.
fn convolution_layers(judged: usize) -> Vec<Layer> {
    let halving = |name: String, images: usize, level: usize, small: usize, big: usize| {
        let side = 256 >> level;
        let [small, big] = [[side, side, small], [2 * side, 2 * side, big]];
        Layer { name, images, small, big, geometry: Geometry::HALVING }
    };
    let channels = |level: usize| if level == 0 { 3 } else { 64 << (level - 1).min(3) };
    let down = (1..=8).map(|i| halving(format!("down{i}"), 1, i, channels(i), channels(i - 1)));
    let judging = (1..=4).map(|i| {
        let inputs = if i == 1 { 6 } else { channels(i - 1) };
        halving(format!("discriminator{i}"), judged, i, channels(i), inputs)
    });
    let head = Layer {
        name: "discriminator head".into(),
        images: judged,
        small: [16, 16, 1],
        big: [16, 16, 512],
        geometry: Geometry { kernel: [4, 4], stride: 1, dilation: 1, pad: [2, 2] },
    };
    down.chain(judging).chain([head]).collect()
}

/// The transposed convolutions of the generator's way up, and the one that ends the discriminator of `block-ck`.
fn transposed_layers() -> Vec<Layer> {
    let up = |i: usize| {
        let level = 8 - i;
        let (side, channels) = (256 >> level, 64 << (level - 1).min(3));
        let below = 64 << level.min(3);
        let joined = if i == 1 { below } else { 2 * below };
        let [small, big] = [[side / 2, side / 2, joined], [side, side, channels]];
        Layer { name: format!("up{i}"), images: 1, small, big, geometry: Geometry::HALVING }
    };
    let map = Layer {
        name: "discriminator map".into(),
        images: 2,
        small: [16, 16, 512],
        big: [70, 70, 1],
        geometry: Geometry { kernel: [4, 4], stride: 4, dilation: 3, pad: [0, 0] },
    };
    (1..=7).map(up).chain([map]).collect()
}

fn convolutions(benches: &mut Benches<'_>) {
    let (convolutions, transposed) = (convolution_layers(2), transposed_layers());
    // Nobody asks for the gradient of the generator's input.
    let mut inner = convolution_layers(1);
    inner.retain(|layer| layer.name != "down1");

    let mut down = benches.group("conv_fprop");
    let forward = convolutions.iter().map(|layer| (layer, "fprop"));
    for (layer, pass) in forward.chain(transposed.iter().map(|layer| (layer, "dgrad"))) {
        down.bench(&layer.describe(pass), layer.operations(), &["conv_fprop"], |r| {
            let (big, weight) = (r.image(layer.big()), r.weight(layer.weight()));
            let small = Destination::overwrite(r.tape.transient(layer.small()));
            r.tape.push(Fprop { x: big, weight, bias: None, y: small, geometry: layer.geometry });
        });
    }
    down.finish();

    let mut up = benches.group("conv_dgrad");
    let forward = transposed.iter().map(|layer| (layer, "fprop"));
    for (layer, pass) in forward.chain(inner.iter().map(|layer| (layer, "dgrad"))) {
        up.bench(&layer.describe(pass), layer.operations(), &["conv_dgrad"], |r| {
            let (small, weight) = (r.image(layer.small()), r.weight(layer.weight()));
            let big = Destination::overwrite(r.tape.transient(layer.big()));
            r.tape.push(Dgrad { dy: small, weight, bias: None, dx: big, geometry: layer.geometry });
        });
    }
    up.finish();

    let mut wgrad = benches.group("conv_wgrad");
    for layer in convolutions.iter().chain(&transposed) {
        wgrad.bench(&layer.describe("wgrad"), layer.operations(), &["conv_wgrad"], |r| {
            let (small, big) = (r.image(layer.small()), r.image(layer.big()));
            let weight = Destination::overwrite(r.tape.persistent(layer.weight()));
            r.tape.push(Wgrad { x: big, dy: small, dw: weight, geometry: layer.geometry });
        });
    }
    wgrad.finish();

    let mut bias = benches.group("bias_grad");
    let shape = [2, 128, 128, 64];
    bias.bench("discriminator1 (2 images of 128x128x64)", elements(shape), &["bias_grad"], |r| {
        let gradient = r.image(shape);
        let bias = Destination::overwrite(r.tape.persistent([1, 1, 1, 64]));
        r.tape.push(BiasGrad { gradient, bias });
    });
}

fn norms(benches: &mut Benches<'_>) {
    use Activation::{LeakyRelu, Relu};
    let dropout = Some(Dropout { probability: 0.5, layer: 0, pass: 0, first_image: 0, by_step: false });
    let layers = [
        ("down1", [1, 128, 128, 64], NormAct { norm: false, activation: LeakyRelu, dropout: None }),
        ("down2", [1, 64, 64, 128], NormAct { norm: true, activation: LeakyRelu, dropout: None }),
        ("down2, affine", [1, 64, 64, 128], NormAct { norm: true, activation: LeakyRelu, dropout: None }),
        ("down3", [1, 32, 32, 256], NormAct { norm: true, activation: LeakyRelu, dropout: None }),
        ("down4, dropout", [1, 16, 16, 512], NormAct { norm: true, activation: LeakyRelu, dropout }),
        ("up4, dropout", [1, 16, 16, 512], NormAct { norm: true, activation: Relu, dropout }),
        ("up7", [1, 128, 128, 64], NormAct { norm: true, activation: Relu, dropout: None }),
        ("discriminator1", [2, 128, 128, 64], NormAct { norm: false, activation: LeakyRelu, dropout: None }),
        ("discriminator2", [2, 64, 64, 128], NormAct { norm: true, activation: LeakyRelu, dropout: None }),
    ];
    for step in ["norm_act", "norm_act_grad"] {
        let mut group = benches.group(step);
        for (name, shape, op) in layers {
            group.bench(name, elements(shape), &[step], |r| {
                let (x, y) = (r.image(shape), r.tape.transient(shape));
                let affine = name.ends_with("affine").then(|| {
                    let [gain, bias] = [(); 2].map(|()| r.weight([1, 1, 1, shape[3]]));
                    Affine { gain, bias }
                });
                norm_act(&mut r.tape, x, y, affine, op);
                r.differentiate(y, &[x]);
            });
        }
    }
}

/// The folded last layer, the tanh behind it, and the sigmoid that ends a discriminator.
fn output_layer(benches: &mut Benches<'_>) {
    let picture = [1, 256, 256, 3];
    let mut last = benches.group("upsample_conv");
    let forward = ["upsample_fold", "conv_fprop", "upsample_shuffle"];
    let backward = ["upsample_shuffle_grad", "bias_grad", "conv_dgrad", "conv_wgrad", "upsample_fold_grad"];
    for (pass, steps) in [("forward", &forward[..]), ("backward", &backward)] {
        last.bench(pass, elements(picture), steps, |r| {
            let (x, y) = (r.image([1, 128, 128, 128]), r.tape.transient(picture));
            let (weight, bias) = (r.weight([3, 4, 4, 128]), r.weight([1, 1, 1, 3]));
            upsample_conv(&mut r.tape, x, weight, bias, y);
            r.differentiate(y, &[x, weight, bias]);
        });
    }
    last.finish();

    type Squash = fn(&mut Tape, Tensor, Tensor);
    for (name, squash, shape) in [("tanh", tanh as Squash, picture), ("sigmoid", sigmoid, [2, 70, 70, 1])] {
        let mut output = benches.group(name);
        for (pass, step) in [("forward", name.to_owned()), ("backward", format!("{name}_grad"))] {
            output.bench(pass, elements(shape), &[&step], |r| {
                let (x, y) = (r.image(shape), r.tape.transient(shape));
                squash(&mut r.tape, x, y);
                r.differentiate(y, &[x]);
            });
        }
    }
}

fn losses(benches: &mut Benches<'_>) {
    let mut group = benches.group("loss and gradient");
    let mut bench_loss = |step: &str, shape: Shape, distance: fn(&mut Recording, Shape) -> Distance| {
        group.bench(step, elements(shape), &[step], |r| {
            // Of a probability too.
            let of = r.given(shape, [0.0, 1.0]);
            let (value, criterion) = (r.tape.persistent([1; 4]), distance(r, shape));
            r.backward(&Loss { of, criterion, weight: 1.0, value }, &[of]);
        });
    };
    bench_loss("l1_loss", [1, 256, 256, 3], |r, shape| Distance::L1 { target: r.image(shape) });
    bench_loss("l2_loss", [1, 256, 256, 3], |r, shape| Distance::L2 { target: r.image(shape) });
    bench_loss("mse_loss", [1, 16, 16, 1], |_, _| Distance::Mse { target: 1.0 });
    bench_loss("bce_loss", [1, 70, 70, 1], |_, _| Distance::Bce { target: 1.0 });
    bench_loss("bce_logits_loss", [1, 30, 30, 1], |_, _| Distance::BceLogits { target: 1.0 });
}

fn copies(benches: &mut Benches<'_>) {
    let shape = [1, 256, 256, 3];
    benches.group("copy").bench("picture into the discriminator's input", elements(shape), &["copy"], |r| {
        let (from, seen) = (r.image(shape), r.tape.persistent([2, 256, 256, 6]));
        copy(&mut r.tape, from, seen.batch_slice(1..2).channel_slice(0..3));
    });
}

fn updates(benches: &mut Benches<'_>) {
    // Parameter, gradient and both moments are read, all but the gradient written.
    let bytes = Throughput::Bytes(7 * size_of::<f32>() as u64 * GENERATOR as u64);
    benches.group("adam").bench("generator", bytes, &["adam"], |r| {
        // Nothing is negative: the second moment cannot be.
        let [parameters, gradients, first, second] = [(); 4].map(|()| r.given([1, 1, 1, GENERATOR], [0.0, 0.1]));
        let options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
        adam(&mut r.tape, parameters, gradients, [first, second], options);
    });
}
