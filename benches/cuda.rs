//! Every op of the full recipe on the first GPU; see `common/ops.rs`. A kernel's time is what the GPU's own clock says.
//!
//! Without a GPU there is nothing to measure, and the bench says so and ends well. The simulator counts as none.

mod common;
#[path = "common/ops.rs"]
mod ops;

use pixtape::engine::device::{DeviceChoice, Place};

fn main() {
    let chosen = DeviceChoice::Auto.choose().expect("the CPU is always there");
    match chosen.place {
        Place::Cuda(_) => common::run(|criterion| ops::all(criterion, chosen.place, "cuda ")),
        Place::Cpu => println!("not measured: {}", chosen.note.unwrap_or_default()),
    }
}
