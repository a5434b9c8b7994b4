//! The rewrite that computes several gradients through the same layers in one batch: of the adversarial loss, of which
//! the generator learns, and of the losses by which the discriminator learns.
//!
//! Two input gradients become one, with the images of both, if
//!
//! - both are of one weight ([`Dgrad`]), or of the same activations, of which the first has the first images
//!   ([`NormActGrad`]); and both overwrite their destinations;
//! - the second, with the steps between the two that it depends on, does not depend on the first, and none of them
//!   is a forward step, whose values would have to be kept for longer;
//! - the gradients that they read and write lie in transient buffers whose other users support [`Step::moved`]: they
//!   move to buffers with the images of both.
//!
//! An image's gradient has the same bits in every batch.

use std::sync::Arc;

use super::as_a;
use crate::engine::access::{Access, Destination};
use crate::engine::ops::conv::{Dgrad, Epilogue};
use crate::engine::ops::norm_act::NormActGrad;
use crate::engine::program::{Lifetime, Program, RecordedStep, Step, Touch};
use crate::engine::tensor::Tensor;

/// Computes input gradients that meet the condition of this module in one batch.
pub fn apply(program: &mut Program) {
    let mut first = 0;
    while first < program.main {
        // The steps behind a pair that has been joined move, so the next pair is looked for again.
        if !(first + 1..program.main).any(|second| join(program, first, second)) {
            first += 1;
        }
    }
}

/// A gradient that a step reads, and the one that it writes.
type Flow = [Tensor; 2];

/// The gradients of the step at `index`, if it can be joined with another.
fn flow(program: &Program, index: usize) -> Option<Flow> {
    if let Some(dgrad) = as_a::<Dgrad>(program, index) {
        let is_plain = dgrad.bias.is_none() && dgrad.epilogue == Epilogue::None && !dgrad.dx.accumulates();
        return is_plain.then_some([dgrad.dy, dgrad.dx.tensor]);
    }
    as_a::<NormActGrad>(program, index).map(|grad| [grad.dy(), grad.dx().tensor])
}

/// The step that does the work of those at `long` and `short`, on gradients `[dy, dx]` that have the images of the
/// first, then those of the second. `None` if these are not gradients through one layer.
fn joined(program: &Program, long: usize, short: usize, [dy, dx]: Flow) -> Option<Arc<dyn Step>> {
    if let (Some(long), Some(short)) = (as_a::<Dgrad>(program, long), as_a::<Dgrad>(program, short)) {
        let is_same = long.weight == short.weight && long.geometry == short.geometry;
        return is_same.then(|| Arc::new(Dgrad { dy, dx: Destination::overwrite(dx), ..*long }) as Arc<dyn Step>);
    }
    let (long, short) = (as_a::<NormActGrad>(program, long)?, as_a::<NormActGrad>(program, short)?);
    Some(Arc::new(long.batched(short, dy, dx)?))
}

/// Joins the steps at `first` and `second` if they meet the condition. Returns true if it has.
fn join(program: &mut Program, first: usize, second: usize) -> bool {
    let (Some(of_first), Some(of_second)) = (flow(program, first), flow(program, second)) else { return false };
    // The images of the longer batch come first.
    let is_first_long = of_first[0].shape[0] > of_second[0].shape[0];
    let (long, short) = if is_first_long { (first, second) } else { (second, first) };
    let (of_long, of_short) = if is_first_long { (of_first, of_second) } else { (of_second, of_first) };
    if joined(program, long, short, of_long).is_none() {
        return false;
    }
    let Some(moving) = moving(program, first, second) else { return false };
    if !(0..2).all(|side| are_joinable(program, of_long[side], of_short[side])) {
        return false;
    }
    let both = [0, 1].map(|side| join_tensors(program, of_long[side], of_short[side]));
    let step = joined(program, long, short, both).expect("the gradients do not matter to the condition");

    let layer = Arc::clone(&program.steps[first].layer);
    let mut window: Vec<Option<RecordedStep>> = program.steps.drain(first..=second).map(Some).collect();
    let mut ordered: Vec<RecordedStep> = moving.iter().filter_map(|&index| window[index - first].take()).collect();
    ordered.push(RecordedStep::new(step, layer));
    // The two steps themselves have been replaced.
    let last = window.len() - 1;
    ordered.extend(window.drain(1..last).flatten());
    program.main -= 1;
    program.steps.splice(first..first, ordered);
    true
}

