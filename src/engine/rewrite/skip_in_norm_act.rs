//! The rewrite that has one step write what a level of the U-Net passes on and what its skip connection carries, where
//! that is another activation of it, and one step take both gradients back.
//!
//! Condition, for a [`NormActForward`] and another behind it that is a mere activation of its output:
//!
//! - there is no dropout;
//! - no step between the two accesses what the second writes.
//!
//! Condition, for the gradient of that activation and the [`NormActGrad`] of the first behind it:
//!
//! - the first adds to the gradient that the second reads, and no other step touches this gradient behind it;
//! - no step between the two writes what the first reads.

use std::sync::Arc;

use super::{as_a, can_move, remove, replace};
use crate::engine::access::{Access, Destination};
use crate::engine::ops::norm_act::{NormActForward, NormActGrad};
use crate::engine::program::{Lifetime, Program, Touch};
use crate::engine::tensor::Tensor;

/// Joins every two steps of the main part that meet the condition of this module, and their gradients.
pub fn apply(program: &mut Program) {
    let mut index = 0;
    while index < program.main {
        if let Some(forward) = join(program, index) {
            join_gradients(program, &forward);
        }
        index += 1;
    }
}

/// Joins the step at `index` with the activation behind it, and returns the step that does the work of both.
fn join(program: &mut Program, index: usize) -> Option<NormActForward> {
    let first = as_a::<NormActForward>(program, index)?;
    let behind = (index + 1..program.main)
        .filter(|&behind| can_move(program, behind, index, &[]))
        .find_map(|behind| Some((behind, first.with_skip(as_a::<NormActForward>(program, behind)?)?)));
    let (behind, joined) = behind?;
    replace(program, index, Arc::new(joined));
    remove(program, behind);
    Some(joined)
}

/// Joins the gradients of `forward` and of its second output.
fn join_gradients(program: &mut Program, forward: &NormActForward) {
    let found = (0..program.main).find_map(|second| {
        let grad = as_a::<NormActGrad>(program, second)?;
        (0..second).find_map(|first| {
            let joined = grad.with_skip(as_a::<NormActGrad>(program, first)?, forward)?;
            let is_theirs = is_left_alone(program, grad.dy(), first, second);
            (is_theirs && can_move(program, first, second, &[])).then_some((first, second, joined))
        })
    });
    if let Some((first, second, joined)) = found {
        replace(program, second, Arc::new(joined));
        remove(program, first);
    }
}

/// True if no step behind `first` touches `gradient`, that at `second` aside, and the host does not read it.
fn is_left_alone(program: &Program, gradient: Tensor, first: usize, second: usize) -> bool {
    let touch = Touch::new(&Destination::overwrite(gradient).access(), &program.buffers);
    let touches = |access: &Access| Touch::new(access, &program.buffers).conflicts(&touch);
    let is_transient = program.buffers.get(gradient.buffer).lifetime == Lifetime::Transient;
    let mut others = (first + 1..program.steps.len()).filter(|&index| index != second);
    is_transient && !others.any(|index| program.steps[index].accesses.iter().any(touches))
}
