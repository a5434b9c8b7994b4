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

use std::sync::Arc;

use super::{as_a, can_move, remove, replace};
use crate::engine::access::{Access, Destination};
use crate::engine::ops::conv::{Dgrad, Epilogue, Fprop};
use crate::engine::ops::norm_act::{NormActForward, NormActGrad};
use crate::engine::program::{Lifetime, Program, Step, Touch};

/// Puts every activation that meets the condition of this module into the epilogue of a convolution.
pub fn apply(program: &mut Program) {
    let mut conv = 0;
    while conv < program.main {
        if let Some((behind, step)) = (conv + 1..program.main).find_map(|b| Some((b, fused(program, conv, b)?))) {
            replace(program, conv, step);
            remove(program, behind);
        }
        conv += 1;
    }
}

/// The result of the convolution at `index`, if there is one without an epilogue.
fn result(program: &Program, index: usize) -> Option<Destination> {
    let fprop = as_a::<Fprop>(program, index).map(|fprop| (fprop.y, fprop.epilogue));
    let (result, epilogue) = fprop.or_else(|| as_a::<Dgrad>(program, index).map(|dgrad| (dgrad.dx, dgrad.epilogue)))?;
    (epilogue == Epilogue::None).then_some(result)
}

/// The convolution at `conv` with the step at `behind` as its epilogue; `None` if the two do not meet the condition.
fn fused(program: &Program, conv: usize, behind: usize) -> Option<Arc<dyn Step>> {
    let result = result(program, conv)?;
    let forward = as_a::<NormActForward>(program, behind);
    let (to, epilogue) = match (forward, as_a::<NormActGrad>(program, behind)) {
        (Some(act), _) if act.x() == result.tensor && !result.accumulates() => (act.y(), act.as_epilogue()?),
        (_, Some(grad)) if grad.dy() == result.tensor => {
            let addend = result.accumulates().then_some(result.tensor);
            (grad.dx().tensor, grad.as_epilogue(addend)?)
        }
        _ => return None,
    };
    let touch = Touch::new(&Access::Update(result.tensor), &program.buffers);
    let touches = |index: usize| {
        program.steps[index].accesses.iter().any(|access| Touch::new(access, &program.buffers).conflicts(&touch))
    };
    let is_transient = program.buffers.get(result.tensor.buffer).lifetime == Lifetime::Transient;
    let first = if forward.is_some() { 0 } else { conv + 1 };
    let is_theirs = (first..program.steps.len()).all(|index| index == conv || index == behind || !touches(index));
    if !(is_transient && is_theirs && can_move(program, behind, conv, &[])) {
        return None;
    }
    let to = Destination::overwrite(to);
    let fprop =
        as_a::<Fprop>(program, conv).map(|fprop| Arc::new(Fprop { y: to, epilogue, ..*fprop }) as Arc<dyn Step>);
    fprop.or_else(|| {
        as_a::<Dgrad>(program, conv).map(|dgrad| Arc::new(Dgrad { dx: to, epilogue, ..*dgrad }) as Arc<dyn Step>)
    })
}
