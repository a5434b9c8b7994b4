//! The published networks, whole: output, input gradient and every parameter gradient against PyTorch's, from equal
//! state.

use pixtape::engine::access::Control;
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::{Shape, Tensor};
use pixtape::gan::{Architecture, GeneratorKind, Norm, Parameters, PatchGan, ReceptiveField, Recipe, UNet};

use crate::support::compare::{Tolerance, assert_close, assert_same_bits, largest};
use crate::support::fixture::Fixture;
use crate::support::machine::{Engine, Execution};
use crate::support::values::{from_nchw, image_values};

/// Neither network drops out here, so nothing depends on it.
pub const CONTROL: Control = Control { seed: 0, step: 0, learning_rate: 0.0 };

/// A network's prefixes in a fixture: that of results and that of parameters.
fn prefixes(network: Architecture) -> (&'static str, &'static str) {
    match network {
        Architecture::UNet(_) => ("g", "generator"),
        Architecture::PatchGan(_) => ("d", "discriminator"),
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

fn record(network: Architecture, shape: Shape) -> Recorded {
    let mut tape = Tape::new();
    let parameters = Parameters::new(&mut tape, network.specs());
    let x = tape.persistent(shape);
    let out = network.forward(&mut tape, &parameters, x);
    let dy = tape.persistent(out.shape);
    let root = Upstream { y: out, dy };
    let gradients = tape.backward(&[&root], &[x, parameters.values]).expect("a network can be differentiated");
    let (y, dx) = (tape.persistent(out.shape), tape.persistent(shape));
    copy(&mut tape, out, y);
    copy(&mut tape, gradients[0], dx);
    Recorded { tape, parameters, x, dy, y, dx }
}

/// The results by name as in the fixture, in this project's layout.
fn run(
    fixture: &Fixture,
    network: Architecture,
    shape: Shape,
    engine: Engine,
    execution: Execution,
) -> Vec<(String, Vec<f64>)> {
    let Recorded { tape, parameters, x, dy, y, dx } = record(network, shape);
    let (prefix, owner) = prefixes(network);
    let parameter_scale = fixture.about["parameter_scale"].as_f64().expect("a scale");
    let mut machine = execution.machine(engine, tape.finish(), CONTROL);
    machine.write(x, &image_values(&format!("{prefix}.x"), shape, 1.0));
    machine.write(dy, &image_values(&format!("{prefix}.dy"), dy.shape, 1.0));
    machine.write_parameters(owner, &parameters, parameter_scale);
    for (index, spec) in parameters.specs.iter().enumerate() {
        // A gradient that a backward pass adds to instead of overwriting stays NaN. Only the biases that a norm cancels
        // are not written.
        if !is_cancelled(fixture, &format!("{prefix}.grad.{}", spec.name)) {
            machine.fill(parameters.part(parameters.gradients, index), f64::NAN);
        }
    }
    execution.run(&mut *machine);
    let mut results = vec![(format!("{prefix}.y"), machine.read(y)), (format!("{prefix}.dx"), machine.read(dx))];
    for (index, spec) in parameters.specs.iter().enumerate() {
        let gradient = machine.read(parameters.part(parameters.gradients, index));
        results.push((format!("{prefix}.grad.{}", spec.name), gradient));
    }
    results
}

/// True if a gradient is that of a bias in front of a norm: detached, so that it stays zero.
pub fn is_cancelled(fixture: &Fixture, name: &str) -> bool {
    fixture.about["f32_noise_of_zero_gradients"].get(name).is_some()
}

/// A recipe, or a variant of one, and the networks of it that PyTorch's results are there of.
struct Published {
    name: &'static str,
    bytes: &'static [u8],
    generator: UNet,
    discriminator: PatchGan,
}

/// A name, and the fixture that is called after it.
macro_rules! fixture {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../fixtures/networks-", $name, ".safetensors")).as_slice())
    };
}

fn all_published() -> Vec<Published> {
    let isola = UNet::published(Recipe::Isola);
    let affine = UNet { norm: Norm::InstanceAffine, ..isola };
    let all = [
        (fixture!("pytorch-gan"), UNet::published(Recipe::PytorchGan), ReceptiveField::R94),
        (fixture!("block-ck"), UNet::published(Recipe::BlockCk), ReceptiveField::Map70),
        (fixture!("isola"), isola, ReceptiveField::R70),
        (fixture!("isola-affine"), affine, ReceptiveField::R70),
        (fixture!("isola-encoder-decoder"), UNet { kind: GeneratorKind::EncoderDecoder, ..isola }, ReceptiveField::R70),
        (fixture!("isola-1"), isola, ReceptiveField::R1),
        (fixture!("isola-1-affine"), affine, ReceptiveField::R1),
        (fixture!("isola-16"), isola, ReceptiveField::R16),
        (fixture!("isola-34"), isola, ReceptiveField::R34),
        (fixture!("isola-142"), isola, ReceptiveField::R142),
        (fixture!("isola-286"), isola, ReceptiveField::R286),
    ];
    let published = all.map(|((name, bytes), generator, receptive_field)| {
        let sigmoid = generator.recipe == Recipe::BlockCk;
        let discriminator = PatchGan { receptive_field, in_channels: 6, ndf: 64, norm: generator.norm, sigmoid };
        Published { name, bytes, generator, discriminator }
    });
    published.into()
}

impl Published {
    fn fixture(&self) -> Fixture {
        Fixture::new(self.bytes)
    }

    /// The networks at the fixture's size, with their input's shape.
    fn networks(&self) -> Vec<(Architecture, Shape)> {
        let about = self.fixture().about;
        let number = |key: &str| about[key].as_u64().expect("a size") as usize;
        let (batch, size, channels) = (number("batch"), number("size"), number("width"));
        let (in_channels, out_channels) = (number("inputs"), number("outputs"));
        let depth = number("depth");
        let generator = UNet { in_channels, out_channels, ngf: channels, depth, dropout: 0.0, ..self.generator };
        let discriminator_channels = in_channels + out_channels;
        let discriminator = PatchGan { in_channels: discriminator_channels, ndf: channels, ..self.discriminator };
        let both = [
            ("g", Architecture::UNet(generator), [batch, size, size, in_channels]),
            ("d", Architecture::PatchGan(discriminator), [batch, size, size, discriminator_channels]),
        ];
        let there = about["networks"].as_str().expect("letters");
        both.into_iter()
            .filter(|(letter, ..)| there.contains(letter))
            .map(|(_, network, shape)| (network, shape))
            .collect()
    }
}

/// Compares all that an engine makes of the published networks with PyTorch's numbers.
pub fn check(engines: &[Engine]) {
    for published in all_published() {
        let fixture = published.fixture();
        let mut unused = fixture.names();
        for (network, shape) in published.networks() {
            for &engine in engines {
                for (name, values) in run(&fixture, network, shape, engine, Execution::Arena) {
                    let what = format!("{}: {name} in {engine:?}", published.name);
                    unused.retain(|unused| *unused != name);
                    compare(&what, &fixture, network, engine, &name, &values);
                }
            }
        }
        assert!(unused.is_empty(), "{}: results that were not compared: {unused:?}", published.name);
    }
}

fn compare(what: &str, fixture: &Fixture, network: Architecture, engine: Engine, name: &str, values: &[f64]) {
    if is_cancelled(fixture, name) {
        let noise = fixture.about["f32_noise_of_zero_gradients"][name].as_f64().expect("a number");
        assert!(values.iter().all(|&x| x == 0.0), "{what}: a norm cancels this bias");
        let reference = largest(&fixture.tensor(name).0);
        assert!(reference <= noise, "{what}: PyTorch's own gradient is {reference}");
        return;
    }
    let expected = expected(fixture, network, name);
    assert_close(what, values, &expected, tolerance(fixture, engine, name));
}

/// The tolerance of a result.
fn tolerance(fixture: &Fixture, engine: Engine, name: &str) -> Tolerance {
    if engine.is_f64() {
        return Tolerance::STORED_F32;
    }
    // The spread is the error of one correct f32 implementation; ours sums in other orders. Of a tensor of few elements
    // it may be small by luck: none is held to less than what is usual in its network.
    let spread = fixture.f32_spread(name).max(median_spread(fixture));
    Tolerance { relative: 0.0, relative_to_largest: 3.0 * spread }
}

fn median_spread(fixture: &Fixture) -> f64 {
    let spreads = fixture.about["f32_spread"].as_object().expect("spreads by name");
    let mut spreads: Vec<f64> = spreads.values().filter_map(|spread| spread.as_f64()).collect();
    spreads.sort_by(f64::total_cmp);
    spreads[spreads.len() / 2]
}

/// PyTorch's result in this project's layout.
fn expected(fixture: &Fixture, network: Architecture, name: &str) -> Vec<f64> {
    if let Some((_, parameter)) = name.split_once(".grad.") {
        let spec = network.specs().into_iter().find(|spec| spec.name == parameter);
        let spec = spec.unwrap_or_else(|| panic!("PyTorch's network has {parameter}, ours does not"));
        let (values, shape) = fixture.tensor(name);
        assert_eq!(shape, spec.torch_shape(), "{name}");
        return spec.from_torch(&values);
    }
    image(fixture, name)
}

/// PyTorch's image in this project's layout.
pub fn image(fixture: &Fixture, name: &str) -> Vec<f64> {
    let (values, shape) = fixture.tensor(name);
    let [n, c, h, w] = shape[..] else { panic!("{name} has shape {shape:?}") };
    from_nchw(&values, [n, h, w, c])
}

/// Runs the published networks from an arena and from guarded buffers of their own that are NaN when they are not in
/// use, in recorded order and in others. The bits are the same: no two buffers of the arena share memory while
/// both are in use.
pub fn check_orders(engine: Engine, seeds: std::ops::RangeInclusive<u64>) {
    for published in all_published() {
        let fixture = published.fixture();
        for (network, shape) in published.networks() {
            let expected = run(&fixture, network, shape, engine, Execution::Arena);
            for seed in seeds.clone() {
                for execution in [Execution::Checked(seed), Execution::Shuffled(seed)] {
                    let results = run(&fixture, network, shape, engine, execution);
                    for ((name, values), (_, expected)) in results.iter().zip(&expected) {
                        assert_same_bits(&format!("{}: {name}, {execution:?}", published.name), values, expected);
                    }
                }
            }
        }
    }
}
