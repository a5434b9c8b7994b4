//! The checks that every row of the table has to pass, on every engine.

use super::kinds::{Case, KINDS};
use super::trial::{Layout, Results, Trial};
use crate::support::compare::{Tolerance, assert_close, assert_same_bits, largest};
use crate::support::digest;
use crate::support::fixture::Fixture;
use crate::support::machine::{Engine, Execution};
use crate::support::values::from_nchw;

pub fn fixture() -> Fixture {
    Fixture::new(include_bytes!("../fixtures/ops.safetensors"))
}

/// The tolerance of a result against PyTorch's f64.
///
/// In f32 the spread is the error of one correct implementation, made with one order of its sums; ours have other
/// orders. Four of them cover that, and four f32 epsilons stand in where theirs happened to be (almost) exact.
pub fn tolerance(fixture: &Fixture, name: &str, engine: Engine) -> Tolerance {
    if engine.is_f64() {
        return Tolerance::STORED_F32;
    }
    let relative_to_largest = 4.0 * (fixture.f32_spread(name) + f64::from(f32::EPSILON));
    Tolerance { relative: 0.0, relative_to_largest }
}

fn run(case: &Case, layout: Layout, engine: Engine, execution: Execution) -> Results {
    Trial::new(case, layout, engine, execution).run()
}

pub fn matches_pytorch(case: &Case, engine: Engine) {
    let fixture = fixture();
    let row = format!("{}/", case.name);
    let mut unused = fixture.names();
    unused.retain(|key| key.starts_with(&row));
    for (name, values) in run(case, Layout::Plain, engine, Execution::Checked(1)) {
        let key = format!("{row}{name}");
        let what = format!("{key} on {engine:?}");
        assert_close(&what, &values, &expected(&fixture, case, &name), tolerance(&fixture, &key, engine));
        digest::note(&what, &values);
        unused.retain(|name| *name != key);
    }
    assert!(unused.is_empty(), "results that the row does not compute: {unused:?}");
}

/// The row on CUDA, once as it is chosen and once with each implementation that its steps could have instead.
pub fn on_every_implementation(case: &Case, check: impl Fn(&Case, Engine)) {
    check(case, Engine::Cuda);
    for name in Trial::new(case, Layout::Plain, Engine::Cuda, Execution::Arena).others() {
        check(case, Engine::CudaForced(name));
    }
}

/// CUDA against the CPU that trains, in slices too. Either may be off by the tolerance, in directions of its own.
pub fn matches_the_cpu(case: &Case, engine: Engine) {
    let fixture = fixture();
    for layout in [Layout::Plain, Layout::Framed, Layout::FramedQuads] {
        let cpu = run(case, layout, Engine::F32, Execution::Arena);
        for (name, values) in run(case, layout, engine, Execution::Arena) {
            let key = format!("{}/{name}", case.name);
            let Tolerance { relative, relative_to_largest } = tolerance(&fixture, &key, engine);
            let both = Tolerance { relative: 2.0 * relative, relative_to_largest: 2.0 * relative_to_largest };
            assert_close(&format!("{key} on {engine:?} and the CPU, {layout:?}"), &values, &cpu[&name], both);
        }
    }
}

/// PyTorch's result in this project's layout.
fn expected(fixture: &Fixture, case: &Case, name: &str) -> Vec<f64> {
    let (values, shape) = fixture.tensor(&format!("{}/{name}", case.name));
    let spec = case.op.parameters().into_iter().find(|spec| name == format!("d{}", spec.name));
    if let Some(spec) = spec {
        assert_eq!(shape, spec.torch_shape(), "{}/{name}", case.name);
        return spec.from_torch(&values);
    }
    match shape[..] {
        [n, c, h, w] => from_nchw(&values, [n, h, w, c]),
        _ => values,
    }
}

/// Memory that is shared, an order that is drawn and NaN in everything that is not in use must not show in any bit.
pub fn memory_and_order_change_nothing(case: &Case, engine: Engine) {
    let mut arena = Trial::new(case, Layout::Plain, engine, Execution::Arena);
    let first = arena.run();
    assert!(first.values().flatten().all(|x| x.is_finite()), "{}", case.name);
    let what = |how: &str, name: &str| format!("{}/{name} on {engine:?}, {how}", case.name);
    let compare = |results: Results, how: &str| {
        results.iter().for_each(|(name, values)| assert_same_bits(&what(how, name), values, &first[name]));
    };
    compare(arena.run(), "executed again");
    for seed in 1..=2 {
        compare(run(case, Layout::Plain, engine, Execution::Checked(seed)), "checked");
        compare(run(case, Layout::Plain, engine, Execution::Shuffled(seed)), "in another order");
    }
}

