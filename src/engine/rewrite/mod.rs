//! Rewrites of a recorded program: other steps that compute the same bits in less time or memory.
//!
//! A [`Pass`] replaces the steps that meet its condition, which its file states. Programs are recorded without passes:
//! tests, reports and other devices see the plain program, and a pass is tested against it, to the bit.

mod activation_in_conv;
mod adam_in_wgrad;
mod adam_together;
mod batched_dgrads;
mod bias_grads_together;
mod copies_on_write;
mod losses_together;
mod skip_in_norm_act;
mod tanh_in_shuffle;

use std::any::Any;
use std::sync::Arc;

use super::access::Access;
use super::program::{Program, RecordedStep, Step, Touch};

/// A rewrite pass: a function that replaces steps of a program by others that compute the same bits, wherever its
/// condition holds.
pub type Pass = fn(&mut Program);

/// The rewrite passes in the order in which they are applied: copies of what the host writes leave the step, gradients
/// through the same layers become one batch, a level of the U-Net and its skip connection one step, activations become
/// epilogues of convolutions, the weight gradients of convolutions are fused with their Adam updates, the last layer's
/// pixel shuffle with its tanh, and what is left of Adam, the losses and the bias gradients are put together.
pub const PASSES: &[Pass] = &[
    copies_on_write::apply,
    batched_dgrads::apply,
    skip_in_norm_act::apply,
    activation_in_conv::apply,
    adam_in_wgrad::apply,
    tanh_in_shuffle::apply,
    losses_together::apply,
    bias_grads_together::apply,
    adam_together::apply,
];

impl Program {
    /// Applies the rewrite passes `passes` to the program, one after the other, and returns it.
    #[must_use]
    pub fn rewritten(mut self, passes: &[Pass]) -> Program {
        for pass in passes {
            pass(&mut self);
        }
        self
    }
}

/// The step at `index`, if it is an `S`.
fn as_a<S: Step>(program: &Program, index: usize) -> Option<&S> {
    let step: &dyn Any = &*program.steps[index].step;
    step.downcast_ref()
}

/// Puts `step` in the place of the one at `index`, in the same layer.
fn replace(program: &mut Program, index: usize, step: Arc<dyn Step>) {
    let layer = Arc::clone(&program.steps[index].layer);
    program.steps[index] = RecordedStep::new(step, layer);
}

/// The layer of the steps at `indices` if it is the same, else none.
fn layer_of(program: &Program, indices: &[usize]) -> Arc<str> {
    let mut layers = indices.iter().map(|&index| &program.steps[index].layer);
    let first = layers.next().cloned().unwrap_or_default();
    if layers.all(|layer| *layer == first) { first } else { Arc::default() }
}

/// True if the step at `index` may be a part of one step with those at `members`: it neither writes a span of memory
/// that they access, nor accesses one that they write.
fn can_join(program: &Program, index: usize, members: &[usize]) -> bool {
    let is_apart = |access: &Access, other: &Access| {
        let apart = match (access.tensor(), other.tensor()) {
            (Some(a), Some(b)) => {
                let (a, b) = (a.span(), b.span());
                a.end <= b.start || b.end <= a.start
            }
            (one, other) => one.is_some() || other.is_some(),
        };
        let buffer = |access: &Access| access.tensor().map(|tensor| tensor.buffer);
        apart || buffer(access) != buffer(other) || !(access.writes() || other.writes())
    };
    let others = || members.iter().flat_map(|&member| &program.steps[member].accesses);
    program.steps[index].accesses.iter().all(|access| others().all(|other| is_apart(access, other)))
}

/// Removes the step at `index`.
fn remove(program: &mut Program, index: usize) {
    program.steps.remove(index);
    program.main -= usize::from(index < program.main);
}

/// True if the step at `from` may run where the one at `to` stands: its order with each of the steps between the two
/// does not matter, those at `others` left out.
fn can_move(program: &Program, from: usize, to: usize, others: &[usize]) -> bool {
    let touches =
        |index: usize| program.steps[index].accesses.iter().map(|access| Touch::new(access, &program.buffers));
    let moved: Vec<Touch> = touches(from).collect();
    let mut between = (from.min(to) + 1..from.max(to)).filter(|index| !others.contains(index));
    between.all(|index| !touches(index).any(|touch| moved.iter().any(|other| touch.conflicts(other))))
}
