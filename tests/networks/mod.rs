//! The networks of every recipe against PyTorch's, on the CPU.

pub mod published;
pub mod scales;

use crate::support::machine::Engine;

#[test]
fn networks_match_pytorch() {
    published::check(&[Engine::F32, Engine::F64]);
}

#[test]
fn discriminators_at_several_scales_match_pytorch() {
    scales::check(&[Engine::F32, Engine::F64]);
}

#[test]
fn orders_and_memory_change_no_bit() {
    published::check_orders(Engine::F32, 1..=2);
}
