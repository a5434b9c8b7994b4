//! An input of which only some channels need a gradient: a convolution computes these alone, with a part of its weight.

use std::ops::Range;

use pixtape::engine::access::{Access, Control};
use pixtape::engine::ops::conv::{Geometry, conv};
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::Shape;
use pixtape::gan::{ParameterSpec, Parameters, Role};

use super::driver::on_device;
use crate::support::compare::{Tolerance, assert_close};
use crate::support::machine::{Engine, checked};
use crate::support::values::values;

const X: Shape = [2, 10, 18, 8];
const CONTROL: Control = Control { seed: 0, step: 0, learning_rate: 0.0 };

/// The gradient of the channels `needed` of x, of which the others are given, and the number of fills in its program.
fn gradient(engine: Engine, needed: Range<usize>, out: usize, geometry: Geometry) -> (Vec<f64>, usize) {
    let [n, height, width, _] = X;
    let mut tape = Tape::new();
    let weight = ParameterSpec { name: "w".into(), shape: [out, 4, 4, 8], role: Role::Weight };
    let parameters = Parameters::new(&mut tape, vec![ParameterSpec::bias("b", 4), weight]);
    let [inner, all] = [[n, height, width, needed.len()], X].map(|shape| tape.persistent(shape));
    let x = tape.transient(X);
    copy(&mut tape, all, x);
    copy(&mut tape, inner, x.channel_slice(needed.clone()));
    let side = |length: usize| length / geometry.stride;
    let y = tape.transient([n, side(height), side(width), out]);
    conv(&mut tape, x, parameters.part(parameters.values, 1), None, y, geometry);
    let dy = tape.persistent(y.shape);
    let gradient = tape.backward(&[&Upstream { y, dy }], &[inner]).expect("y depends on x")[0];
    let result = tape.persistent(gradient.shape);
    copy(&mut tape, gradient, result);
    let program = tape.finish();
    let written = |channels: usize| {
        let of_x = |access: &&Access| {
            access.writes() && access.tensor().is_some_and(|t| t.shape == [n, height, width, channels])
        };
        program
            .steps()
            .iter()
            .filter(|step| step.step().name() == "conv_dgrad" && step.accesses().iter().any(|a| of_x(&a)))
            .count()
    };
    let computed = written(needed.len());
    let mut machine = checked(engine, program, CONTROL);
    for (name, tensor) in [("w", parameters.values), ("all", all), ("inner", inner), ("dy", dy)] {
        machine.write(tensor, &values(name, tensor.count(), 1.0));
    }
    machine.execute_checked(1);
    (machine.read(result), computed)
}

/// Compares the gradients of slices of x with those of all of x.
fn check(engine: Engine) {
    let same = Geometry { kernel: [4, 4], stride: 1, dilation: 1, pad: [2, 2] };
    // The second's gradients of pixels are computed from the columns of the output, the third's are a head's.
    for (out, geometry) in [(40, Geometry::HALVING), (2, Geometry::HALVING), (1, same)] {
        let (whole, _) = gradient(engine, 0..8, out, geometry);
        for needed in [0..3, 3..8, 4..8, 7..8] {
            let expected: Vec<f64> =
                whole.chunks_exact(8).flat_map(|pixel| pixel[needed.clone()].iter().copied()).collect();
            let what = format!("channels {needed:?} of a convolution to {out}");
            let (found, computed) = gradient(engine, needed, out, geometry);
            assert_eq!(computed, 1, "{what}");
            // The same products, up to 160 of them in a sum, which a slice may add up in another order.
            let tolerance = Tolerance { relative: 0.0, relative_to_largest: 16.0 * engine.epsilon() };
            assert_close(&what, &found, &expected, tolerance);
        }
    }
}

#[test]
fn gradients_of_slices_are_slices_of_the_gradient() {
    check(Engine::F64);
    check(Engine::F32);
    on_device(|| [Engine::Cuda, Engine::CudaForced("plain")].into_iter().for_each(check));
}
