//! Gain and bias of a norm where not every gradient is wanted, which no row of the table asks for.

use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::norm_act::{Activation, Affine, NormAct, norm_act};
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::Shape;
use pixtape::gan::{ParameterSpec, Parameters};

use super::CPU_ENGINES;
use super::trial::CONTROL;
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, checked};
use crate::support::values::{image_values, values};

const SHAPE: Shape = [3, 4, 5, 37];
const NAMES: [&str; 3] = ["x", "gain", "bias"];

/// The gradients of those of [`NAMES`] that are `wanted`, one after the other.
fn gradients(engine: Engine, wanted: [bool; 3]) -> Vec<Vec<f64>> {
    let mut tape = Tape::new();
    let [x, y, dy] = [(); 3].map(|()| tape.persistent(SHAPE));
    let parameters =
        Parameters::new(&mut tape, ["gain", "bias"].map(|name| ParameterSpec::bias(name, SHAPE[3])).to_vec());
    let [gain, bias] = [0, 1].map(|index| parameters.part(parameters.values, index));
    let op = NormAct { norm: true, activation: Activation::LeakyRelu, dropout: None };
    norm_act(&mut tape, x, y, Some(Affine { gain, bias }), op);

    let wrt: Vec<_> = [x, gain, bias].into_iter().zip(wanted).filter_map(|(t, wanted)| wanted.then_some(t)).collect();
    let gradients = tape.backward(&[&Upstream { y, dy }], &wrt).expect("gradients");
    let seen: Vec<_> = gradients.iter().map(|gradient| tape.persistent(gradient.shape)).collect();
    gradients.iter().zip(&seen).for_each(|(&gradient, &seen)| copy(&mut tape, gradient, seen));

    let mut machine = checked(engine, tape.finish(), CONTROL);
    machine.write(x, &image_values("affine.x", SHAPE, 1.0));
    machine.write(dy, &image_values("affine.dy", SHAPE, 1.0));
    machine.write(parameters.values, &values("affine.parameters", 2 * SHAPE[3], 1.0));
    machine.write(parameters.gradients, &[7.0; 2 * SHAPE[3]]);
    machine.execute_checked(1);
    for index in (0..2).filter(|index| !wanted[index + 1]) {
        let left = machine.read(parameters.part(parameters.gradients, index));
        assert_eq!(left, [7.0; SHAPE[3]], "{}, which is not wanted", NAMES[index + 1]);
    }
    seen.into_iter().map(|tensor| machine.read(tensor)).collect()
}

#[test]
fn each_gradient_comes_alone_too() {
    for engine in CPU_ENGINES {
        let all = gradients(engine, [true; 3]);
        for wanted in (1..7).map(|bits| [0, 1, 2].map(|index| bits >> index & 1 == 1)) {
            let expected = all.iter().zip(NAMES).zip(wanted).filter_map(|(pair, wanted)| wanted.then_some(pair));
            for ((expected, name), actual) in expected.zip(gradients(engine, wanted)) {
                assert_same_bits(&format!("{name} on {engine:?}, with {wanted:?} wanted"), &actual, expected);
            }
        }
    }
}

#[test]
#[should_panic(expected = "gain and bias belong to a norm")]
fn without_a_norm_they_are_refused() {
    let mut tape = Tape::new();
    let [x, y] = [(); 2].map(|()| tape.persistent(SHAPE));
    let [gain, bias] = [(); 2].map(|()| tape.persistent([1, 1, 1, SHAPE[3]]));
    let op = NormAct { norm: false, activation: Activation::Relu, dropout: None };
    norm_act(&mut tape, x, y, Some(Affine { gain, bias }), op);
}
