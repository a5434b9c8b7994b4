//! The rewrite that updates several ranges of parameters by Adam in one step, and the step number with them: what is
//! left of Adam behind [`adam_in_wgrad`](super::adam_in_wgrad) is short, and a launch takes longer than its work.
//!
//! Condition, for [`Adam`] steps of the main part, and for the [`Advance`] or the Adam step behind them in whose place
//! they are put:
//!
//! - no other step between an Adam step and that place reads what it writes, or writes what it accesses: parameters,
//!   gradients, moments and the control values;
//! - no two of them update the same memory, and all have the same hyperparameters;
//! - there are at most as many as the argument of the kernel has room for.

use std::sync::Arc;

use super::{as_a, can_join, can_move, layer_of, remove};
use crate::engine::ops::adam::{Adam, AdamRanges, Advance, MAX_RANGES};
use crate::engine::program::{Program, RecordedStep};

/// Replaces all Adam steps that meet the condition of this module, and the step that advances the step number, by
/// [`AdamRanges`].
pub fn apply(program: &mut Program) {
    // Last first: as many updates as possible go to the end, and steps in front keep their indices.
    let mut last = program.main;
    while last > 0 {
        last -= 1;
        let advances = as_a::<Advance>(program, last).is_some();
        if !advances && as_a::<Adam>(program, last).is_none() {
            continue;
        }
        let updates = updates(program, last);
        if updates.len() + usize::from(advances) < 2 {
            continue;
        }
        let layer = layer_of(program, &updates);
        let adams = updates.iter().filter_map(|&index| as_a::<Adam>(program, index).copied()).collect();
        let step = RecordedStep::new(Arc::new(AdamRanges { updates: adams, advances }), layer);
        program.steps[last] = step;
        let others: Vec<usize> = updates.into_iter().filter(|&index| index != last).collect();
        others.iter().rev().for_each(|&index| remove(program, index));
        last -= others.len();
    }
}

/// The Adam steps that may be put in the place of the one at `last`, which is among them if it is one, in recorded
/// order.
fn updates(program: &Program, last: usize) -> Vec<usize> {
    let mut found: Vec<usize> = as_a::<Adam>(program, last).map(|_| last).into_iter().collect();
    for index in (0..last).rev() {
        let Some(adam) = as_a::<Adam>(program, index) else { continue };
        let alike = found.first().and_then(|&first| as_a::<Adam>(program, first));
        let fits = found.len() < MAX_RANGES && alike.is_none_or(|first| first.options == adam.options);
        // The kernel advances the step number when all updates have read it.
        let others: Vec<usize> = found.iter().copied().chain([last]).collect();
        if fits && can_join(program, index, &found) && can_move(program, index, last, &others) {
            found.push(index);
        }
    }
    found.reverse();
    found
}
