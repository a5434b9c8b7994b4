//! Every op of the recipes in full size on the first GPU, with warm and with cold caches; see `common/ops.rs`. A
//! kernel's time is that between two CUDA events.
//!
//! Without a GPU there is nothing to measure, and the bench says so and ends well. The simulator counts as none, unless
//! `PIXTAPE_TAKE_SIMULATED_GPU=1` asks for the counts of the kernels on it.

mod common;
#[expect(dead_code, reason = "what the rows test")]
#[path = "../tests/ops/kinds/mod.rs"]
mod kinds;
#[path = "common/ops.rs"]
mod ops;

use std::env;

use pixtape::engine::device::{DeviceChoice, DeviceId};

fn main() {
    let takes_simulated = env::var_os("PIXTAPE_TAKE_SIMULATED_GPU").is_some_and(|value| value == "1");
    let choice = if takes_simulated { DeviceChoice::Cuda(0) } else { DeviceChoice::Auto };
    match choice.choose() {
        Ok(chosen) if chosen.device != DeviceId::Cpu => {
            if takes_simulated {
                println!("on a simulated GPU: the requests of the kernels are counted, and the times mean nothing");
            }
            common::run(|criterion| ops::all(criterion, chosen.device, "cuda "));
        }
        Ok(chosen) => println!("not measured: {}", chosen.note.unwrap_or_default()),
        Err(reason) => println!("not measured: {reason:#}"),
    }
}
