//! The recorded training step of the recipe, as a whole.

mod allocations;
mod determinism;
mod sharing;
mod state;
mod traces;
