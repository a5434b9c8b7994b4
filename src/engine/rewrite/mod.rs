//! Rewrites of a recorded program: other steps that compute the same bits in less time or memory.
//!
//! A [`Pass`] replaces the steps that meet its condition, which its file states. Programs are recorded without passes:
//! tests, reports and other devices see the plain program, and a pass is tested against it, to the bit.

mod adam_in_wgrad;

use super::program::Program;

/// A rewrite of a program, applied wherever its condition holds.
pub type Pass = fn(&mut Program);

/// The passes of the CPU device, in their order.
pub const CPU: &[Pass] = &[adam_in_wgrad::apply];

impl Program {
    /// The program after `passes`, in their order.
    #[must_use]
    pub fn rewritten(mut self, passes: &[Pass]) -> Program {
        for pass in passes {
            pass(&mut self);
        }
        self
    }
}
