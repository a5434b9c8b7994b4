//! The recorded training step of the recipes, as a whole.

mod accumulation;
mod allocations;
pub mod checks;
mod determinism;
mod host_copies;
pub mod joined;
mod rewrites;
mod sharing;
pub mod state;
pub mod traces;

use crate::support::machine::Engine;

#[test]
fn ten_steps_at_64_match_pytorch() {
    traces::check(64, &[Engine::F32, Engine::F64]);
}

#[test]
fn ten_steps_at_256_match_pytorch() {
    traces::check(256, &[Engine::F32, Engine::F64]);
}
