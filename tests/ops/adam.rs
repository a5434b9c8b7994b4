//! The rows of Adam: parameters after some updates, with gradients that the host writes.

use pixtape::engine::access::Control;
use pixtape::engine::ops::adam::{AdamOptions, adam, advance};
use pixtape::engine::tape::Tape;

use super::checks::{fixture, tolerance};
use super::kinds::adam::{Row, adam_rows};
use crate::support::compare::{assert_close, assert_same_bits};
use crate::support::digest;
use crate::support::machine::{Engine, Machine, arena, checked};
use crate::support::values::values;

/// Parameters after `row.steps` updates.
fn train(name: &str, row: Row, engine: Engine, check: bool) -> Vec<f64> {
    let mut tape = Tape::new();
    let (parameters, gradients) = tape.parameters(row.len);
    let moments = [tape.persistent(parameters.shape), tape.persistent(parameters.shape)];
    let options = AdamOptions { beta1: row.beta1, beta2: row.beta2, epsilon: row.eps };
    adam(&mut tape, parameters, gradients, moments, options);
    advance(&mut tape);
    let control = Control { seed: 0, step: 0, learning_rate: row.lr };
    let start = if check { checked } else { arena };
    let mut machine: Box<dyn Machine> = start(engine, tape.finish(), control);
    machine.write(parameters, &values(&format!("{name}.p"), row.len, 1.0));
    for step in 0..row.steps {
        machine.write(gradients, &values(&format!("{name}.g{step}"), row.len, 1.0));
        if check { machine.execute_checked(step as u64) } else { machine.execute() }
    }
    machine.read(parameters)
}

pub fn matches_pytorch(engine: Engine) {
    let fixture = fixture();
    for (case, row) in adam_rows() {
        let key = format!("{case}/p");
        let (expected, _) = fixture.tensor(&key);
        let what = format!("{key} on {engine:?}");
        let parameters = train(&case, row, engine, true);
        assert_close(&what, &parameters, &expected, tolerance(&fixture, &key, engine));
        assert_same_bits(&what, &train(&case, row, engine, false), &parameters);
        digest::note(&what, &parameters);
    }
}
