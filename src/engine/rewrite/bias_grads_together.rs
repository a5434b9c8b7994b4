//! The rewrite that computes several bias gradients in one step: each is little work, and a launch takes longer.
//!
//! Condition, for [`BiasGrad`] steps of the main part, and for the last of them, in whose place they are put:
//!
//! - no other step between a gradient and that place writes what the gradient reads, or accesses what it writes: it is
//!   used by an update alone, which comes behind the whole backward pass;
//! - no two of them write the same memory, and none reads what another writes;
//! - there are at most as many as the argument of the kernel has room for.

use std::sync::Arc;

use super::{as_a, can_join, can_move, layer_of, remove};
use crate::engine::ops::conv::{BiasGrad, BiasGrads, MAX_BIAS_GRADS};
use crate::engine::program::{Program, RecordedStep};

/// Replaces all bias gradients that meet the condition of this module by [`BiasGrads`].
pub fn apply(program: &mut Program) {
    // Last first: as many gradients as possible go to the end, and steps in front keep their indices.
    let mut last = program.main;
    while last > 0 {
        last -= 1;
        let members = members(program, last);
        if members.len() < 2 {
            continue;
        }
        let layer = layer_of(program, &members);
        let grads = members.iter().filter_map(|&index| as_a::<BiasGrad>(program, index).copied()).collect();
        program.steps[last] = RecordedStep::new(Arc::new(BiasGrads { grads }), layer);
        let others = &members[..members.len() - 1];
        others.iter().rev().for_each(|&index| remove(program, index));
        last -= others.len();
    }
}

/// The bias gradients that may be put in the place of the one at `last`, which is among them, in recorded order; none
/// if that is another step.
fn members(program: &Program, last: usize) -> Vec<usize> {
    let mut found: Vec<usize> = as_a::<BiasGrad>(program, last).map(|_| last).into_iter().collect();
    for index in (0..last).rev() {
        let is_free = (1..MAX_BIAS_GRADS).contains(&found.len()) && as_a::<BiasGrad>(program, index).is_some();
        if is_free && can_join(program, index, &found) && can_move(program, index, last, &found) {
            found.push(index);
        }
    }
    found.reverse();
    found
}
