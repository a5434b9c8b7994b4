//! Rewrites of a recorded program: other steps that compute the same bits in less time or memory.
//!
//! A [`Pass`] looks for steps that meet its condition, which its file states, and puts others in their place. It is
//! never a second way to record: the plain program is what tests, reports and other devices see, and the same program
//! without passes is what a pass is tested against, to the bit.

mod adam_in_wgrad;

use super::program::Program;

/// A rewrite of a program, wherever the pass's condition holds.
pub type Pass = fn(&mut Program);

/// The passes of the CPU device, in their order.
pub const CPU: &[Pass] = &[adam_in_wgrad::apply];

impl Program {
    /// The program after `passes`.
    #[must_use]
    pub fn rewritten(mut self, passes: &[Pass]) -> Program {
        for pass in passes {
            pass(&mut self);
        }
        self
    }
}
