//! Checks of a whole training step that hold on every device.

use pixtape::engine::program::Program;
use pixtape::engine::rewrite::PASSES;
use pixtape::gan::Pix2Pix;

use super::state::{self, CONTROL};
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, Execution, arena};

/// Asserts that two steps give the same bits in one arena and in buffers of their own, in recorded order and in others.
pub fn orders(what: &str, options: &Pix2Pix, engine: Engine) {
    let run = |execution: fn(u64) -> Execution, seed: u64| {
        let (program, handles) = state::record(options);
        let mut machine = execution(seed).machine(engine, program, CONTROL);
        handles.load(&mut *machine);
        for step in 0..2 {
            handles.write_pictures(&mut *machine, step);
            execution(seed + step as u64).run(&mut *machine);
        }
        handles.state(&*machine)
    };
    let expected = run(|_| Execution::Arena, 0);
    assert!(expected.iter().all(|x| x.is_finite()));
    for seed in [1, 11] {
        assert_same_bits(&format!("{what}, checked, seed {seed}"), &run(Execution::Checked, seed), &expected);
        assert_same_bits(&format!("{what}, arena, seed {seed}"), &run(Execution::Shuffled, seed), &expected);
    }
}

/// Asserts that a preview after each step, which shares the arena, changes no bit of the training.
pub fn previews(options: &Pix2Pix, engine: Engine) {
    let train = |previews: bool| {
        let (program, handles) = state::record(options);
        let mut machine = arena(engine, program, CONTROL);
        handles.load(&mut *machine);
        for step in 0..3 {
            handles.write_pictures(&mut *machine, step);
            machine.execute();
            if previews {
                machine.execute_on_demand();
            }
        }
        handles.state(&*machine)
    };
    assert_same_bits("training with previews", &train(true), &train(false));
}

/// Asserts that steps of the program as recorded and as rewritten leave the same bits; returns the number of weight
/// gradients that Adam has been fused into. Moments are far from zero by the second step, and dropout draws anew in
/// each.
pub fn rewrites(what: &str, options: &Pix2Pix, engine: Engine, steps: usize) -> usize {
    let run = |rewrite: bool, execution: fn(u64) -> Execution| {
        let (program, handles) = state::record(options);
        let program = if rewrite { program.rewritten(PASSES) } else { program };
        let mut machine = execution(0).machine(engine, program, CONTROL);
        handles.load(&mut *machine);
        for step in 0..steps {
            handles.write_pictures(&mut *machine, step);
            execution(step as u64).run(&mut *machine);
        }
        handles.state(&*machine)
    };
    let recorded = run(false, |_| Execution::Arena);
    assert_same_bits(&format!("{what} on {engine:?}"), &run(true, |_| Execution::Arena), &recorded);
    assert_same_bits(&format!("{what} on {engine:?}, checked"), &run(true, Execution::Checked), &recorded);
    count(&state::record(options).0.rewritten(PASSES), "conv_wgrad_adam")
}

/// The number of steps of `program` called `name`.
pub fn count(program: &Program, name: &str) -> usize {
    program.steps().iter().filter(|recorded| recorded.step().name() == name).count()
}
