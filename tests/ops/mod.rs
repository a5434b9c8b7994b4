//! The op table on the CPU: every row in f32 and f64, against PyTorch, against finite differences and against itself under
//! other placements, other orders and other memory. `tests/cuda/ops.rs` does the same on CUDA.

pub mod adam;
mod affine;
pub mod case;
pub mod cast;
pub mod checks;
mod differences;
pub mod losses;
pub mod trial;

use std::collections::HashSet;

use case::{Images, KINDS, Op, differentiable, table};
use checks::fixture;
use differences::assert_gradients_are_slopes;

use crate::support::machine::Engine;

const CPU_ENGINES: [Engine; 2] = [Engine::F32, Engine::F64];

#[test]
fn every_row_matches_pytorch() {
    for engine in CPU_ENGINES {
        differentiable().for_each(|case| checks::matches_pytorch(&case, engine));
    }
}

#[test]
fn every_row_matches_finite_differences() {
    // At the edges of what a probability can be there is no slope.
    for case in differentiable().filter(|case| !matches!(case.op, Op::Bce { x: Some(_), .. })) {
        assert_gradients_are_slopes(&case);
    }
}

#[test]
fn memory_and_order_change_nothing() {
    for engine in CPU_ENGINES {
        differentiable().for_each(|case| checks::memory_and_order_change_nothing(&case, engine));
    }
}

#[test]
fn slices_change_nothing() {
    for engine in CPU_ENGINES {
        differentiable().for_each(|case| checks::slices_change_nothing(&case, engine));
    }
}

#[test]
fn casts_round_and_widen() {
    CPU_ENGINES.into_iter().for_each(cast::casts_round_and_widen);
}

#[test]
fn the_host_reads_and_writes_bf16() {
    CPU_ENGINES.into_iter().for_each(cast::the_host_reads_and_writes_bf16);
}

#[test]
fn not_a_number_shows_in_every_loss() {
    CPU_ENGINES.into_iter().for_each(losses::nan_shows_in_every_loss);
}

#[test]
fn gradients_of_two_consumers_add_up() {
    for engine in CPU_ENGINES {
        differentiable().for_each(|case| checks::gradients_of_two_consumers_add_up(&case, engine));
    }
}

#[test]
fn a_gradient_of_one_image_is_its_share() {
    for engine in CPU_ENGINES {
        checks::batches().iter().for_each(|case| checks::a_gradient_of_one_image_is_its_share(case, engine));
    }
}

#[test]
fn adam_matches_pytorch() {
    for engine in CPU_ENGINES {
        adam::matches_pytorch(engine);
    }
}

/// What the table has to hold for the tests above to mean something.
#[test]
fn the_table_covers_what_it_promises() {
    let kinds: HashSet<&str> = table().iter().map(|case| case.op.kind()).collect();
    assert_eq!(kinds, HashSet::from(KINDS), "every kind of op has a row");
    let rows: Vec<_> = differentiable().collect();
    let has = |what: &str, holds: &dyn Fn(Images, usize) -> bool| {
        let shapes = rows.iter().map(|case| case.op.x());
        assert!(shapes.into_iter().any(|[n, h, w, c]| holds(Images { n, h, w }, c)), "no row has {what}");
    };
    for channels in [1, 3, 6, 64] {
        has(&format!("{channels} channels"), &|_, c| c == channels);
    }
    for batch in [1, 3] {
        has(&format!("batch {batch}"), &|images, _| images.n == batch);
    }
    has("sides that no block size divides", &|images, _| images.h % 2 == 1 && images.w % 2 == 1 && images.w > 4);

    let fixture = fixture();
    let names: HashSet<String> = table().into_iter().map(|case| case.name).collect();
    let row = |key: &str| key.split('/').next().expect("a part").to_owned();
    let unknown: Vec<String> = fixture.names().into_iter().filter(|key| !names.contains(&row(key))).collect();
    assert!(unknown.is_empty(), "results that no row of the table computes: {unknown:?}");
}
