//! Epilogues of convolutions: every kernel that has them, and the CPU, compute what steps of their own would.

use pixtape::engine::access::{Control, Destination};
use pixtape::engine::ops::conv::{Dgrad, Epilogue, Fprop, Geometry};
use pixtape::engine::ops::norm_act::Activation;
use pixtape::engine::tape::Tape;

use super::driver::on_device;
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, checked};
use crate::support::values::values;

const CONTROL: Control = Control { seed: 0, step: 0, learning_rate: 0.0 };

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    None,
    Activation,
    ActivationGrad { has_addend: bool },
}

/// The result of a convolution from or to `channels` channels, of 68 on the other side, with an epilogue; and the
/// values of y and of the addend. Results are slices of a wider buffer.
fn result(engine: Engine, is_fprop: bool, channels: usize, kind: Kind, activation: Activation) -> [Vec<f64>; 3] {
    let mut tape = Tape::new();
    let (large, small) = ([3, 18, 14, channels], [3, 9, 7, 68]);
    let (from, to) = if is_fprop { (large, small) } else { (small, large) };
    let input = tape.persistent(from);
    let weight = tape.persistent([68, 4, 4, channels]);
    let [n, h, w, c] = to;
    let out = tape.persistent([n, h, w, c + 8]).channel_slice(4..c + 4);
    // The result has three images, of which the first and the third belong to the same image of y.
    let y = tape.persistent([2, h, w, c + 4]).channel_slice(0..c);
    let addend = tape.persistent(to);
    let epilogue = match kind {
        Kind::None => Epilogue::None,
        Kind::Activation => Epilogue::Activation(activation),
        Kind::ActivationGrad { has_addend } => {
            Epilogue::ActivationGrad { activation, y, addend: has_addend.then_some(addend) }
        }
    };
    let (out_to, geometry) = (Destination::overwrite(out), Geometry::HALVING);
    if is_fprop {
        tape.push(Fprop { x: input, weight, bias: None, y: out_to, geometry, epilogue });
    } else {
        tape.push(Dgrad { dy: input, weight, bias: None, dx: out_to, geometry, epilogue });
    }
    let mut machine = checked(engine, tape.finish(), CONTROL);
    for (name, tensor) in [("input", input), ("weight", weight), ("y", y), ("addend", addend)] {
        machine.write(tensor, &values(name, tensor.count(), 1.0));
    }
    machine.execute_checked(1);
    [out, y, addend].map(|tensor| machine.read(tensor))
}

fn check(engine: Engine, is_fprop: bool, channels: usize) {
    for activation in [Activation::LeakyRelu, Activation::Relu] {
        let [plain, y, addend] = result(engine, is_fprop, channels, Kind::None, activation);
        let slope = activation.negative_slope();
        // The arithmetic of the engine: f32 has its own slope, and rounds each operation.
        let rounded = |value: f64| if engine.is_f64() { value } else { f64::from(value as f32) };
        let scaled = |value: f64, sign: f64| if sign > 0.0 { value } else { rounded(value * rounded(slope)) };
        let y_of = |index: usize| y[index % y.len()];
        for kind in [Kind::Activation, Kind::ActivationGrad { has_addend: false }] {
            let [found, ..] = result(engine, is_fprop, channels, kind, activation);
            let expected: Vec<f64> = (plain.iter().enumerate())
                .map(|(index, &value)| scaled(value, if kind == Kind::Activation { value } else { y_of(index) }))
                .collect();
            assert_same_bits(&format!("{engine:?}, {kind:?}, {activation:?}, {channels} channels"), &found, &expected);
        }
        // The CPU begins the sum of up to 576 products with the addend, which CUDA adds at the end: two orders of one
        // sum. 64 epsilon are four units in the last place of a partial sum between 16 and 32, the largest here.
        let kind = Kind::ActivationGrad { has_addend: true };
        let [found, ..] = result(engine, is_fprop, channels, kind, activation);
        for (index, (&found, &value)) in found.iter().zip(&plain).enumerate() {
            let expected = scaled(rounded(addend[index] + value), y_of(index));
            let tolerance = if engine.is_cpu() { 64.0 * engine.epsilon() } else { 0.0 };
            assert!((found - expected).abs() <= tolerance, "{engine:?}, element {index}: {found}, not {expected}");
        }
    }
}

#[test]
fn results_and_gradients_go_through_activations() {
    for engine in [Engine::F32, Engine::F64] {
        [(true, 36), (false, 36), (true, 3)].into_iter().for_each(|(is_fprop, c)| check(engine, is_fprop, c));
    }
    on_device(|| {
        check(Engine::CudaForced("plain"), true, 36);
        check(Engine::CudaForced("plain"), false, 36);
        check(Engine::CudaForced("patch"), true, 36);
        check(Engine::CudaForced("patch"), false, 36);
        check(Engine::CudaForced("few"), true, 3);
        check(Engine::CudaForced("map"), false, 1);
    });
}
