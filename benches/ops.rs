//! Every op of the full recipe on the CPU; see `common/ops.rs`.

mod common;
#[path = "common/ops.rs"]
mod ops;

use pixtape::engine::device::Place;

fn main() {
    common::run(|criterion| ops::all(criterion, Place::Cpu, ""));
}
