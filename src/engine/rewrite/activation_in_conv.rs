//! The rewrite that puts activations into the epilogues of convolutions: an activation without norm and dropout into
//! the convolution before it, and the gradient of such an activation into the convolution that computes its `dy`.
//!
//! Condition, for a convolution ([`Fprop`] or [`Dgrad`]) without an epilogue, and the [`NormActForward`] or
//! [`NormActGrad`] behind it:
//!
//! - the step behind reads what the convolution writes, this very tensor, and does nothing else than an activation;
//! - nothing else touches this tensor later on, or for the forward pass at all. Where the convolution adds to a
//!   gradient, what is there before is the epilogue's addend;
//! - no step between the two touches what the step behind writes, or writes what it reads.

use std::any::Any;
use std::sync::Arc;

use crate::engine::access::{Access, Destination};
use crate::engine::ops::conv::{Dgrad, Epilogue, Fprop};
use crate::engine::ops::norm_act::{NormActForward, NormActGrad};
use crate::engine::program::{Lifetime, Program, RecordedStep, Step, Touch};
use crate::engine::tensor::Tensor;

/// Puts every activation that meets the condition of this module into the epilogue of a convolution.
pub fn apply(program: &mut Program) {
    let mut conv = 0;
    while conv < program.main {
        if let Some((behind, step)) = (conv + 1..program.main).find_map(|b| Some((b, fused(program, conv, b)?))) {
            let layer = Arc::clone(&program.steps[conv].layer);
            program.steps[conv] = RecordedStep::new(step, layer);
            program.steps.remove(behind);
            program.main -= 1;
        }
        conv += 1;
    }
}

/// The result of a convolution without an epilogue; `None` for any other step.
fn result(step: &dyn Step) -> Option<Destination> {
    let any: &dyn Any = step;
    let (result, epilogue) = match (any.downcast_ref::<Fprop>(), any.downcast_ref::<Dgrad>()) {
        (Some(fprop), _) => (fprop.y, fprop.epilogue),
        (_, Some(dgrad)) => (dgrad.dx, dgrad.epilogue),
        _ => return None,
    };
    (epilogue == Epilogue::None).then_some(result)
}

/// The convolution `step` with an epilogue, writing to `to`.
fn with_epilogue(step: &dyn Step, to: Tensor, epilogue: Epilogue) -> Option<Arc<dyn Step>> {
    let (any, to): (&dyn Any, _) = (step, Destination::overwrite(to));
    match (any.downcast_ref::<Fprop>(), any.downcast_ref::<Dgrad>()) {
        (Some(fprop), _) => Some(Arc::new(Fprop { y: to, epilogue, ..*fprop })),
        (_, Some(dgrad)) => Some(Arc::new(Dgrad { dx: to, epilogue, ..*dgrad })),
        _ => None,
    }
}

/// The convolution at `conv` with the step at `behind` as its epilogue; `None` if the two do not meet the condition.
fn fused(program: &Program, conv: usize, behind: usize) -> Option<Arc<dyn Step>> {
    let steps = &program.steps;
    let result = result(&*steps[conv].step)?;
    let any: &dyn Any = &*steps[behind].step;
    let (to, epilogue, is_forward) = match (any.downcast_ref::<NormActForward>(), any.downcast_ref::<NormActGrad>()) {
        (Some(act), _) if act.x() == result.tensor && !result.accumulates() => (act.y(), act.as_epilogue()?, true),
        (_, Some(grad)) if grad.dy() == result.tensor => {
            let addend = result.accumulates().then_some(result.tensor);
            (grad.dx().tensor, grad.as_epilogue(addend)?, false)
        }
        _ => return None,
    };
    let touches = |index: usize, access: &Access| {
        let touch = Touch::new(access, &program.buffers);
        steps[index].accesses.iter().any(|other| Touch::new(other, &program.buffers).conflicts(&touch))
    };
    let unused = Access::Update(result.tensor);
    let is_transient = program.buffers.get(result.tensor.buffer).lifetime == Lifetime::Transient;
    let first = if is_forward { 0 } else { conv + 1 };
    let is_theirs = (first..steps.len()).all(|index| index == conv || index == behind || !touches(index, &unused));
    let between_leaves_alone =
        (conv + 1..behind).all(|index| !steps[behind].accesses.iter().any(|access| touches(index, access)));
    let is_met = is_transient && is_theirs && between_leaves_alone;
    is_met.then(|| with_epilogue(&*steps[conv].step, to, epilogue)).flatten()
}
