//! NaN in the input shows in the value of every loss: a run stops at a loss that is not finite.

use pixtape::engine::ops::loss::{Criterion, Loss};
use pixtape::engine::tape::{Root, Tape};

use super::trial::CONTROL;
use crate::support::machine::{Engine, arena};
use crate::support::values::values;

/// Elements of a picture of 13x13.
const SIDE: usize = 13;
const COUNT: usize = SIDE * SIDE;

pub fn nan_shows_in_every_loss(engine: Engine) {
    for bad in [f64::NAN, -f64::NAN] {
        for number in 0..9 {
            let mut tape = Tape::new();
            let [x, target] = [(); 2].map(|()| tape.persistent([1, SIDE, SIDE, 1]));
            let value = tape.persistent([1; 4]);
            let criterion = match number {
                0 => Criterion::L1 { target },
                1 => Criterion::L2 { target },
                2..4 => Criterion::Mse { target: f64::from(number % 2) },
                4..6 => Criterion::Bce { target: f64::from(number % 2) },
                6..8 => Criterion::BceLogits { target: f64::from(number % 2) },
                _ => Criterion::Ssim { target },
            };
            let root: &dyn Root = &Loss { x, criterion, weight: 1.0, value };
            tape.backward(&[root], &[x]).expect("a gradient");
            let mut machine = arena(engine, tape.finish(), CONTROL);
            let mut numbers: Vec<f64> = values("nan.x", COUNT, 1.0).iter().map(|x| x.abs().min(1.0)).collect();
            machine.write(target, &numbers);
            machine.write(x, &numbers);
            machine.execute();
            assert!(machine.read(value)[0].is_finite(), "{criterion:?} on {engine:?}");
            numbers[COUNT / 2] = bad;
            machine.write(x, &numbers);
            machine.execute();
            assert!(machine.read(value)[0].is_nan(), "{criterion:?} of {bad} on {engine:?}");
        }
    }
}
