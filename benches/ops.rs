//! Every op at the shapes that it has in a step of the full recipe: 256x256, 64 channels, batch 1. The discriminator judges two
//! images, the fake and the real one; its input gradients are those of the generator's pass, of the fake alone.
//!
//! Here a step follows itself, so it finds its weights in a cache that holds them; in training they come from memory.
//!
//! Throughput of a convolution is in floating-point operations (criterion calls them elements), a multiplication and an addition
//! counted as two; that of Adam in bytes read and written; that of all others in elements of their output.

mod common;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use pixtape::device::cpu::Cpu;
use pixtape::ops::adam::{AdamOptions, adam};
use pixtape::ops::conv::{BiasGrad, Down, Geometry, Up, Wgrad};
use pixtape::ops::copy::{Upstream, copy};
use pixtape::ops::loss::{Criterion as Distance, Loss};
use pixtape::ops::norm_act::{Activation, Dropout, NormAct, norm_act};
use pixtape::ops::tanh::tanh;
use pixtape::ops::upsample::upsample_conv;
use pixtape::program::{Control, Destination};
use pixtape::tape::{Root, Tape};
use pixtape::tensor::{Shape, Tensor};

fn main() {
    common::run(|criterion| {
        convolutions(criterion);
        norms(criterion);
        output_layer(criterion);
        losses(criterion);
        copies(criterion);
        updates(criterion);
    });
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

    fn ready(self) -> Cpu<f32> {
        let control = Control { seed: 1, step: 0, learning_rate: 2e-4 };
        let mut cpu = Cpu::new(self.tape.finish(), control).expect("there is enough memory");
        for (tensor, range) in self.given {
            common::fill(&mut cpu, tensor, range);
        }
        cpu
    }
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group
}

/// Times the steps called `steps` of what `record` records; the others run beside them, as in training, and are not counted.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    throughput: Throughput,
    steps: &[&str],
    record: impl Fn(&mut Recording),
) {
    let mut cpu = None;
    group.throughput(throughput);
    group.bench_function(name, |bencher| {
        // Only a bench that was asked for is set up.
        let cpu = cpu.get_or_insert_with(|| {
            let mut recording = Recording::default();
            record(&mut recording);
            recording.ready()
        });
        bencher.iter_custom(|executions| (0..executions).map(|_| time_of(cpu, steps)).sum());
    });
}

/// The time that the steps called `steps` take in one execution.
fn time_of(cpu: &mut Cpu<f32>, steps: &[&str]) -> Duration {
    let (mut counted, mut last) = (Duration::ZERO, Instant::now());
    cpu.execute_observed(|_, name| {
        let now = Instant::now();
        if steps.contains(&name) {
            counted += now - last;
        }
        last = now;
    });
    counted
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
        geometry: Geometry { kernel: [4, 4], stride: 1, pad: [2, 2] },
    };
    down.chain(judging).chain([head]).collect()
}

/// The transposed convolutions of the generator's way up.
fn transposed_layers() -> Vec<Layer> {
    let up = |i: usize| {
        let level = 8 - i;
        let (side, channels) = (256 >> level, 64 << (level - 1).min(3));
        let below = 64 << level.min(3);
        let joined = if i == 1 { below } else { 2 * below };
        let [small, big] = [[side / 2, side / 2, joined], [side, side, channels]];
        Layer { name: format!("up{i}"), images: 1, small, big, geometry: Geometry::HALVING }
    };
    (1..=7).map(up).collect()
}

fn convolutions(criterion: &mut Criterion) {
    let (convolutions, transposed) = (convolution_layers(2), transposed_layers());
    // Nobody asks for the gradient of the generator's input.
    let mut inner = convolution_layers(1);
    inner.retain(|layer| layer.name != "down1");

    let mut down = group(criterion, "conv_down");
    let forward = convolutions.iter().map(|layer| (layer, "fprop"));
    for (layer, pass) in forward.chain(transposed.iter().map(|layer| (layer, "dgrad"))) {
        bench(&mut down, &layer.describe(pass), layer.operations(), &["conv_down"], |r| {
            let (big, weight) = (r.image(layer.big()), r.weight(layer.weight()));
            let small = Destination::overwrite(r.tape.transient(layer.small()));
            r.tape.push(Down { big, weight, bias: None, small, geometry: layer.geometry });
        });
    }
    down.finish();

    let mut up = group(criterion, "conv_up");
    let forward = transposed.iter().map(|layer| (layer, "fprop"));
    for (layer, pass) in forward.chain(inner.iter().map(|layer| (layer, "dgrad"))) {
        bench(&mut up, &layer.describe(pass), layer.operations(), &["conv_up"], |r| {
            let (small, weight) = (r.image(layer.small()), r.weight(layer.weight()));
            let big = Destination::overwrite(r.tape.transient(layer.big()));
            r.tape.push(Up { small, weight, bias: None, big, geometry: layer.geometry });
        });
    }
    up.finish();

    let mut wgrad = group(criterion, "conv_wgrad");
    for layer in convolutions.iter().chain(&transposed) {
        bench(&mut wgrad, &layer.describe("wgrad"), layer.operations(), &["conv_wgrad"], |r| {
            let (small, big) = (r.image(layer.small()), r.image(layer.big()));
            let weight = Destination::overwrite(r.tape.persistent(layer.weight()));
            r.tape.push(Wgrad { small, big, weight, geometry: layer.geometry });
        });
    }
    wgrad.finish();

    let mut bias = group(criterion, "bias_grad");
    let shape = [2, 128, 128, 64];
    bench(&mut bias, "discriminator1 (2 images of 128x128x64)", elements(shape), &["bias_grad"], |r| {
        let gradient = r.image(shape);
        let bias = Destination::overwrite(r.tape.persistent([1, 1, 1, 64]));
        r.tape.push(BiasGrad { gradient, bias });
    });
}

