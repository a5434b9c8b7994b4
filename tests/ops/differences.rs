//! Gradients against central differences, in f64: the one check that trusts nothing but the forward pass.

use super::kinds::{Case, Output};
use super::trial::{Layout, Results, Trial};
use crate::support::compare::largest;
use crate::support::machine::{Engine, Execution};
use crate::support::values::image_values;

/// Elements of each input that are moved, spread evenly over it.
const SAMPLES: usize = 40;

/// The step by which an input is moved each way. A central difference errs by about `STEP^2` times the third derivative
/// and by `1e-16 / STEP` times the value.
const STEP: f64 = 1e-5;

/// Allowed error, relative to the input's largest gradient (or to 1, for gradients that are all small). Values up to
/// 100 cost 1e-9 by rounding, third derivatives up to 100 (the norms) 2e-9 by truncation.
const TOLERANCE: f64 = 1e-8;

pub fn assert_gradients_are_slopes(case: &Case) {
    let mut trial = Trial::new(case, Layout::Plain, Engine::F64, Execution::Arena);
    let gradients = trial.run();
    for (name, input) in trial.inputs.clone() {
        let gradient = &gradients[&format!("d{name}")];
        let scale = largest(gradient).max(1.0);
        let values = trial.get(input);
        let stride = values.len().div_ceil(SAMPLES);
        for element in (0..values.len()).step_by(stride) {
            let mut results = |distance: f64| {
                let mut moved = values.clone();
                moved[element] += distance;
                trial.set(input, &moved);
                trial.run()
            };
            let slope = rise(case, &results(-STEP), &results(STEP)) / (2.0 * STEP);
            let difference = (slope - gradient[element]).abs();
            assert!(
                difference <= TOLERANCE * scale,
                "{}/d{name}: element {element} is {}, the slope {slope}: off by {difference:e}",
                case.name,
                gradient[element],
            );
        }
        trial.set(input, &values);
    }
}

/// The difference between two values of the number whose gradients the case computes. Where that number is a sum, the
/// differences of its terms are added up: two sums of thousands of terms would differ by their rounding as well.
fn rise(case: &Case, before: &Results, after: &Results) -> f64 {
    match case.op.output() {
        Output::Loss(weight, _) => weight * (after["value"][0] - before["value"][0]),
        Output::Image(shape, _) => {
            let dy = image_values(&format!("{}.dy", case.name), shape, 1.0);
            let ys = before["y"].iter().zip(&after["y"]);
            ys.zip(dy).map(|((before, after), dy)| (after - before) * dy).sum()
        }
    }
}
