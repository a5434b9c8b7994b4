//! Both networks, whole: output, input gradient and every parameter gradient against PyTorch's, from equal state.

use pixtape::nn::{Parameters, PatchGan, Spec, UNet};
use pixtape::ops::copy::{Upstream, copy};
use pixtape::program::Control;
use pixtape::tape::Tape;
use pixtape::tensor::{Shape, Tensor};

use crate::support::compare::{Tolerance, assert_close, assert_same_bits, largest};
use crate::support::fixture::Fixture;
use crate::support::machine::{Engine, Machine, arena, checked};
use crate::support::values::{from_nchw, image_values, parameter_values};

/// Neither network drops out here, so nothing depends on it.
const CONTROL: Control = Control { seed: 0, step: 0, learning_rate: 0.0 };

const PARAMETER_SCALE: f64 = 1.0 / 16.0;

#[derive(Clone, Copy)]
enum Network {
    Generator(UNet),
    Discriminator(PatchGan),
}

impl Network {
    /// As the fixture names them: the prefix of results and that of parameters.
    fn prefixes(self) -> (&'static str, &'static str) {
        match self {
            Network::Generator(_) => ("g", "generator"),
            Network::Discriminator(_) => ("d", "discriminator"),
        }
    }

    fn specs(self) -> Vec<Spec> {
        match self {
            Network::Generator(unet) => unet.specs(),
            Network::Discriminator(patchgan) => patchgan.specs(),
        }
    }

    fn forward(self, tape: &mut Tape, parameters: &Parameters, x: Tensor) -> Tensor {
        match self {
            Network::Generator(unet) => {
                let [n, h, w, _] = x.shape;
                let out = tape.transient([n, h, w, unet.output_channels]);
                unet.forward(tape, parameters, x, out, 0);
                out
            }
            Network::Discriminator(patchgan) => patchgan.forward(tape, parameters, x),
        }
    }
}

/// A network with its gradients, and where the host meets it.
struct Recorded {
    tape: Tape,
    parameters: Parameters,
    x: Tensor,
    dy: Tensor,
    y: Tensor,
    dx: Tensor,
}

fn record(network: Network, shape: Shape) -> Recorded {
    let mut tape = Tape::new();
    let parameters = Parameters::new(&mut tape, network.specs());
    let x = tape.persistent(shape);
    let out = network.forward(&mut tape, &parameters, x);
    let dy = tape.persistent(out.shape);
    let root = Upstream { of: out, gradient: dy };
    let gradients = tape.backward(&[&root], &[x, parameters.values]).expect("a network can be differentiated");
    let (y, dx) = (tape.persistent(out.shape), tape.persistent(shape));
    copy(&mut tape, out, y);
    copy(&mut tape, gradients[0], dx);
    Recorded { tape, parameters, x, dy, y, dx }
}

/// The results by name as in the fixture, in this project's layout.
fn run(network: Network, shape: Shape, engine: Engine, how: How) -> Vec<(String, Vec<f64>)> {
    let Recorded { tape, parameters, x, dy, y, dx } = record(network, shape);
    let (prefix, owner) = network.prefixes();
    let mut machine: Box<dyn Machine> = match how {
        How::Checked(_) => checked(engine, tape.finish(), CONTROL),
        How::Arena | How::Shuffled(_) => arena(engine, tape.finish(), CONTROL),
    };
    machine.write(x, &image_values(&format!("{prefix}.x"), shape, 1.0));
    machine.write(dy, &image_values(&format!("{prefix}.dy"), dy.shape, 1.0));
    for (index, spec) in parameters.specs.iter().enumerate() {
        let values = parameter_values(&format!("{owner}.{}", spec.name), spec, PARAMETER_SCALE);
        machine.write(parameters.part(parameters.values, index), &values);
        // What a backward pass adds to instead of overwriting stays NaN. Only the biases that a norm cancels are not written.
        if !(spec.is_bias && CANCELLED_BIASES.contains(&spec.name.as_str())) {
            machine.fill(parameters.part(parameters.gradients, index), f64::NAN);
        }
    }
    match how {
        How::Arena => machine.execute(),
        How::Checked(seed) => machine.execute_checked(seed),
        How::Shuffled(seed) => machine.execute_shuffled(seed),
    }
    let mut results = vec![(format!("{prefix}.y"), machine.read(y)), (format!("{prefix}.dx"), machine.read(dx))];
    for (index, spec) in parameters.specs.iter().enumerate() {
        let gradient = machine.read(parameters.part(parameters.gradients, index));
        results.push((format!("{prefix}.grad.{}", spec.name), gradient));
    }
    results
}

