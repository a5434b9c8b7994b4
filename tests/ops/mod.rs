//! The op table: every row in f32 and f64, against PyTorch, against finite differences and against itself under other
//! placements, other orders and other memory.

mod adam;
mod case;
mod differences;
mod trial;

use case::{Case, Images, Op, table};
use differences::assert_gradients_are_slopes;
use trial::{Layout, Results, Run, Trial};

use crate::support::compare::{Tolerance, assert_close, assert_same_bits, largest};
use crate::support::fixture::Fixture;
use crate::support::machine::Precision;
use crate::support::values::from_nchw;

fn fixture() -> Fixture {
    Fixture::new(include_bytes!("../fixtures/ops.safetensors"))
}

/// Of an f32 result against PyTorch's f64. The spread is the error of one correct f32 implementation, made with one order
/// of its sums; ours has other orders. Four of them cover that, and four f32 epsilons stand in where theirs happened to be
/// (almost) exact.
fn f32_tolerance(fixture: &Fixture, name: &str) -> Tolerance {
    let of_largest = 4.0 * (fixture.f32_spread(name) + f64::from(f32::EPSILON));
    Tolerance { of_each: 0.0, of_largest }
}

/// Every row but Adam's, which has no gradient.
fn differentiable() -> impl Iterator<Item = Case> {
    table().into_iter().filter(|case| !matches!(case.op, Op::Adam(_)))
}

fn run(case: &Case, layout: Layout, precision: Precision, how: Run) -> Results {
    Trial::new(case, layout, precision, how).run()
}

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::F64];

