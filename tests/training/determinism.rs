//! Same seed, same bits, with any number of threads.

use clap::ValueEnum;
use pixtape::engine::access::Control;
use pixtape::engine::device::cpu::with_threads;
use pixtape::engine::plan::{Dependencies, Plan};
use pixtape::engine::program::Lifetime;
use pixtape::engine::tensor::DType;
use pixtape::gan::{Pix2Pix, Precision, Recipe};

use super::checks;
use super::state::{self, CONTROL};
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, arena};

/// Everything that training changes, after a few steps.
fn train(precision: Precision, threads: usize, seed: u64) -> Vec<f64> {
    let work = || {
        let options = Pix2Pix { precision, ..Pix2Pix::with_size(Recipe::PytorchGan, 64, 8, 0.5) };
        let (program, handles) = state::record(&options);
        let mut machine = arena(Engine::F32, program, Control { seed, ..CONTROL });
        handles.load(&mut *machine);
        for step in 0..4 {
            handles.write_pictures(&mut *machine, step);
            machine.execute();
        }
        handles.state(&*machine)
    };
    with_threads(threads, work).expect("threads")
}

#[test]
fn runs_repeat_to_the_bit() {
    for precision in [Precision::F32, Precision::Bf16] {
        let first = train(precision, 1, 7);
        for threads in [1, 2, 3, 16] {
            assert_same_bits(&format!("{precision:?}, {threads} threads"), &train(precision, threads, 7), &first);
        }
        assert_ne!(first, train(precision, 1, 8), "the seed decides about dropout");
    }
}

/// The whole step of every recipe, from one arena and from buffers that are NaN when they are not in use, in recorded
/// order and in others.
#[test]
fn orders_and_memory_change_no_bit() {
    for recipe in Recipe::value_variants() {
        for accumulate in [1, 2] {
            for precision in [Precision::F32, Precision::Bf16] {
                let options = Pix2Pix { accumulate, precision, ..Pix2Pix::with_size(*recipe, 64, 8, 0.5) };
                checks::orders(&format!("{recipe:?} of {accumulate} in {precision:?}"), &options, Engine::F32);
            }
        }
    }
}

/// The preview may be drawn between any two steps.
#[test]
fn previews_leave_training_alone() {
    checks::previews(&Pix2Pix::with_size(Recipe::PytorchGan, 64, 8, 0.5), Engine::F32);
}

/// Transient buffers share memory: the arena has at most three quarters of their sum.
#[test]
fn the_arena_is_smaller_than_its_buffers() {
    let (program, _) = state::record(&Pix2Pix::with_size(Recipe::PytorchGan, 256, 64, 0.5));
    let transient = program.buffers().iter().filter(|(_, b)| b.lifetime == Lifetime::Transient);
    let separate: usize = transient.map(|(_, buffer)| buffer.count() * buffer.dtype.bytes()).sum();
    let plan = Plan::new(&program, &Dependencies::new(&program), DType::bytes);
    let shared = plan.total() - plan.persistent();
    assert!(4 * shared <= 3 * separate, "{shared} bytes for buffers of {separate}");
}
