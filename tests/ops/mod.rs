//! The op table on the CPU: every row in f32 and f64, against PyTorch, against finite differences and against itself
//! under other placements, other orders and other memory. `tests/cuda/ops.rs` does the same on CUDA.

pub mod adam;
mod affine;
mod bf16;
pub mod cast;
pub mod checks;
mod convolutions;
mod differences;
pub mod kinds;
pub mod losses;
pub mod trial;

use std::collections::{BTreeSet, HashSet};

use checks::{all_rows, fixture};
use clap::ValueEnum;
use differences::assert_gradients_are_slopes;
use kinds::adam::adam_rows;
use pixtape::engine::access::Access;
use pixtape::engine::kernel::cuda::GpuFacts;
use pixtape::engine::ops::cast::cast;
use pixtape::engine::program::{Program, RecordedStep};
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::{DType, Shape};
use pixtape::gan::{Pix2Pix, Recipe, TrainingStep};

use crate::support::machine::Engine;

const CPU_ENGINES: [Engine; 2] = [Engine::F32, Engine::F64];

#[test]
fn every_row_matches_pytorch() {
    for engine in CPU_ENGINES {
        all_rows().for_each(|case| checks::matches_pytorch(&case, engine));
    }
}

#[test]
fn every_row_matches_finite_differences() {
    for case in all_rows().filter(|case| case.op.has_slope()) {
        assert_gradients_are_slopes(&case);
    }
}

#[test]
fn memory_and_order_change_nothing() {
    for engine in CPU_ENGINES {
        all_rows().for_each(|case| checks::memory_and_order_change_nothing(&case, engine));
    }
}

#[test]
fn slices_change_nothing() {
    for engine in CPU_ENGINES {
        all_rows().for_each(|case| checks::slices_change_nothing(&case, engine));
    }
}

#[test]
fn casts_round_and_widen() {
    CPU_ENGINES.into_iter().for_each(cast::casts_round_and_widen);
}

#[test]
fn gradients_gather_in_bf16() {
    CPU_ENGINES.into_iter().for_each(cast::gradients_gather_in_bf16);
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
        all_rows().for_each(|case| checks::gradients_of_two_consumers_add_up(&case, engine));
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

/// Properties of the rows without which the tests above would mean nothing.
#[test]
fn the_rows_cover_what_they_promise() {
    let rows: Vec<_> = all_rows().collect();
    let has = |what: &str, holds: &dyn Fn([usize; 4]) -> bool| {
        assert!(rows.iter().any(|case| holds(case.op.x())), "no row has {what}");
    };
    for channels in [1, 3, 6, 64] {
        has(&format!("{channels} channels"), &|[.., c]| c == channels);
    }
    for batch in [1, 3] {
        has(&format!("batch {batch}"), &|[n, ..]| n == batch);
    }
    has("sides that no block size divides", &|[_, h, w, _]| h % 2 == 1 && w % 2 == 1 && w > 4);

    for kind in kinds::KINDS.iter().filter(|kind| !(kind.cases)().is_empty()) {
        assert!(!kind.pytorch.is_empty(), "{} says what PyTorch computes", kind.name);
    }

    let names: Vec<String> =
        rows.into_iter().map(|case| case.name).chain(adam_rows().into_iter().map(|(name, _)| name)).collect();
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(known.len(), names.len(), "two rows have one name");
    let row = |key: &str| key.split('/').next().expect("a part").to_owned();
    let unknown: Vec<String> = fixture().names().into_iter().filter(|key| !known.contains(row(key).as_str())).collect();
    assert!(unknown.is_empty(), "results that no row computes: {unknown:?}");
}

/// The name of a step and the shapes of its images.
type Signature = (&'static str, Vec<Shape>);

fn signature(recorded: &RecordedStep) -> Signature {
    let shapes = recorded.accesses().iter().filter_map(Access::tensor).map(|tensor| tensor.shape);
    (recorded.step().name(), shapes.filter(|[n, h, w, _]| n * h * w > 1).collect())
}

/// Programs with every step that the ops have, at the shapes of the networks.
fn programs() -> Vec<Program> {
    let of_layers = kinds::KINDS.iter().flat_map(|kind| (kind.layers)()).map(|layer| {
        let mut recording = kinds::Recording::default();
        (layer.record)(&mut recording);
        recording.tape.finish()
    });
    let of_recipes = Recipe::value_variants().iter().map(|recipe| published(*recipe).program.rewritten(PASSES));
    let mut casts = Tape::new();
    let [x, wide] = [(); 2].map(|()| casts.persistent([1, 8, 8, 64]));
    let narrow = casts.transient_of(DType::Bf16, x.shape);
    cast(&mut casts, x, narrow);
    cast(&mut casts, narrow, wide);
    of_layers.chain(of_recipes).chain([casts.finish()]).collect()
}

fn published(recipe: Recipe) -> TrainingStep {
    TrainingStep::record(&Pix2Pix::with_size(recipe, 256, 64, 0.5)).expect("a step")
}

/// A step can be done on any GPU, and its implementations can be told apart.
#[test]
fn every_step_has_an_implementation_for_every_gpu() {
    let least = GpuFacts { capability: (8, 0), multiprocessors: 1, shared_memory: 0, l2_cache: 0 };
    let hopper = GpuFacts { capability: (9, 0), multiprocessors: 1000, shared_memory: 1 << 20, l2_cache: 1 << 30 };
    let mut several = BTreeSet::new();
    for program in programs() {
        for step in program.steps().iter().map(RecordedStep::step) {
            // The plain one, which runs and pays everywhere, ends each table.
            assert!(step.implementations(&least).contains(&"plain"), "{step:?}");
            let names = step.implementations(&hopper);
            let distinct: BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(distinct.len(), names.len(), "{}: {names:?}", step.name());
            if names.len() > 1 {
                several.insert(step.name());
            }
        }
    }
    assert!(several.contains("conv_fprop") && several.contains("cast_from_bf16"), "{several:?}");
}

/// Every step of the published recipes whose time depends on its shape is among those that the benches time.
#[test]
fn the_benches_have_every_shape_of_the_published_steps() {
    let mut timed = HashSet::new();
    for layer in kinds::KINDS.iter().flat_map(|kind| (kind.layers)()) {
        let mut recording = kinds::Recording::default();
        (layer.record)(&mut recording);
        let program = recording.tape.finish();
        let steps = program.steps().iter().filter(|recorded| layer.steps.contains(&recorded.step().name()));
        let found: Vec<Signature> = steps.map(signature).collect();
        assert!(!found.is_empty(), "{} times nothing", layer.name);
        timed.extend(found);
    }
    // Steps that are bound by memory alone, or do next to nothing.
    const OTHERS: [&str; 5] = ["adam", "advance", "bias_grad", "copy", "fill"];
    for recipe in Recipe::value_variants() {
        let recorded = published(*recipe);
        let main = &recorded.program.steps()[..recorded.program.main_steps()];
        let steps = main.iter().filter(|recorded| !OTHERS.contains(&recorded.step().name()));
        let missing: BTreeSet<Signature> = steps.map(signature).filter(|step| !timed.contains(step)).collect();
        assert!(missing.is_empty(), "{recipe:?}: {missing:?}");
    }
}