#[test]
fn every_row_matches_pytorch() {
    let fixture = fixture();
    let mut unused = fixture.names();
    for case in differentiable() {
        for precision in PRECISIONS {
            for (name, values) in run(&case, Layout::Plain, precision, Run::Checked(1)) {
                let key = format!("{}/{name}", case.name);
                let expected = expected(&fixture, &case, &name);
                let tolerance = match precision {
                    Precision::F32 => f32_tolerance(&fixture, &key),
                    Precision::F64 => Tolerance::STORED_F32,
                };
                assert_close(&format!("{key} in {precision:?}"), &values, &expected, tolerance);
                unused.retain(|name| *name != key);
            }
        }
    }
    unused.retain(|name| !name.starts_with("adam"));
    assert!(unused.is_empty(), "results that no row of the table computes: {unused:?}");
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

#[test]
fn every_row_matches_finite_differences() {
    for case in differentiable() {
        assert_gradients_are_slopes(&case);
    }
}

/// Memory that is shared, an order that is drawn and NaN in everything that is not in use must not show in any bit.
#[test]
fn memory_and_order_change_nothing() {
    for case in differentiable() {
        for precision in PRECISIONS {
            let mut arena = Trial::new(&case, Layout::Plain, precision, Run::Arena);
            let first = arena.run();
            assert!(first.values().flatten().all(|x| x.is_finite()), "{}", case.name);
            let what = |how: &str, name: &str| format!("{}/{name} in {precision:?}, {how}", case.name);
            let compare = |results: Results, how: &str| {
                results.iter().for_each(|(name, values)| assert_same_bits(&what(how, name), values, &first[name]));
            };
            compare(arena.run(), "executed again");
            for seed in 1..=3 {
                compare(run(&case, Layout::Plain, precision, Run::Checked(seed)), "checked");
                compare(run(&case, Layout::Plain, precision, Run::Shuffled(seed)), "in another order");
            }
        }
    }
}

/// A tensor in a slice has the same bits as one on its own, and its neighbours are left alone.
#[test]
fn slices_change_nothing() {
    for case in differentiable() {
        for precision in PRECISIONS {
            let plain = run(&case, Layout::Plain, precision, Run::Arena);
            for how in [Run::Arena, Run::Checked(1), Run::Checked(2)] {
                for (name, values) in run(&case, Layout::Framed, precision, how) {
                    let what = format!("{}/{name} in {precision:?}, framed, {how:?}", case.name);
                    assert_same_bits(&what, &values, &plain[&name]);
                }
            }
        }
    }
}

/// Two consumers: the gradients add up to twice one. Not always to the bit, as some steps add term by term to what is
/// there; that moves a sum by a few roundings of its largest partial sum.
#[test]
fn gradients_of_two_consumers_add_up() {
    for case in differentiable() {
        for (precision, epsilon) in [(Precision::F32, f64::from(f32::EPSILON)), (Precision::F64, f64::EPSILON)] {
            let once = run(&case, Layout::Plain, precision, Run::Arena);
            let twice = run(&case, Layout::Twice, precision, Run::Checked(1));
            for (name, values) in &once {
                let what = format!("{}/{name} in {precision:?}, two consumers", case.name);
                if !name.starts_with('d') {
                    assert_same_bits(&what, &twice[name], values);
                    assert_same_bits(&what, &twice[&format!("{name}_again")], values);
                    continue;
                }
                let doubled: Vec<f64> = values.iter().map(|x| 2.0 * x).collect();
                let tolerance = Tolerance { of_each: 0.0, of_largest: 4.0 * epsilon };
                assert_close(&what, &twice[name], &doubled, tolerance);
            }
        }
    }
}

/// A gradient that covers one image of the batch leaves the others at zero, and the images' gradients add up to that of
/// the batch: differentiation is linear. The batch's dropout mask is kept.
#[test]
fn a_gradient_of_one_image_is_its_share() {
    let batches = differentiable().filter_map(|case| Some((case.op.y()?[0], case))).filter(|(n, _)| *n > 1);
    let mut rows = 0;
    for (n, case) in batches {
        rows += 1;
        let whole = run(&case, Layout::Plain, Precision::F64, Run::Arena);
        let mut sums: Results = whole.iter().map(|(name, values)| (name.clone(), vec![0.0; values.len()])).collect();
        for image in 0..n {
            let parts = run(&case, Layout::OneImage(image), Precision::F64, Run::Checked(1));
            let length = parts["dx"].len() / n;
            let others = parts["dx"].chunks(length).enumerate().filter(|(i, _)| *i != image);
            assert_eq!(others.map(|(_, dx)| largest(dx)).fold(0.0, f64::max), 0.0, "{}: image {image}", case.name);
            for (name, values) in parts {
                sums.get_mut(&name).expect("same results").iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
            }
        }
        for (name, values) in whole.iter().filter(|(name, _)| name.starts_with('d')) {
            // A few roundings of the largest element.
            let tolerance = Tolerance { of_each: 0.0, of_largest: 8.0 * f64::EPSILON };
            assert_close(&format!("{}/{name}, image by image", case.name), &sums[name], values, tolerance);
        }
    }
    assert!(rows >= 5, "the table has rows with more than one image");
}

/// What the table has to hold for the tests above to mean something.
#[test]
fn the_table_covers_what_it_promises() {
    let cases = table();
    let kinds = cases.iter().map(|case| std::mem::discriminant(&case.op));
    assert_eq!(kinds.collect::<std::collections::HashSet<_>>().len(), 8, "every kind of op has a row");
    let has = |what: &str, holds: &dyn Fn(Images, usize) -> bool| {
        let shape = |case: &&Case| {
            let [n, h, w, c] = case.op.x();
            holds(Images { n, h, w }, c)
        };
        assert!(differentiable().collect::<Vec<_>>().iter().any(|case| shape(&case)), "no row has {what}");
    };
    for channels in [1, 3, 6, 64] {
        has(&format!("{channels} channels"), &|_, c| c == channels);
    }
    for batch in [1, 3] {
        has(&format!("batch {batch}"), &|images, _| images.n == batch);
    }
    has("sides that no block size divides", &|images, _| images.h % 2 == 1 && images.w % 2 == 1 && images.w > 4);
}
