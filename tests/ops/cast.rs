//! Casts to bf16 and back: buffers of another number format than f32, on every device.

use half::bf16;
use pixtape::engine::ops::cast::cast;
use pixtape::engine::ops::copy::{Upstream, copy};
use pixtape::engine::plan::{Dependencies, Plan};
use pixtape::engine::program::Program;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::{DType, Shape, Tensor};

use super::trial::CONTROL;
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, Machine, arena, checked};
use crate::support::values::image_values;

/// Channels and pixels that no box and no block divides, with a pitch that tensor maps can have.
const SHAPE: Shape = [2, 13, 11, 136];

/// The edges of bf16: ties to either side, the largest numbers, subnormal ones, infinities and NaN.
const EDGES: [f32; 12] = [
    0.0,
    -0.0,
    1.0,
    1.0 + 1.0 / 256.0,
    1.0 + 3.0 / 256.0,
    f32::MAX,
    -3.389e38,
    1e-40,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    -1.0 / 3.0,
];

fn given() -> Vec<f64> {
    let mut values = image_values("cast.x", SHAPE, 4.0);
    values.iter_mut().zip(EDGES).for_each(|(value, edge)| *value = f64::from(edge));
    values
}

/// A value after the way to bf16 and back.
fn rounded(engine: Engine, value: f64) -> f64 {
    match engine {
        // The reference keeps f64 where f32 trains with bf16.
        Engine::F64 => value,
        _ => f64::from(bf16::from_f32(value as f32).to_f32()),
    }
}

#[track_caller]
fn assert_rounded(what: &str, engine: Engine, actual: &[f64], exact: &[f64]) {
    let number = |x: f64| if x.is_nan() { f64::NAN } else { x };
    let expected: Vec<f64> = exact.iter().map(|&x| number(rounded(engine, x))).collect();
    let actual: Vec<f64> = actual.iter().map(|&x| number(x)).collect();
    assert_same_bits(&format!("{what} on {engine:?}"), &actual, &expected);
}

/// A cast there and back, of all of x and of a slice of it; with the gradient of x for a given one, which two consumers
/// add up.
struct Recorded {
    program: Program,
    x: Tensor,
    dy: Tensor,
    y: Tensor,
    dx: Tensor,
}

fn record(slice: bool, consumers: usize) -> Recorded {
    let mut tape = Tape::new();
    let cut = |tensor: Tensor| if slice { tensor.channel_slice(8..40) } else { tensor };
    let whole = tape.persistent(SHAPE);
    let x = cut(whole);
    let [y, dy] = [(); 2].map(|()| cut(tape.persistent(SHAPE)));
    let mut roots = Vec::new();
    for consumer in 0..consumers {
        let narrow = tape.transient_of(DType::Bf16, SHAPE);
        let wide = cut(tape.transient(SHAPE));
        cast(&mut tape, x, cut(narrow));
        cast(&mut tape, cut(narrow), wide);
        if consumer == 0 {
            copy(&mut tape, wide, y);
        }
        roots.push(Upstream { y: wide, dy });
    }
    let roots: Vec<&dyn pixtape::engine::tape::Root> = roots.iter().map(|root| root as _).collect();
    let gradients = tape.backward(&roots, &[x]).expect("gradients");
    let dx = cut(tape.persistent(SHAPE));
    copy(&mut tape, gradients[0], dx);
    Recorded { program: tape.finish(), x, dy, y, dx }
}

pub fn casts_round_and_widen(engine: Engine) {
    for (slice, consumers) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        let values = given();
        let input = |tensor: Tensor| values[..tensor.count()].to_vec();
        let mut results = Vec::new();
        for check in [false, true] {
            let Recorded { program, x, dy, y, dx } = record(slice, consumers);
            let start = if check { checked } else { arena };
            let mut machine: Box<dyn Machine> = start(engine, program, CONTROL);
            machine.write(x, &input(x));
            machine.write(dy, &input(dy));
            for seed in 0..2 {
                if check { machine.execute_checked(seed) } else { machine.execute() }
            }
            assert_rounded("y", engine, &machine.read(y), &input(y));
            let summed: Vec<f64> = input(dx).iter().map(|&x| rounded(engine, x) * consumers as f64).collect();
            // Twice a number that bf16 can hold is exact, but for what is beyond f32.
            let summed: Vec<f64> =
                summed.iter().map(|&x| if engine == Engine::F64 { x } else { f64::from(x as f32) }).collect();
            let actual = machine.read(dx);
            let same = actual.iter().zip(&summed).all(|(a, e)| a == e || (a.is_nan() && e.is_nan()));
            assert!(same, "dx on {engine:?}, {consumers} consumers");
            results.push((machine.read(y), actual));
        }
    }
}

