//! Rewrites of a recorded program: other steps that compute the same bits in less time or memory.
//!
//! A [`Pass`] replaces the steps that meet its condition, which its file states. Programs are recorded without passes:
//! tests, reports and other devices see the plain program, and a pass is tested against it, to the bit.

mod activation_in_conv;
mod adam_in_wgrad;
mod batched_dgrads;

use super::program::Program;

/// A rewrite pass: a function that replaces steps of a program by others that compute the same bits, wherever its
/// condition holds.
pub type Pass = fn(&mut Program);

/// The rewrite passes in the order in which they are applied: gradients through the same layers become one batch,
/// activations become epilogues of convolutions, and the weight gradients of convolutions are fused with their Adam
/// updates.
pub const PASSES: &[Pass] = &[batched_dgrads::apply, activation_in_conv::apply, adam_in_wgrad::apply];

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
