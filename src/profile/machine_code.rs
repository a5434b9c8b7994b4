//! The machine code of the kernels, as `tools/check-kernels --write` describes it in `kernels/machine-code.json`.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A kernel's machine code for the GPU of the time model.
#[derive(Clone, Debug, Deserialize)]
pub struct MachineCode {
    /// Registers of a thread.
    pub registers: usize,
    /// Most bytes of loads from global memory that a thread has under way at once, without asynchronous copies.
    pub under_way: usize,
    /// The loops that the kernel spends its time in, the hottest first, a loop of each part of a kernel that does the
    /// work of two; the whole kernel if it has no loop.
    pub loops: Vec<HotLoop>,
}

/// The instructions of a loop.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct HotLoop {
    pub instructions: usize,
    /// Those of them that access memory, global or shared.
    pub memory: usize,
}

impl MachineCode {
    /// Reads the table, by name of the kernel.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn all() -> Result<HashMap<String, MachineCode>> {
        let table = include_str!("../../kernels/machine-code.json");
        serde_json::from_str(table).context("kernels/machine-code.json")
    }

    /// Returns the loop that is most like the hot one of `part`, by the number of its instructions.
    pub fn loop_like(&self, part: &MachineCode) -> Option<&HotLoop> {
        let hot = part.loops.first()?;
        self.loops.iter().min_by_key(|of_both| of_both.instructions.abs_diff(hot.instructions))
    }
}

impl HotLoop {
    /// Returns the instructions of warps of a launch whose warps make `requests` accesses to memory: as many for each
    /// as in the loop.
    pub fn issue_slots(&self, requests: f64) -> f64 {
        requests * self.instructions as f64 / self.memory.max(1) as f64
    }
}
