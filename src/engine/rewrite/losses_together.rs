//! The rewrite that computes several losses in one step: each is little work, and a launch takes longer.
//!
//! Condition, for [`LossGrad`] steps of the main part, of other criteria than SSIM, and for the first of them, in whose
//! place they are put:
//!
//! - no other step between that place and a loss writes what the loss reads, or accesses what it writes: its value and
//!   its gradient. The losses of a discriminator are recorded behind the generator's backward pass, of which they use
//!   nothing;
//! - no two of them write the same memory, and none reads what another writes;
//! - there are at most as many as the argument of the kernel has room for.
//!
//! Losses that stand side by side are joined first, and moved together or not at all.

use std::sync::Arc;

use super::{as_a, can_join, can_move, layer_of, remove};
use crate::engine::ops::loss::{LossGrad, Losses, MAX_LOSSES};
use crate::engine::program::{Program, RecordedStep};

/// Replaces all losses that meet the condition of this module by [`Losses`].
pub fn apply(program: &mut Program) {
    join(program, |first, index| index == first + 1);
    join(program, |_, _| true);
}

/// Joins every loss step with those behind it that meet the condition, and for which `is_candidate(first, index)` is
/// true, of their indices.
fn join(program: &mut Program, is_candidate: impl Fn(usize, usize) -> bool) {
    let mut first = 0;
    while first < program.main {
        let mut index = first + 1;
        while index < program.main && losses(program, first).is_some() {
            match joined(program, first, index).filter(|_| is_candidate(first, index)) {
                Some(step) => {
                    program.steps[first] = step;
                    remove(program, index);
                }
                None => index += 1,
            }
        }
        first += 1;
    }
}

/// The losses of the step at `index`, if it is one of losses that can be joined.
fn losses(program: &Program, index: usize) -> Option<Vec<LossGrad>> {
    match as_a::<Losses>(program, index) {
        Some(Losses { losses }) => Some(losses.clone()),
        None => as_a::<LossGrad>(program, index).filter(|loss| loss.is_by_element()).map(|&loss| vec![loss]),
    }
}

/// The step that computes the losses of the step at `index` and of an earlier one, at `first`, if they meet the
/// condition.
fn joined(program: &Program, first: usize, index: usize) -> Option<RecordedStep> {
    let losses = [losses(program, first)?, losses(program, index)?].concat();
    let meets =
        losses.len() <= MAX_LOSSES && can_join(program, index, &[first]) && can_move(program, index, first, &[first]);
    let layer = layer_of(program, &[first, index]);
    meets.then(|| RecordedStep::new(Arc::new(Losses { losses }), layer))
}