/// The steps between `first` and `second` that the one at `second` depends on, in order; they and it can be executed
/// before `first`. `None` if they depend on it, or one is a forward step.
fn moving(program: &Program, first: usize, second: usize) -> Option<Vec<usize>> {
    let touches =
        |index: usize| program.steps[index].accesses.iter().map(|access| Touch::new(access, &program.buffers));
    let conflict = |a: usize, b: usize| touches(a).any(|a| touches(b).any(|b| a.conflicts(&b)));
    let (mut moving, mut needed) = (Vec::new(), vec![second]);
    for index in (first..second).rev() {
        if needed.iter().any(|&later| conflict(index, later)) {
            if index == first || program.steps[index].step.rule().is_some() {
                return None;
            }
            moving.push(index);
            needed.push(index);
        }
    }
    moving.reverse();
    Some(moving)
}

/// True if the images of `short` follow those of `long` in one buffer, or both can be moved there.
fn are_joinable(program: &Program, long: Tensor, short: Tensor) -> bool {
    if long.buffer == short.buffer {
        return follows(long, short);
    }
    let is_whole = |tensor: Tensor| {
        let buffer = program.buffers.get(tensor.buffer);
        let is_batch = tensor.offset == 0 && tensor.shape[1..] == buffer.shape[1..];
        // Other images of the buffer, which are not moved, are not used.
        let is_inside = |access: &Access| access.tensor().is_none_or(|other| other.span().end <= tensor.span().end);
        is_batch
            && buffer.lifetime == Lifetime::Transient
            && uses(program, tensor).all(|(step, accesses)| {
                step.moved(&|tensor| tensor).is_some()
                    && accesses
                        .iter()
                        .filter(|access| access.tensor().is_some_and(|t| t.buffer == tensor.buffer))
                        .all(is_inside)
            })
    };
    long.dtype == short.dtype && long.shape[1..] == short.shape[1..] && [long, short].into_iter().all(is_whole)
}

/// The steps that use the buffer of `tensor`.
fn uses(program: &Program, tensor: Tensor) -> impl Iterator<Item = (&dyn Step, &[Access])> {
    let steps = program.steps.iter().map(|recorded| (&*recorded.step, &*recorded.accesses));
    steps.filter(move |(_, accesses)| accesses.iter().any(|a| a.tensor().is_some_and(|t| t.buffer == tensor.buffer)))
}

/// True if the images of `short` follow those of `long` in memory.
fn follows(long: Tensor, short: Tensor) -> bool {
    short.stride == long.stride && short.offset == long.offset + long.pixels() * long.stride
}

/// A tensor with the images of `long`, then those of `short`, which [`are_joinable`]: in one buffer already, or moved
/// to a new one.
fn join_tensors(program: &mut Program, long: Tensor, short: Tensor) -> Tensor {
    let [images, height, width, channels] = long.shape;
    let shape = [images + short.shape[0], height, width, channels];
    if long.buffer == short.buffer {
        return Tensor { shape, ..long };
    }
    let both = program.buffers.add(long.dtype, shape, Lifetime::Transient);
    let moved = |tensor: Tensor| match tensor.buffer {
        buffer if buffer == long.buffer => Tensor { buffer: both.buffer, ..tensor },
        buffer if buffer == short.buffer => {
            Tensor { buffer: both.buffer, offset: tensor.offset + long.pixels() * long.stride, ..tensor }
        }
        _ => tensor,
    };
    for recorded in &mut program.steps {
        if recorded.accesses.iter().filter_map(Access::tensor).any(|tensor| moved(tensor) != tensor) {
            let step = recorded.step.moved(&moved).expect("only steps that can be moved use the buffers");
            *recorded = RecordedStep::new(step, Arc::clone(&recorded.layer));
        }
    }
    [long, short].into_iter().for_each(|old| program.buffers.remove(old.buffer));
    both
}
