//! Copies of what the host writes leave the training step: they are made when the host writes, and the bits are the
//! same.

use clap::ValueEnum;
use pixtape::engine::access::{Destination, WriteMode};
use pixtape::engine::ops::copy::{Copy, copy};
use pixtape::engine::program::Program;
use pixtape::engine::rewrite::PASSES;
use pixtape::engine::tape::Tape;
use pixtape::engine::tensor::Tensor;
use pixtape::gan::{Pix2Pix, Recipe, StepOrder};

use super::checks::count;
use super::state::{self, CONTROL};
use crate::support::compare::assert_same_bits;
use crate::support::machine::{Engine, Execution};
use crate::support::values::values;

/// A change of the program below: pictures are copied beside others, and the result is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Nothing,
    /// A step writes a part of the source.
    SourceWritten,
    /// It does so between two executions.
    SourceWrittenOnDemand,
    /// The source is made by a step.
    SourceTransient,
    /// The host may read or write the destination.
    DestinationPersistent,
    /// The destination is written once more.
    DestinationWritten,
    /// The copy adds to its destination, which the second copy has set.
    Accumulates,
    /// The copy is copied again.
    CopiedAgain,
}

/// The program, the tensors that the host writes, and the one that it reads.
fn toy(change: Change) -> (Program, [Tensor; 2], Tensor) {
    let mut tape = Tape::new();
    let [pictures, others] = [(); 2].map(|()| tape.persistent([4, 3, 5, 2]));
    let source = match change {
        Change::SourceTransient => {
            let made = tape.transient(pictures.shape);
            tape.push(Copy { from: others, to: Destination::overwrite(made) });
            // Two writers, so that the copy into it stays.
            copy(&mut tape, pictures.batch_slice(0..2), made.batch_slice(0..2));
            made
        }
        _ => pictures,
    };
    let both = match change {
        Change::DestinationPersistent => tape.persistent([4, 3, 5, 6]),
        _ => tape.transient([4, 3, 5, 6]),
    };
    // Of the second half, so that the host can write it alone.
    let (from, to) = (source.batch_slice(2..4), both.batch_slice(1..3).channel_slice(1..3));
    match change {
        Change::SourceWritten => copy(&mut tape, others.batch_slice(3..4), pictures.batch_slice(3..4)),
        Change::DestinationWritten | Change::Accumulates => copy(&mut tape, others.batch_slice(2..4), to),
        _ => {}
    }
    let mode = if change == Change::Accumulates { WriteMode::Accumulate } else { WriteMode::Overwrite };
    tape.push(Copy { from, to: Destination { tensor: to, mode } });
    let looked_at = match change {
        Change::CopiedAgain => {
            let again = tape.transient(to.shape);
            copy(&mut tape, to, again);
            again
        }
        _ => to,
    };
    let seen = tape.persistent(to.shape);
    copy(&mut tape, looked_at, seen);
    if change == Change::SourceWrittenOnDemand {
        tape.begin_on_demand();
        copy(&mut tape, others.batch_slice(3..4), pictures.batch_slice(3..4));
    }
    (tape.finish(), [pictures, others], seen)
}

#[test]
fn only_what_meets_the_condition_leaves_the_step() {
    for (change, gone) in [
        (Change::Nothing, 1),
        (Change::SourceWritten, 0),
        (Change::SourceWrittenOnDemand, 0),
        (Change::SourceTransient, 0),
        (Change::DestinationPersistent, 0),
        (Change::DestinationWritten, 0),
        (Change::Accumulates, 0),
        (Change::CopiedAgain, 1),
    ] {
        let copies = |program: &Program| count(program, "copy");
        let recorded = copies(&toy(change).0);
        assert_eq!(recorded - copies(&toy(change).0.rewritten(PASSES)), gone, "{change:?}");
        for execution in [Execution::Arena, Execution::Checked(1)] {
            let run = |rewrite: bool| {
                let (program, given, seen) = toy(change);
                let program = if rewrite { program.rewritten(PASSES) } else { program };
                let mut machine = execution.machine(Engine::F32, program, CONTROL);
                let mut found = Vec::new();
                let mut look = |machine: &mut dyn crate::support::machine::Machine| {
                    execution.run(machine);
                    found.extend(machine.read(seen));
                };
                // Before the host has written anything, behind whole tensors, behind parts, and once more.
                look(&mut *machine);
                for (tensor, name) in given.into_iter().zip(["pictures", "others"]) {
                    machine.write(tensor, &values(name, tensor.count(), 1.0));
                }
                look(&mut *machine);
                for part in [given[0].batch_slice(3..4), given[0].channel_slice(1..2), given[0].batch_slice(0..2)] {
                    machine.write(part, &values("part", part.count(), 1.0));
                    look(&mut *machine);
                }
                look(&mut *machine);
                found
            };
            assert_same_bits(&format!("{change:?}, {execution:?}"), &run(true), &run(false));
        }
    }
}

#[test]
fn no_training_step_only_copies() {
    for recipe in Recipe::value_variants() {
        let plain = Pix2Pix::with_size(*recipe, 64, 8, 0.5);
        for step_order in StepOrder::value_variants() {
            for (accumulate, scales, lambda_feature) in [(1, 1, 0.0), (3, 1, 0.0), (2, 2, 10.0)] {
                let options = Pix2Pix { step_order: *step_order, accumulate, scales, lambda_feature, ..plain };
                let (program, _) = state::record(&options);
                let rewritten = program.rewritten(PASSES);
                let main = &rewritten.steps()[..rewritten.main_steps()];
                let copies = main.iter().filter(|recorded| recorded.step().name() == "copy").count();
                assert_eq!(copies, 0, "{options:?}");
            }
        }
    }
}