fn norms(criterion: &mut Criterion) {
    use Activation::{LeakyRelu, Relu};
    let dropout = Some(Dropout { probability: 0.5, layer: 0, pass: 0 });
    let layers = [
        ("down1", [1, 128, 128, 64], NormAct { norm: false, activation: LeakyRelu, dropout: None }),
        ("down2", [1, 64, 64, 128], NormAct { norm: true, activation: LeakyRelu, dropout: None }),
        ("down3", [1, 32, 32, 256], NormAct { norm: true, activation: LeakyRelu, dropout: None }),
        ("down4, dropout", [1, 16, 16, 512], NormAct { norm: true, activation: LeakyRelu, dropout }),
        ("up4, dropout", [1, 16, 16, 512], NormAct { norm: true, activation: Relu, dropout }),
        ("up7", [1, 128, 128, 64], NormAct { norm: true, activation: Relu, dropout: None }),
        ("discriminator1", [2, 128, 128, 64], NormAct { norm: false, activation: LeakyRelu, dropout: None }),
        ("discriminator2", [2, 64, 64, 128], NormAct { norm: true, activation: LeakyRelu, dropout: None }),
    ];
    for step in ["norm_act", "norm_act_grad"] {
        let mut group = group(criterion, step);
        for (name, shape, op) in layers {
            bench(&mut group, name, elements(shape), &[step], |r| {
                let (x, y) = (r.image(shape), r.tape.transient(shape));
                norm_act(&mut r.tape, x, y, op);
                r.differentiate(y, &[x]);
            });
        }
    }
}

/// The folded last layer and the tanh behind it.
fn output_layer(criterion: &mut Criterion) {
    let picture = [1, 256, 256, 3];
    let mut last = group(criterion, "upsample_conv");
    let forward = ["upsample_fold", "conv_down", "upsample_shuffle"];
    let backward = ["upsample_shuffle_grad", "bias_grad", "conv_up", "conv_wgrad", "upsample_fold_grad"];
    for (pass, steps) in [("forward", &forward[..]), ("backward", &backward)] {
        bench(&mut last, pass, elements(picture), steps, |r| {
            let (x, y) = (r.image([1, 128, 128, 128]), r.tape.transient(picture));
            let (weight, bias) = (r.weight([3, 4, 4, 128]), r.weight([1, 1, 1, 3]));
            upsample_conv(&mut r.tape, x, weight, bias, y);
            r.differentiate(y, &[x, weight, bias]);
        });
    }
    last.finish();

    let mut output = group(criterion, "tanh");
    for (pass, step) in [("forward", "tanh"), ("backward", "tanh_grad")] {
        bench(&mut output, pass, elements(picture), &[step], |r| {
            let (x, y) = (r.image(picture), r.tape.transient(picture));
            tanh(&mut r.tape, x, y);
            r.differentiate(y, &[x]);
        });
    }
}

fn losses(criterion: &mut Criterion) {
    let mut group = group(criterion, "loss and gradient");
    let mut bench_loss = |step: &str, shape: Shape, distance: fn(&mut Recording, Shape) -> Distance| {
        bench(&mut group, step, elements(shape), &[step], |r| {
            let (of, value, criterion) = (r.image(shape), r.tape.persistent([1; 4]), distance(r, shape));
            r.backward(&Loss { of, criterion, weight: 1.0, value }, &[of]);
        });
    };
    bench_loss("l1_loss", [1, 256, 256, 3], |r, shape| Distance::L1 { target: r.image(shape) });
    bench_loss("mse_loss", [1, 16, 16, 1], |_, _| Distance::Mse { target: 1.0 });
}

fn copies(criterion: &mut Criterion) {
    let shape = [1, 256, 256, 3];
    bench(&mut group(criterion, "copy"), "picture into the discriminator's input", elements(shape), &["copy"], |r| {
        let (from, seen) = (r.image(shape), r.tape.persistent([2, 256, 256, 6]));
        copy(&mut r.tape, from, seen.batch_slice(1..2).channel_slice(0..3));
    });
}

fn updates(criterion: &mut Criterion) {
    // Parameter, gradient and both moments are read, all but the gradient written.
    let bytes = Throughput::Bytes(7 * size_of::<f32>() as u64 * GENERATOR as u64);
    bench(&mut group(criterion, "adam"), "generator", bytes, &["adam"], |r| {
        // Nothing is negative: the second moment cannot be.
        let [parameters, gradients, first, second] = [(); 4].map(|()| r.given([1, 1, 1, GENERATOR], [0.0, 0.1]));
        let options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
        adam(&mut r.tape, parameters, gradients, [first, second], options);
    });
}