/// A tensor in a slice has the same bits as one on its own, and its neighbours are left alone. On CUDA the bits are the
/// same if the slice is aligned: where it is not, another implementation may take its place.
pub fn slices_change_nothing(case: &Case, engine: Engine) {
    let plain = run(case, Layout::Plain, engine, Execution::Arena);
    for layout in [Layout::Framed, Layout::FramedQuads] {
        for how in [Execution::Arena, Execution::Checked(1), Execution::Checked(2)] {
            for (name, values) in run(case, layout, engine, how) {
                let what = format!("{}/{name} on {engine:?}, {layout:?}, {how:?}", case.name);
                if layout == Layout::FramedQuads || engine.is_cpu() {
                    assert_same_bits(&what, &values, &plain[&name]);
                }
            }
        }
    }
}

/// Two consumers: the gradients add up to twice one. Not always to the bit, as some steps add term by term to what is
/// there; that moves a sum by a few roundings of its largest partial sum.
pub fn gradients_of_two_consumers_add_up(case: &Case, engine: Engine) {
    let once = run(case, Layout::Plain, engine, Execution::Arena);
    let twice = run(case, Layout::Twice, engine, Execution::Checked(1));
    for (name, values) in &once {
        let what = format!("{}/{name} on {engine:?}, two consumers", case.name);
        if !name.starts_with('d') {
            assert_same_bits(&what, &twice[name], values);
            assert_same_bits(&what, &twice[&format!("{name}_again")], values);
            continue;
        }
        let doubled: Vec<f64> = values.iter().map(|x| 2.0 * x).collect();
        let tolerance = Tolerance { relative: 0.0, relative_to_largest: 4.0 * engine.epsilon() };
        assert_close(&what, &twice[name], &doubled, tolerance);
    }
}

/// A gradient that covers one image of the batch leaves the others at zero, and the images' gradients add up to that of
/// the batch: differentiation is linear. The batch's dropout mask is kept.
pub fn a_gradient_of_one_image_is_its_share(case: &Case, engine: Engine) {
    let [n, ..] = case.op.y().expect("an output image");
    let whole = run(case, Layout::Plain, engine, Execution::Arena);
    let mut sums: Results = whole.iter().map(|(name, values)| (name.clone(), vec![0.0; values.len()])).collect();
    for image in 0..n {
        let parts = run(case, Layout::OneImage(image), engine, Execution::Checked(1));
        let length = parts["dx"].len() / n;
        let others = parts["dx"].chunks(length).enumerate().filter(|(i, _)| *i != image);
        assert_eq!(others.map(|(_, dx)| largest(dx)).fold(0.0, f64::max), 0.0, "{}: image {image}", case.name);
        for (name, values) in parts {
            sums.get_mut(&name).expect("same results").iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
        }
    }
    for (name, values) in whole.iter().filter(|(name, _)| name.starts_with('d')) {
        // A few roundings of the largest element.
        let tolerance = Tolerance { relative: 0.0, relative_to_largest: 8.0 * engine.epsilon() };
        assert_close(&format!("{}/{name} on {engine:?}, image by image", case.name), &sums[name], values, tolerance);
    }
}

/// The rows with an output of several images.
pub fn batches() -> Vec<Case> {
    let batches: Vec<Case> = all_rows().filter(|case| case.op.y().is_some_and(|[n, ..]| n > 1)).collect();
    assert!(batches.len() >= 5, "the table has rows with more than one image");
    batches
}

/// The rows of one op, which are never none.
pub fn rows(kind: &str) -> Vec<Case> {
    let kind = KINDS.iter().find(|known| known.name == kind).expect("an op of this name");
    let rows = (kind.cases)();
    assert!(!rows.is_empty(), "{} has no rows", kind.name);
    rows
}

/// The rows of all ops.
pub fn all_rows() -> impl Iterator<Item = Case> {
    KINDS.iter().flat_map(|kind| (kind.cases)())
}
