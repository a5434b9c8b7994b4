//! The rewrite that joins a weight gradient with its Adam update: a tile of the gradient is used while it is in the
//! cache, and the whole gradient is never in memory.
//!
//! Condition, for a convolution's [`Wgrad`] and the [`Adam`] behind it that updates its weight:
//!
//! - the gradient has one writer, which overwrites, and one reader, Adam. The host reads gradients only of a program
//!   without this rewrite;
//! - no step between the two touches the weight or its moments: the layer's own input gradient, which reads the old
//!   weight, has been computed by then;
//! - no step between the two writes the control values, and the weight is updated once in an execution;
//! - Adam updates whole buffers, so that an offset means the same weight in all four.
//!
//! The rest of Adam's flat buffers (biases, gains, weights whose gradient gathers over several steps) is updated by one
//! Adam step for each contiguous range. If every step that touches their gradients supports [`Step::moved`], these move
//! to a buffer that has only them, and the flat gradient buffer is removed.

use std::ops::Range;
use std::sync::Arc;

use super::{as_a, replace};
use crate::engine::access::Access;
use crate::engine::ops::adam::Adam;
use crate::engine::ops::conv::{Wgrad, WgradAdam};
use crate::engine::program::{Lifetime, Program, RecordedStep, Touch};
use crate::engine::tensor::{BufferId, DType, Tensor};

/// Replaces every weight gradient of a convolution that meets the condition of this module, and its part of the Adam
/// update, by one [`WgradAdam`] step.
pub fn apply(program: &mut Program) {
    let updates: Vec<usize> = (0..program.main).filter(|&index| as_a::<Adam>(program, index).is_some()).collect();
    // Last first: each update is replaced by several, which moves the steps after it.
    updates.into_iter().rev().for_each(|update| join(program, update));
}

/// Joins the Adam at `update` with the weight gradients that meet the condition.
fn join(program: &mut Program, update: usize) {
    let Some(&adam) = as_a::<Adam>(program, update) else { return };
    let is_whole = |flat: Tensor| flat.offset == 0 && flat.count() == program.buffers.get(flat.buffer).count();
    if ![adam.parameters, adam.gradients, adam.first, adam.second].into_iter().all(is_whole) {
        return;
    }
    let joined: Vec<(usize, WgradAdam)> = (0..update)
        .filter_map(|index| {
            let &Wgrad { x, dy, dw, geometry } = as_a::<Wgrad>(program, index)?;
            let at_dw = |flat: Tensor| Tensor { buffer: flat.buffer, ..dw.tensor };
            let [weight, first, second] = [adam.parameters, adam.first, adam.second].map(at_dw);
            let step = WgradAdam { x, dy, weight, first, second, geometry, options: adam.options };
            (!dw.accumulates() && meets_condition(program, index, update, dw.tensor, &step)).then_some((index, step))
        })
        .collect();
    if joined.is_empty() {
        return;
    }
    let taken: Vec<Range<usize>> = joined.iter().map(|(_, step)| step.weight.span()).collect();
    for (index, step) in joined {
        replace(program, index, Arc::new(step));
    }
    let rest = rest(adam.parameters.count(), taken);
    let gradients = compact(program, update, adam.gradients, &rest);
    let mut offset = 0;
    let updates = rest.iter().map(|range| {
        let slice = |flat: Tensor, start: usize| {
            let shape = [1, 1, 1, range.len()];
            Tensor { offset: flat.offset + start, shape, stride: range.len(), ..flat }
        };
        let gradients = match gradients {
            Some(compact) => slice(compact, offset),
            None => slice(adam.gradients, range.start),
        };
        offset += range.len();
        let [parameters, first, second] =
            [adam.parameters, adam.first, adam.second].map(|flat| slice(flat, range.start));
        let adam = Adam { parameters, gradients, first, second, options: adam.options };
        RecordedStep::new(Arc::new(adam), Arc::clone(&program.steps[update].layer))
    });
    let updates: Vec<RecordedStep> = updates.collect();
    program.main = program.main + updates.len() - 1;
    program.steps.splice(update..=update, updates);
}

/// True if the step `joined` may replace the weight gradient at `wgrad`, which writes `dw`, and its part of the update
/// at `update`.
fn meets_condition(program: &Program, wgrad: usize, update: usize, dw: Tensor, joined: &WgradAdam) -> bool {
    let Some(adam) = as_a::<Adam>(program, update) else { return false };
    if dw.buffer != adam.gradients.buffer {
        return false;
    }
    let touches = |index: usize, access: Access| {
        let touch = Touch::new(&access, &program.buffers);
        program.steps[index].accesses.iter().any(|other| Touch::new(other, &program.buffers).conflicts(&touch))
    };
    let gradient_is_theirs =
        (0..program.steps.len()).all(|index| index == wgrad || index == update || !touches(index, Access::Update(dw)));
    let state = [joined.weight, joined.first, joined.second].map(Access::Update);
    let between_leaves_alone = (wgrad + 1..update)
        .all(|index| !state.iter().any(|&access| touches(index, access)) && !touches(index, Access::ReadControl));
    let updated_once = (0..program.main).filter(|&index| as_a::<Adam>(program, index).is_some()).all(|index| {
        index == update
            || as_a::<Adam>(program, index).is_some_and(|other| other.parameters.buffer != adam.parameters.buffer)
    });
    gradient_is_theirs && between_leaves_alone && updated_once
}

/// The ranges of `0..count` that are not in `taken`, in order.
fn rest(count: usize, mut taken: Vec<Range<usize>>) -> Vec<Range<usize>> {
    taken.sort_unstable_by_key(|range| range.start);
    let starts = [0].into_iter().chain(taken.iter().map(|range| range.end));
    let ends = taken.iter().map(|range| range.start).chain([count]);
    starts.zip(ends).map(|(start, end)| start..end).filter(|range| !range.is_empty()).collect()
}

/// Moves the ranges `rest` of the flat buffer of `gradients` to a new buffer without gaps, and removes the old one.
/// `None`, with nothing changed, if a step that touches it does not support [`Step::moved`].
fn compact(program: &mut Program, update: usize, gradients: Tensor, rest: &[Range<usize>]) -> Option<Tensor> {
    let length = rest.iter().map(Range::len).sum();
    let next = BufferId(program.buffers.len());
    let moved = |tensor: Tensor| {
        if tensor.buffer != gradients.buffer {
            return tensor;
        }
        let mut start = 0;
        for range in rest {
            if range.start <= tensor.offset && tensor.offset < range.end {
                return Tensor { buffer: next, offset: start + tensor.offset - range.start, ..tensor };
            }
            start += range.len();
        }
        // Outside of `rest`: not moved, so the old buffer stays too.
        tensor
    };
    let touches_old = |accesses: &[Access]| {
        accesses.iter().filter_map(Access::tensor).any(|tensor| tensor.buffer == gradients.buffer)
    };
    let mut writers = Vec::new();
    for (index, recorded) in program.steps.iter().enumerate().filter(|&(index, _)| index != update) {
        if touches_old(&recorded.accesses) {
            let step = recorded.step.moved(&moved)?;
            // A tensor outside of `rest` stays.
            if touches_old(&step.accesses()) {
                return None;
            }
            writers.push((index, step));
        }
    }
    let compact = program.buffers.add(DType::F32, [1, 1, 1, length], Lifetime::Persistent);
    for (index, step) in writers {
        replace(program, index, step);
    }
    program.buffers.remove(gradients.buffer);
    Some(compact)
}