/// The discriminator's biases in front of a norm: detached, so that their gradient stays zero.
const CANCELLED_BIASES: [&str; 3] = ["model.2.bias", "model.5.bias", "model.8.bias"];

#[derive(Clone, Copy, Debug)]
enum How {
    Arena,
    Checked(u64),
    Shuffled(u64),
}

/// The networks of the fixture, with their input's shape.
fn networks(fixture: &Fixture) -> [(Network, Shape); 2] {
    let about = |key: &str| fixture.about[key].as_u64().expect("a size") as usize;
    let (batch, size) = (about("batch"), about("size"));
    let (width, depth) = (about("ngf"), about("depth"));
    let unet = UNet { input_channels: 3, output_channels: 3, width, depth, dropout: 0.0 };
    let patchgan = PatchGan { input_channels: 6, width: about("ndf") };
    [(Network::Generator(unet), [batch, size, size, 3]), (Network::Discriminator(patchgan), [batch, size, size, 6])]
}

fn fixture() -> Fixture {
    Fixture::new(include_bytes!("../fixtures/networks.safetensors"))
}

#[test]
fn networks_match_pytorch() {
    let fixture = fixture();
    assert_eq!(fixture.about["parameter_scale"], PARAMETER_SCALE);
    let mut unused = fixture.names();
    for (network, shape) in networks(&fixture) {
        for engine in [Engine::F32, Engine::F64] {
            for (name, values) in run(network, shape, engine, How::Arena) {
                let what = format!("{name} in {engine:?}");
                unused.retain(|unused| *unused != name);
                if let Some(noise) = fixture.about["f32_noise_of_zero_gradients"][&name].as_f64() {
                    assert!(values.iter().all(|&x| x == 0.0), "{what}: a norm cancels this bias");
                    let reference = largest(&fixture.tensor(&name).0);
                    assert!(reference <= noise, "{what}: PyTorch's own gradient is {reference}");
                    continue;
                }
                let expected = expected(&fixture, network, &name);
                let tolerance = match engine {
                    // The spread is the error of one correct f32 implementation; ours sums in other orders.
                    Engine::F32 | Engine::Cuda => {
                        Tolerance { of_each: 0.0, of_largest: 3.0 * fixture.f32_spread(&name) }
                    }
                    Engine::F64 => Tolerance::STORED_F32,
                };
                assert_close(&what, &values, &expected, tolerance);
            }
        }
    }
    assert!(unused.is_empty(), "results that were not compared: {unused:?}");
}

/// PyTorch's result in this project's layout.
fn expected(fixture: &Fixture, network: Network, name: &str) -> Vec<f64> {
    let (values, shape) = fixture.tensor(name);
    if let Some((_, parameter)) = name.split_once(".grad.") {
        let spec = network.specs().into_iter().find(|spec| spec.name == parameter);
        let spec = spec.unwrap_or_else(|| panic!("PyTorch's network has {parameter}, ours does not"));
        assert_eq!(shape, spec.torch_shape(), "{name}");
        return spec.from_torch(&values);
    }
    let [n, c, h, w] = shape[..] else { panic!("{name} has shape {shape:?}") };
    from_nchw(&values, [n, h, w, c])
}

/// No two buffers of the arena are in use at once, in whatever order the steps run: the bits are those of guarded buffers
/// that are NaN when they are not in use.
#[test]
fn orders_and_memory_change_no_bit() {
    let fixture = fixture();
    for (network, shape) in networks(&fixture) {
        let expected = run(network, shape, Engine::F32, How::Arena);
        for seed in 1..=4 {
            for how in [How::Checked(seed), How::Shuffled(seed)] {
                let results = run(network, shape, Engine::F32, how);
                for ((name, values), (_, expected)) in results.iter().zip(&expected) {
                    assert_same_bits(&format!("{name}, {how:?}"), values, expected);
                }
            }
        }
    }
}
