//! Rows of the op table between activations of bf16 on the CPU, against f64 on the numbers that bf16 can hold.

use half::bf16;
use pixtape::engine::kernel::cpu::Bf16Products;
use pixtape::engine::ops::cast::cast;
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::ops::loss::Loss;
use pixtape::engine::simd::InstructionSet;
use pixtape::engine::tape::{Root, Tape};
use pixtape::engine::tensor::{DType, Tensor};
use pixtape::gan::{Parameters, Role};

use super::checks::{fixture, tolerance};
use super::convolutions::F2X2_ROUNDING;
use super::kinds::{Case, KINDS, Output};
use super::trial::{CONTROL, Results};
use crate::support::compare::largest;
use crate::support::machine::{Engine, Execution};
use crate::support::values::{image_values, parameter_values};

/// The ops that networks use between activations; the others are for pictures, which are of f32.
const OPS: [&str; 3] = ["conv", "loss", "norm_act"];

/// The largest relative error of a number that is rounded to the 8 bits of bf16.
const ROUNDING: f64 = 1.0 / 256.0;

fn rounded(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|value| f64::from(bf16::from_f32(value as f32).to_f32())).collect()
}

/// The results of a row whose images are of bf16. In f64 nothing is rounded, so it is given rounded numbers; weights
/// only with `rounds_weights`.
fn results(case: &Case, engine: Engine, rounds_weights: bool) -> Results {
    let as_given = |values: Vec<f64>| if engine == Engine::F64 { rounded(values) } else { values };
    let (op, name, mut tape, mut given) = (&case.op, &case.name, Tape::new(), Vec::new());
    let mut narrow = |tape: &mut Tape, image: &str, shape| {
        let wide = tape.persistent(shape);
        let values = image_values(&format!("{name}.{image}"), shape, 1.0);
        let values = if image == "x" { values.into_iter().map(|x| op.x_value(x)).collect() } else { values };
        given.push((wide, as_given(values)));
        let narrow = tape.transient_of(DType::Bf16, shape);
        cast(tape, wide, narrow);
        (wide, narrow)
    };
    let (x, x16) = narrow(&mut tape, "x", op.x());
    let specs = op.parameters();
    let parameters = Parameters::new(&mut tape, specs.clone());
    let weights: Vec<Tensor> = (0..specs.len()).map(|index| parameters.part(parameters.values, index)).collect();
    let mut outputs: Vec<(String, Tensor)> = Vec::new();
    let root: Box<dyn Root> = match op.output() {
        Output::Image(shape, record) => {
            let (dy, _) = narrow(&mut tape, "dy", shape);
            let y16 = tape.transient_of(DType::Bf16, shape);
            record(&mut tape, x16, &weights, y16);
            let [wide, y] = [tape.transient(shape), tape.persistent(shape)];
            cast(&mut tape, y16, wide);
            copy(&mut tape, wide, y);
            outputs.push(("y".into(), y));
            Box::new(Upstream { y: wide, dy })
        }
        Output::Loss(weight, criterion) => {
            let value = tape.persistent([1, 1, 1, 1]);
            outputs.push(("value".into(), value));
            let criterion = criterion(&mut || narrow(&mut tape, "t", op.x()).1);
            Box::new(Loss { x: x16, criterion, weight, value })
        }
    };
    let wrt = if specs.is_empty() { vec![x] } else { vec![x, parameters.values] };
    let gradients = tape.backward(&[&*root], &wrt).expect("gradients");
    let dx = tape.persistent(op.x());
    copy(&mut tape, gradients[0], dx);
    outputs.push(("dx".into(), dx));
    for (index, spec) in specs.iter().enumerate() {
        let values = parameter_values(&format!("{name}.{}", spec.name), spec, 0.25);
        let is_operand = spec.role == Role::Weight && rounds_weights;
        given.push((weights[index], if is_operand { as_given(values) } else { values }));
        outputs.push((format!("d{}", spec.name), parameters.part(gradients[1], index)));
    }
    let execution = Execution::Checked(1);
    let mut machine = execution.machine(engine, tape.finish(), CONTROL);
    given.iter().for_each(|(tensor, values)| machine.write(*tensor, values));
    execution.run(&mut *machine);
    outputs.into_iter().map(|(name, tensor)| (name, machine.read(tensor))).collect()
}

/// Images are rounded once where they are written, to 8 bits; what is of f32 (a loss, the gradients of parameters) has
/// the error of f32 on the same numbers. Weights are rounded as well, but for those of convolutions with few pixels;
/// and F(2x2, 2x2), if this machine makes its products by pairs of bf16, rounds its differences and sums.
#[test]
fn every_row_between_activations_of_bf16_is_rounded_once() {
    let fixture = fixture();
    let is_of_pairs = Bf16Products::of(InstructionSet::chosen().unwrap()) == Bf16Products::Dot;
    let kinds = KINDS.iter().filter(|kind| OPS.contains(&kind.name));
    let mut rows = 0;
    for case in kinds.flat_map(|kind| (kind.cases)()).filter(|case| !case.name.starts_with("ssim")) {
        let [rounded, of_f32_weights] = [true, false].map(|rounds| results(&case, Engine::F64, rounds));
        for (name, values) in results(&case, Engine::F32, true) {
            let key = format!("{}/{name}", case.name);
            let error_of = |expected: &[f64]| values.iter().zip(expected).map(|(x, y)| (x - y).abs()).sum::<f64>();
            let is_rounded = error_of(&rounded[&name]) <= error_of(&of_f32_weights[&name]);
            let expected = if is_rounded { &rounded[&name] } else { &of_f32_weights[&name] };
            let rounding = if ["y", "dx"].contains(&name.as_str()) { ROUNDING } else { 0.0 };
            let of_f32 = tolerance(&fixture, &key, Engine::F32).relative_to_largest * largest(expected);
            let mean_square = expected.iter().map(|x| x * x).sum::<f64>() / expected.len() as f64;
            let of_f2x2 =
                if is_of_pairs && case.name.starts_with("conv") { F2X2_ROUNDING * mean_square.sqrt() } else { 0.0 };
            for (i, (&value, &expected)) in values.iter().zip(expected).enumerate() {
                let (error, bound) = ((value - expected).abs(), rounding * expected.abs() + of_f32 + of_f2x2);
                assert!(error <= bound, "{key}[{i}] is {value} for {expected}, off by more than {bound}");
            }
        }
        rows += 1;
    }
    assert!(rows > 80, "{rows} rows");
}
