//! Rewrites of a recorded program: other steps that compute the same bits in less time or memory.
//!
//! A [`Pass`] replaces the steps that meet its condition, which its file states. Programs are recorded without passes:
//! tests, reports and other devices see the plain program, and a pass is tested against it, to the bit.

mod adam_in_wgrad;
mod copies_on_write;

use std::any::Any;
use std::sync::Arc;

use super::program::{Program, RecordedStep, Step};

/// A rewrite pass: a function that replaces steps of a program by others that compute the same bits, wherever its
/// condition holds.
pub type Pass = fn(&mut Program);

/// The rewrite passes in the order in which they are applied: copies of what the host writes leave the step, and the
/// weight gradients of convolutions are fused with their Adam updates.
pub const PASSES: &[Pass] = &[copies_on_write::apply, adam_in_wgrad::apply];

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
