//! The rewrite that joins the pixel shuffle of the generator's last layer with the tanh behind it, and their gradients
//! likewise: the picture in front of the tanh is never in memory, and its gradient is written as it is computed.
//!
//! Condition, for a [`Shuffle`] and the tanh that reads its whole output:
//!
//! - the output is in a transient buffer, so that the host does not read it, and no other step accesses it;
//! - no step between the two writes what the shuffle reads.
//!
//! Condition, for the gradient of a tanh and the [`ShuffleGrad`] that reads it:
//!
//! - the gradient of the tanh overwrites its destination, which still is written: the gradient of the bias reads it;
//! - no step between the two accesses what the shuffle's gradient writes, or writes what it reads.

use std::sync::Arc;

use super::{as_a, can_move, remove, replace};
use crate::engine::access::Access;
use crate::engine::ops::activation::{Activation, ActivationGrad, Function};
use crate::engine::ops::upsample::{Shuffle, ShuffleGrad, ShuffleTanh, ShuffleTanhGrad};
use crate::engine::program::{Lifetime, Program, Touch};
use crate::engine::tensor::{BufferId, Tensor};

/// Replaces every pixel shuffle and tanh that meet the condition of this module by one [`ShuffleTanh`], and every two
/// of their gradients by one [`ShuffleTanhGrad`].
pub fn apply(program: &mut Program) {
    // Last first: a step that is removed moves those behind it.
    for index in (0..program.steps.len()).rev() {
        join_forward(program, index);
    }
    for index in (0..program.steps.len()).rev() {
        join_backward(program, index);
    }
}

/// Joins the shuffle at `index`, if there is one, with its tanh.
fn join_forward(program: &mut Program, index: usize) {
    let Some(&Shuffle { x, bias, y: shuffled }) = as_a::<Shuffle>(program, index) else { return };
    let found = behind(program, index).find_map(|tanh| match *as_a::<Activation>(program, tanh)? {
        Activation { function: Function::Tanh, x, y } if x == shuffled => Some((tanh, y)),
        _ => None,
    });
    let Some((tanh, y)) = found else { return };
    let touch = Touch::new(&Access::Update(shuffled), &program.buffers);
    let is_theirs = program.steps.iter().enumerate().all(|(other, step)| {
        let conflicts = |access| Touch::new(access, &program.buffers).conflicts(&touch);
        other == index || other == tanh || !step.accesses.iter().any(conflicts)
    });
    let is_transient = program.buffers.get(shuffled.buffer).lifetime == Lifetime::Transient;
    if is_theirs && is_transient && can_move(program, index, tanh, &[]) {
        replace(program, tanh, Arc::new(ShuffleTanh { x, bias, y }));
        remove(program, index);
        if !accesses(program, shuffled.buffer) {
            program.buffers.remove(shuffled.buffer);
        }
    }
}

/// Joins the gradient of a tanh at `index`, if there is one, with that of the shuffle in front of it.
fn join_backward(program: &mut Program, index: usize) {
    let Some(&ActivationGrad { function: Function::Tanh, y, dy, dx: dshuffled }) = as_a(program, index) else { return };
    let found = behind(program, index).find_map(|shuffle| match *as_a::<ShuffleGrad>(program, shuffle)? {
        ShuffleGrad { dy, dx } if dy == dshuffled.tensor => Some((shuffle, dx)),
        _ => None,
    });
    let Some((shuffle, dx)) = found else { return };
    if !dshuffled.accumulates() && can_move(program, shuffle, index, &[index]) {
        let dshuffled: Tensor = dshuffled.tensor;
        replace(program, index, Arc::new(ShuffleTanhGrad { y, dy, dshuffled, dx }));
        remove(program, shuffle);
    }
}

/// The steps behind `index` in the same part of the program, the main one or that on demand.
fn behind(program: &Program, index: usize) -> std::ops::Range<usize> {
    index + 1..if index < program.main { program.main } else { program.steps.len() }
}

/// True if a step accesses the buffer.
fn accesses(program: &Program, buffer: BufferId) -> bool {
    let tensors = program.steps.iter().flat_map(|step| &step.accesses).filter_map(Access::tensor);
    tensors.into_iter().any(|tensor| tensor.buffer == buffer)
}
