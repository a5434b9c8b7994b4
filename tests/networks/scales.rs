//! Discriminators at several scales against PyTorch's: features and map of every scale, and the gradients of the input
//! and of every parameter, from equal state.

use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::pool::{avg_pool, pooled_side};
use pixtape::engine::tape::{Root, Tape};
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{Norm, Parameters, PatchGan, ReceptiveField};

use super::published::{self, CONTROL};
use crate::support::compare::{Tolerance, assert_close};
use crate::support::fixture::Fixture;
use crate::support::machine::{Engine, arena};
use crate::support::values::image_values;

const NAMES: [&str; 3] = ["discriminator", "discriminator2", "discriminator3"];

/// Compares what an engine makes of them with PyTorch's numbers.
pub fn check(engines: &[Engine]) {
    engines.iter().for_each(|&engine| compare(engine));
}

fn compare(engine: Engine) {
    let fixture = Fixture::new(include_bytes!("../fixtures/networks-isola-scales.safetensors"));
    let number = |key: &str| fixture.about[key].as_u64().expect("a size") as usize;
    let (batch, size, ndf) = (number("batch"), number("size"), number("width"));
    let in_channels = number("inputs") + number("outputs");
    let parameter_scale = fixture.about["parameter_scale"].as_f64().expect("a scale");
    let (receptive_field, norm) = (ReceptiveField::R34, Norm::Instance);
    let patchgan = PatchGan { receptive_field, in_channels, ndf, norm, sigmoid: false };

    let mut tape = Tape::new();
    let networks = NAMES.map(|name| (name, Parameters::new(&mut tape, patchgan.specs())));
    let x = tape.persistent([batch, size, size, in_channels]);
    let (mut input, mut outputs) = (x, Vec::new());
    for (scale, (_, parameters)) in networks.iter().enumerate() {
        if scale > 0 {
            let [n, h, w, c] = input.shape;
            let half = tape.transient([n, pooled_side(h), pooled_side(w), c]);
            avg_pool(&mut tape, input, half);
            input = half;
        }
        let output = patchgan.forward(&mut tape, parameters, input);
        let all = output.features.into_iter().chain([output.map]).enumerate();
        outputs.extend(all.map(|(index, y)| (format!("{scale}.{index}"), y, tape.persistent(y.shape))));
    }
    let roots: Vec<Upstream> = outputs.iter().map(|&(_, of, gradient)| Upstream { y: of, dy: gradient }).collect();
    let roots: Vec<&dyn Root> = roots.iter().map(|root| root as &dyn Root).collect();
    let wrt: Vec<Tensor> = [x].into_iter().chain(networks.iter().map(|(_, parameters)| parameters.values)).collect();
    let gradients = tape.backward(&roots, &wrt).expect("the networks can be differentiated");
    let mut kept = vec![("s.dx".to_owned(), gradients[0], tape.persistent(x.shape))];
    kept.extend(outputs.iter().map(|(name, y, _)| (format!("s.y{name}"), *y, tape.persistent(y.shape))));
    kept.iter().for_each(|&(_, from, to)| copy(&mut tape, from, to));

    let mut machine = arena(engine, tape.finish(), CONTROL);
    machine.write(x, &image_values("s.x", x.shape, 1.0));
    for (name, _, gradient) in &outputs {
        machine.write(*gradient, &image_values(&format!("s.dy{name}"), gradient.shape, 1.0));
    }
    for (owner, parameters) in &networks {
        machine.write_parameters(owner, parameters, parameter_scale);
    }
    machine.execute();

    // Every layer has an upstream gradient, so each gradient is a sum over many that cancel: the tensor that strays
    // farthest is chance, and none is held to less than three times the largest distance of PyTorch's f32.
    let spreads = fixture.about["f32_spread"].as_object().expect("spreads by name");
    let largest = spreads.values().filter_map(|spread| spread.as_f64()).fold(0.0, f64::max);
    let of_f32 = Tolerance { relative: 0.0, relative_to_largest: 3.0 * largest };
    let tolerance = if engine.is_f64() { Tolerance::STORED_F32 } else { of_f32 };
    let mut unused = fixture.names();
    for (name, _, to) in &kept {
        unused.retain(|unused| unused != name);
        let expected = published::image(&fixture, name);
        assert_close(&format!("{name} in {engine:?}"), &machine.read(*to), &expected, tolerance);
    }
    for (owner, parameters) in &networks {
        for (index, spec) in parameters.specs.iter().enumerate() {
            let name = format!("s.grad.{owner}.{}", spec.name);
            unused.retain(|unused| *unused != name);
            let values = machine.read(parameters.part(parameters.gradients, index));
            if published::is_cancelled(&fixture, &name) {
                assert!(values.iter().all(|&x| x == 0.0), "{name} in {engine:?}: a norm cancels this bias");
                continue;
            }
            let expected = spec.from_torch(&fixture.tensor(&name).0);
            assert_close(&format!("{name} in {engine:?}"), &values, &expected, tolerance);
        }
    }
    assert!(unused.is_empty(), "results that were not compared: {unused:?}");
}