/// Three consumers of a tensor of bf16, whose gradient gathers in bf16. The last to be recorded is the first to be
/// differentiated: it covers a slice, and the rest starts from zeros.
pub fn gradients_gather_in_bf16(engine: Engine) {
    let slice = 8..40;
    let mut tape = Tape::new();
    let [x, dx] = [(); 2].map(|()| tape.persistent(SHAPE));
    let narrow = tape.transient_of(DType::Bf16, SHAPE);
    cast(&mut tape, x, narrow);
    let consumed = [narrow, narrow, narrow.channel_slice(slice.clone())];
    let roots = consumed.map(|narrow| {
        let [y, dy] = [tape.transient(narrow.shape), tape.persistent(narrow.shape)];
        cast(&mut tape, narrow, y);
        Upstream { y, dy }
    });
    let found = tape.backward(&[&roots[0], &roots[1], &roots[2]], &[x]).expect("gradients");
    copy(&mut tape, found[0], dx);
    let program = tape.finish();
    assert!(program.steps().iter().any(|recorded| recorded.step().name() == "fill"), "zeros are recorded");

    let values: Vec<Vec<f64>> = ["first", "second", "third"]
        .iter()
        .zip(&roots)
        .map(|(tag, root)| image_values(&format!("cast.{tag}"), root.dy.shape, 4.0))
        .collect();
    let add = |sum: f64, gradient: f64| match engine {
        Engine::F64 => sum + gradient,
        _ => rounded(engine, f64::from(sum as f32 + gradient as f32)),
    };
    let mut third = values[2].iter();
    let expected = values[0].iter().zip(&values[1]).enumerate().map(|(index, (&first, &second))| {
        let is_sliced = slice.contains(&(index % SHAPE[3]));
        let start = if is_sliced { rounded(engine, *third.next().expect("one an element")) } else { 0.0 };
        add(add(start, second), first)
    });
    let expected: Vec<f64> = expected.collect();
    let mut machine = checked(engine, program, CONTROL);
    roots.iter().zip(&values).for_each(|(root, values)| machine.write(root.dy, values));
    machine.execute_checked(1);
    assert_same_bits(&format!("dx on {engine:?}"), &machine.read(dx), &expected);
}

/// The names of the implementations of a cast from bf16 that could run in place of the one that does.
pub fn others(engine: Engine) -> Vec<&'static str> {
    arena(engine, record(false, 1).program, CONTROL).others()
}

/// A value of bf16 comes and goes through the host as what it is.
pub fn the_host_reads_and_writes_bf16(engine: Engine) {
    let mut tape = Tape::new();
    let narrow = tape.transient_of(DType::Bf16, SHAPE);
    let wide = tape.persistent(SHAPE);
    cast(&mut tape, narrow, wide);
    let slice = narrow.channel_slice(3..9);
    let mut machine = arena(engine, tape.finish(), CONTROL);
    let values = given();
    machine.write(narrow, &values);
    assert_rounded("read back", engine, &machine.read(narrow), &values);
    machine.write(slice, &vec![2.5; slice.count()]);
    machine.execute();
    let channels = SHAPE[3];
    for (index, (wide, value)) in machine.read(wide).into_iter().zip(values).enumerate() {
        let expected = if (3..9).contains(&(index % channels)) { 2.5 } else { rounded(engine, value) };
        assert!(wide == expected || (wide.is_nan() && expected.is_nan()), "element {index}: {wide}, not {expected}");
    }
}

/// Memory is planned in bytes: a buffer of bf16 takes half of what one of f32 does.
#[test]
fn a_buffer_of_bf16_takes_half_the_bytes() {
    let arena = |dtype: DType| {
        let mut tape = Tape::new();
        let (a, b) = (tape.persistent(SHAPE), tape.persistent(SHAPE));
        let between = tape.transient_of(dtype, SHAPE);
        match dtype {
            DType::F32 => {
                copy(&mut tape, a, between);
                copy(&mut tape, between, b);
            }
            DType::Bf16 => {
                cast(&mut tape, a, between);
                cast(&mut tape, between, b);
            }
        }
        let program = tape.finish();
        let plan = Plan::new(&program, &Dependencies::new(&program), DType::bytes);
        plan.total() - plan.persistent()
    };
    let count: usize = SHAPE.iter().product();
    assert_eq!(arena(DType::F32), (4 * count).next_multiple_of(128));
    assert_eq!(arena(DType::Bf16), (2 * count).next_multiple_of(128));
}

#[test]
#[should_panic(expected = "as F32")]
fn bf16_is_not_taken_for_f32() {
    let mut tape = Tape::new();
    let narrow = tape.transient_of(DType::Bf16, SHAPE);
    let wide = tape.persistent(SHAPE);
    cast(&mut tape, wide, narrow);
    // Copies know f32 alone so far.
    copy(&mut tape, narrow, wide);
    arena(Engine::F32, tape.finish(), CONTROL).execute();
}
