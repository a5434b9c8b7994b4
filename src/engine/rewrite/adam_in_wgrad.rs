//! Adam inside the weight gradient's step: a tile of the gradient is used while it is in the cache, and the gradient is
//! never written to memory as a whole.
//!
//! Condition, for a convolution's [`Wgrad`] and the [`Adam`] behind it that updates its weight:
//!
//! - the gradient has one writer, which overwrites, and Adam is its only reader: no other step, and not the host, which
//!   looks at gradients of a program as it was recorded;
//! - no step between the two touches the weight or its moments: the layer's own input gradient, which reads the old
//!   weight, has been computed by then;
//! - no step between the two moves the control values on, and the weight is updated once in an execution;
//! - Adam updates whole buffers, so that an offset means the same weight in all four.
//!
//! The rest of Adam's flat buffers (biases, gains, weights whose gradient gathers over several steps) is updated by
//! Adam as before, part by part. Its gradients move to a buffer of their own size, where every step that writes them
//! can be told so, and the flat gradient buffer is gone.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use crate::engine::access::Access;
use crate::engine::ops::adam::Adam;
use crate::engine::ops::conv::{Wgrad, WgradAdam};
use crate::engine::program::{Lifetime, Program, RecordedStep, Step, Touch};
use crate::engine::tensor::{BufferId, DType, Tensor};

/// Joins every weight gradient that meets the condition with its update.
pub fn apply(program: &mut Program) {
    let updates: Vec<usize> = (0..program.main).filter(|&index| as_a::<Adam>(program, index).is_some()).collect();
    // The last one first: each replaces its step by several, which moves those behind it.
    updates.into_iter().rev().for_each(|update| join(program, update));
}

fn as_a<S: Step>(program: &Program, index: usize) -> Option<&S> {
    let step: &dyn Any = &*program.steps[index].step;
    step.downcast_ref()
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
        program.steps[index] = RecordedStep::new(Arc::new(step));
    }
    let rest = rest(adam.parameters.count(), taken);
    let gradients = compact(program, update, adam.gradients, &rest);
    let mut offset = 0;
    let parts = rest.iter().map(|range| {
        let part = |flat: Tensor, start: usize| {
            let shape = [1, 1, 1, range.len()];
            Tensor { offset: flat.offset + start, shape, stride: range.len(), ..flat }
        };
        let gradients = match gradients {
            Some(compact) => part(compact, offset),
            None => part(adam.gradients, range.start),
        };
        offset += range.len();
        let [parameters, first, second] =
            [adam.parameters, adam.first, adam.second].map(|flat| part(flat, range.start));
        RecordedStep::new(Arc::new(Adam { parameters, gradients, first, second, options: adam.options }))
    });
    let parts: Vec<RecordedStep> = parts.collect();
    program.main = program.main + parts.len() - 1;
    program.steps.splice(update..=update, parts);
}

/// True if the weight gradient at `wgrad`, which writes `dw`, can take in the update at `update` as `joined`.
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

/// Moves the parts `rest` of the flat buffer of `gradients` to a new one, part behind part, and removes the old one.
/// `None`, with nothing changed, where a step that writes there cannot be told to write elsewhere.
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
        // It stays where it is, and so does the buffer.
        tensor
    };
    let touches_old = |accesses: &[Access]| {
        accesses.iter().filter_map(Access::tensor).any(|tensor| tensor.buffer == gradients.buffer)
    };
    let mut writers = Vec::new();
    for (index, recorded) in program.steps.iter().enumerate().filter(|&(index, _)| index != update) {
        if touches_old(&recorded.accesses) {
            let step = recorded.step.writing_to(&moved)?;
            // A tensor that it reads there cannot be moved.
            if touches_old(&step.accesses()) {
                return None;
            }
            writers.push((index, step));
        }
    }
    let compact = program.buffers.add(DType::F32, [1, 1, 1, length], Lifetime::Persistent);
    for (index, step) in writers {
        program.steps[index] = RecordedStep::new(step);
    }
    program.buffers.remove(gradients.buffer);
    Some(compact)
}
