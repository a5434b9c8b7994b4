//! A tensor read by several steps, whole and in overlapping slices: whatever order the gradients come in, they add up.

use std::ops::Range;

use pixtape::engine::access::Control;
use pixtape::engine::ops::activation::tanh;
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::tape::{Root, Tape};
use pixtape::engine::tensor::{Shape, Tensor};

use crate::support::compare::{Tolerance, assert_close, assert_same_bits};
use crate::support::machine::{Engine, arena, checked};
use crate::support::values::values;

const SHAPE: Shape = [3, 2, 2, 6];
const CONTROL: Control = Control { seed: 0, step: 0, learning_rate: 0.0 };

/// Images and channels that a consumer reads.
type Part = (Range<usize>, Range<usize>);

fn slice(tensor: Tensor, (images, channels): &Part) -> Tensor {
    tensor.batch_slice(images.clone()).channel_slice(channels.clone())
}

/// The gradient of x when `parts` of it are read in this order: once by the program, in all ways to run it, and once by
/// the formula.
fn check(parts: &[Part]) {
    let record = || {
        let mut tape = Tape::new();
        let given = tape.persistent(SHAPE);
        let x = tape.transient(SHAPE);
        copy(&mut tape, given, x);
        let consumers: Vec<(Tensor, Tensor)> = parts
            .iter()
            .map(|part| {
                let from = slice(x, part);
                let (y, dy) = (tape.transient(from.shape), tape.persistent(from.shape));
                tanh(&mut tape, from, y);
                (y, dy)
            })
            .collect();
        let roots: Vec<Upstream> = consumers.iter().map(|&(y, dy)| Upstream { y, dy }).collect();
        let roots: Vec<&dyn Root> = roots.iter().map(|root| root as &dyn Root).collect();
        let gradients = tape.backward(&roots, &[given, x]).expect("every part depends on x");
        let [of_given, of_x] = [tape.persistent(SHAPE), tape.persistent(SHAPE)];
        copy(&mut tape, gradients[0], of_given);
        copy(&mut tape, gradients[1], of_x);
        (tape.finish(), given, consumers, of_given, of_x)
    };
    let x = values("consumers.x", SHAPE.iter().product(), 1.0);
    let dy = |i: usize, count: usize| values(&format!("consumers.dy{i}"), count, 1.0);

    let mut expected = vec![0.0; x.len()];
    let [_, h, w, c] = SHAPE;
    for (i, (images, channels)) in parts.iter().enumerate() {
        let count = images.len() * h * w * channels.len();
        for (index, dy) in dy(i, count).iter().enumerate() {
            let (pixel, channel) = (index / channels.len(), index % channels.len());
            let element = (images.start * h * w + pixel) * c + channels.start + channel;
            expected[element] += dy * (1.0 - x[element].tanh().powi(2));
        }
    }
    for seed in 0..4 {
        let (program, given, consumers, of_given, of_x) = record();
        let start = if seed == 0 { arena } else { checked };
        let mut machine = start(Engine::F64, program, CONTROL);
        machine.write(given, &x);
        for (i, (_, dy_of)) in consumers.iter().enumerate() {
            machine.write(*dy_of, &dy(i, dy_of.count()));
        }
        machine.fill(of_given, f64::NAN);
        machine.fill(of_x, f64::NAN);
        if seed == 0 {
            machine.execute()
        } else {
            machine.execute_checked(seed)
        }
        // Sums of up to four numbers of at most 1.
        let tolerance = Tolerance { relative: 0.0, relative_to_largest: 8.0 * f64::EPSILON };
        assert_close(&format!("{parts:?}"), &machine.read(of_given), &expected, tolerance);
        assert_same_bits(&format!("{parts:?}, of x"), &machine.read(of_x), &machine.read(of_given));
    }
}

#[test]
fn whole_and_slice_in_either_order() {
    let whole = (0..3, 0..6);
    for slice in [(0..3, 3..6), (1..2, 0..6), (1..2, 2..4), (2..3, 5..6)] {
        check(&[whole.clone(), slice.clone()]);
        check(&[slice.clone(), whole.clone()]);
        check(&[slice.clone(), whole.clone(), slice]);
    }
}

#[test]
fn slices_that_overlap_in_part() {
    check(&[(0..3, 0..4), (0..3, 2..6)]);
    check(&[(0..2, 0..6), (1..3, 0..6)]);
    check(&[(0..2, 1..4), (1..3, 3..6), (0..3, 2..5), (2..3, 0..6)]);
    check(&[(0..3, 0..6), (0..3, 0..6), (0..3, 0..6)]);
}

/// The gradient is zero where no consumer reads.
#[test]
fn slices_that_leave_a_gap() {
    check(&[(0..3, 0..2), (0..3, 4..6)]);
    check(&[(0..1, 0..6), (2..3, 0..6)]);
    check(&[(1..2, 2..3)]);
    check(&[(0..1, 0..1), (2..3, 5..6)]);
}
