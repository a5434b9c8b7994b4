//! Every op of the recipes in full size on the CPU; see `common/ops.rs`.

mod common;
#[expect(dead_code, reason = "what the rows test")]
#[path = "../tests/ops/kinds/mod.rs"]
mod kinds;
#[path = "common/ops.rs"]
mod ops;

use pixtape::engine::device::DeviceId;

fn main() {
    common::run(|criterion| ops::all(criterion, DeviceId::Cpu, ""));
}
