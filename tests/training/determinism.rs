//! Same seed and same number of threads, same bits.

use clap::ValueEnum;
use pixtape::engine::access::Control;
use pixtape::engine::device::cpu::with_threads;
use pixtape::engine::plan::{Dependencies, Plan};
use pixtape::engine::program::Lifetime;
use pixtape::engine::tensor::DType;
use pixtape::gan::{Pix2Pix, Recipe};

use super::checks;
use super::state::{self, CONTROL};
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, arena};

/// Everything that training changes, after a few steps.
fn train(threads: usize, seed: u64) -> Vec<f64> {
    let work = || {
        let (program, handles) = state::record(&Pix2Pix::with_size(Recipe::PytorchGan, 64, 8, 0.5));
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
    for threads in [1, 2] {
        assert_same_bits(&format!("{threads} threads"), &train(threads, 7), &train(threads, 7));
    }
    assert_ne!(train(1, 7), train(1, 8), "the seed decides about dropout");
}

/// The whole step of every recipe, from one arena and from buffers that are NaN when they are not in use, in recorded
/// order and in others.
#[test]
fn orders_and_memory_change_no_bit() {
    for recipe in Recipe::value_variants() {
        for accumulate in [1, 2] {
            let options = Pix2Pix { accumulate, ..Pix2Pix::with_size(*recipe, 64, 8, 0.5) };
            checks::orders(&format!("{recipe:?} of {accumulate}"), &options, Engine::F32);
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
