//! Same seed and same number of threads, same bits.

use clap::ValueEnum;
use pixtape::engine::access::Control;
use pixtape::engine::device::cpu::with_threads;
use pixtape::engine::plan::{Dependencies, Plan};
use pixtape::engine::tensor::DType;
use pixtape::gan::{Pix2Pix, Recipe};

use super::state::{self, CONTROL};
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, arena, checked};

/// Everything that training changes, after a few steps.
fn train(threads: usize, seed: u64) -> Vec<f64> {
    let work = || {
        let (program, handles) = state::record(&Pix2Pix::small(Recipe::PytorchGan, 64, 8, 0.5));
        let mut machine = arena(Engine::F32, program, Control { seed, ..CONTROL });
        handles.load(&mut *machine);
        for step in 0..4 {
            handles.show(&mut *machine, step);
            machine.execute();
        }
        handles.everything(&*machine)
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
            let options = Pix2Pix { accumulate, ..Pix2Pix::small(*recipe, 64, 8, 0.5) };
            check_orders(&format!("{recipe:?} of {accumulate}"), &options);
        }
    }
}

fn check_orders(what: &str, options: &Pix2Pix) {
    let run = |seed: Option<u64>, check: bool| {
        let (program, handles) = state::record(options);
        let start = if check { checked } else { arena };
        let mut machine = start(Engine::F32, program, CONTROL);
        handles.load(&mut *machine);
        for step in 0..2 {
            handles.show(&mut *machine, step);
            match seed {
                None => machine.execute(),
                Some(seed) if check => machine.execute_checked(seed + step as u64),
                Some(seed) => machine.execute_shuffled(seed + step as u64),
            }
        }
        handles.everything(&*machine)
    };
    let expected = run(None, false);
    assert!(expected.iter().all(|x| x.is_finite()));
    for seed in [1, 11] {
        assert_same_bits(&format!("{what}, checked, seed {seed}"), &run(Some(seed), true), &expected);
        assert_same_bits(&format!("{what}, arena, seed {seed}"), &run(Some(seed), false), &expected);
    }
}

/// The preview shares the arena with the step and may be drawn between any two steps.
#[test]
fn previews_leave_training_alone() {
    let train = |previews: bool| {
        let (program, handles) = state::record(&Pix2Pix::small(Recipe::PytorchGan, 64, 8, 0.5));
        let mut machine = arena(Engine::F32, program, CONTROL);
        handles.load(&mut *machine);
        for step in 0..3 {
            handles.show(&mut *machine, step);
            machine.execute();
            if previews {
                machine.execute_on_demand();
            }
        }
        handles.everything(&*machine)
    };
    assert_same_bits("training with previews", &train(true), &train(false));
}

/// The arena is worth having: what a step passes on within itself takes at most three quarters of its buffers' sum.
#[test]
fn the_arena_is_smaller_than_its_buffers() {
    let (program, _) = state::record(&Pix2Pix::small(Recipe::PytorchGan, 256, 64, 0.5));
    let transient =
        program.buffers().iter().filter(|(_, b)| b.lifetime == pixtape::engine::program::Lifetime::Transient);
    let separate: usize = transient.map(|(_, buffer)| buffer.count() * buffer.dtype.bytes()).sum();
    let plan = Plan::new(&program, &Dependencies::new(&program), DType::bytes);
    let shared = plan.total() - plan.persistent();
    assert!(4 * shared <= 3 * separate, "{shared} bytes for buffers of {separate}");
}
