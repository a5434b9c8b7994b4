//! The time model: how long a kernel takes on a GPU, from what it asks of it.
//!
//! `gap + ramp + the largest of` the times that the launch would take if one resource alone mattered: issue slots,
//! shared memory, look-ups in L1, L2, memory, matrix units, and the latency of the loads that are under way. Resources
//! of a multiprocessor are counted in whole blocks: 133 blocks on 132 multiprocessors take as long as 264. The
//! constants stand in `gpu.toml`, and every time is a modelled one until they have been measured.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Most threads, blocks and registers that a multiprocessor of compute capability 9.0 holds.
const RESIDENT: [usize; 3] = [2048, 32, 65_536];
/// Shared memory of a multiprocessor, and what each block has reserved of it, in bytes.
const SHARED: [usize; 2] = [228 << 10, 1 << 10];

/// A constant with its source, and the date when it was entered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Constant {
    value: f64,
    source: String,
    date: String,
}

/// The constants of one GPU.
#[derive(Clone, Debug, Deserialize)]
struct File {
    name: String,
    #[serde(flatten)]
    constants: HashMap<String, Constant>,
}

/// The rates, sizes and latencies of a GPU by which kernels are modelled. Rates are per microsecond.
#[derive(Clone, Debug)]
pub struct TimeModel {
    /// Name of the GPU.
    pub name: String,
    pub multiprocessors: usize,
    /// Bytes of the L2 cache.
    pub l2_bytes: usize,
    /// Bytes from memory, of the whole GPU.
    pub memory: f64,
    /// Multiply-adds of f32, of the whole GPU.
    pub fma: f64,
    /// Microseconds from one kernel to the next that waits for it.
    pub gap: f64,
    issue: f64,
    wavefronts: f64,
    lines: f64,
    l2_of_one: f64,
    /// Bytes between the multiprocessors and L2, of the whole GPU.
    pub l2: f64,
    products_of_one: f64,
    latency: f64,
    ramp: f64,
}

/// What a launch asks of the GPU. Numbers are of the whole launch unless they are of a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    pub blocks: usize,
    /// Threads, registers of a thread and bytes of shared memory of a block.
    pub threads: usize,
    pub registers: usize,
    pub shared_bytes: usize,
    /// Instructions of warps.
    pub issue_slots: f64,
    /// Passes of 128 bytes through shared memory.
    pub wavefronts: f64,
    /// Lines of 128 bytes that requests to global memory touch.
    pub lines: f64,
    /// Bytes between the multiprocessors and L2, and those of them that are read.
    pub l2_bytes: f64,
    pub l2_read_bytes: f64,
    /// Bytes between L2 and memory.
    pub memory_bytes: f64,
    /// Multiply-adds of matrix units.
    pub products: f64,
    /// Most bytes of reads of global memory that a block has under way at once.
    pub bytes_in_flight: f64,
}

impl Load {
    /// Returns what a launch asks that does the work of both. Its blocks are alike in the model, with the mean of what
    /// both kinds do, and have the registers and the shared memory of those that need more.
    pub fn and(&self, other: &Load) -> Load {
        Load {
            blocks: self.blocks + other.blocks,
            threads: self.threads.max(other.threads),
            registers: self.registers.max(other.registers),
            shared_bytes: self.shared_bytes.max(other.shared_bytes),
            issue_slots: self.issue_slots + other.issue_slots,
            wavefronts: self.wavefronts + other.wavefronts,
            lines: self.lines + other.lines,
            l2_bytes: self.l2_bytes + other.l2_bytes,
            l2_read_bytes: self.l2_read_bytes + other.l2_read_bytes,
            memory_bytes: self.memory_bytes + other.memory_bytes,
            products: self.products + other.products,
            bytes_in_flight: self.bytes_in_flight.min(other.bytes_in_flight),
        }
    }
}

/// The resource that decides how long a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Issue,
    Shared,
    L1,
    L2,
    Memory,
    Tensor,
    Latency,
}

impl Bound {
    pub fn name(self) -> &'static str {
        match self {
            Bound::Issue => "issue",
            Bound::Shared => "shared",
            Bound::L1 => "L1",
            Bound::L2 => "L2",
            Bound::Memory => "memory",
            Bound::Tensor => "tensor",
            Bound::Latency => "latency",
        }
    }
}

impl TimeModel {
    /// Reads the constants of `gpu.toml`.
    ///
    /// # Errors
    /// When a constant is missing, is not a positive number, or has neither source nor date.
    pub fn new() -> Result<TimeModel> {
        let file: File = toml::from_str(include_str!("gpu.toml")).context("gpu.toml")?;
        let get = |name: &str| {
            let constant = file.constants.get(name).with_context(|| format!("gpu.toml has no {name}"))?;
            let Constant { value, source, date } = constant;
            ensure!(*value > 0.0 && value.is_finite(), "gpu.toml: {name} is {value}");
            ensure!(!source.is_empty() && !date.is_empty(), "gpu.toml: {name} has no source or no date");
            Ok(*value)
        };
        let multiprocessors = get("multiprocessors")?;
        // Clocks in a microsecond.
        let clock = get("clock_ghz")? * 1e3;
        let issue = clock * get("issue_slots_per_clock")?;
        Ok(TimeModel {
            multiprocessors: multiprocessors as usize,
            l2_bytes: (get("l2_mb")? * f64::from(1 << 20)) as usize,
            memory: get("memory_tb_per_s")? * 1e6,
            fma: issue * 32.0 * multiprocessors,
            gap: get("gap_us")?,
            issue: issue * get("issue_efficiency")?,
            wavefronts: clock * get("wavefronts_per_clock")?,
            lines: clock * get("lines_per_clock")?,
            l2_of_one: clock * get("l2_bytes_per_clock")?,
            l2: get("l2_tb_per_s")? * 1e6,
            products_of_one: get("tensor_tflop_per_s")? * 1e6 / 2.0 / multiprocessors,
            latency: get("l2_latency_us")?,
            ramp: get("ramp_us")?,
            name: file.name,
        })
    }

    /// Returns the blocks of `load` that fit on a multiprocessor at once.
    pub fn resident(&self, load: &Load) -> usize {
        let [threads, blocks, registers] = RESIDENT;
        // Registers are handed out to warps, eight a thread at a time.
        let of_block = load.registers.next_multiple_of(8) * load.threads.next_multiple_of(32);
        let by_registers = registers.checked_div(of_block).unwrap_or(blocks);
        let by_shared = SHARED[0] / (load.shared_bytes + SHARED[1]);
        blocks.min(threads / load.threads.max(1)).min(by_registers).min(by_shared).max(1)
    }

    /// Returns the microseconds that a launch would take if one resource alone mattered, by resource.
    pub fn times(&self, load: &Load) -> [(Bound, f64); 7] {
        let blocks = load.blocks.max(1);
        // Blocks that the busiest multiprocessor executes, and the share of the launch that these are.
        let of_one = blocks.div_ceil(self.multiprocessors);
        let share = of_one as f64 / blocks as f64;
        let at_once = self.resident(load).min(of_one) as f64;
        let in_flight = at_once * load.bytes_in_flight;
        let reads = load.l2_read_bytes * share;
        let waits = if reads > 0.0 { reads / (in_flight / self.latency) } else { 0.0 };
        [
            (Bound::Issue, load.issue_slots * share / self.issue),
            (Bound::Shared, load.wavefronts * share / self.wavefronts),
            (Bound::L1, load.lines * share / self.lines),
            (Bound::L2, (load.l2_bytes * share / self.l2_of_one).max(load.l2_bytes / self.l2)),
            (Bound::Memory, load.memory_bytes / self.memory),
            (Bound::Tensor, load.products * share / self.products_of_one),
            (Bound::Latency, waits),
        ]
    }

    /// Returns the modelled microseconds of a launch, gap and ramp included, and what decides them.
    pub fn time(&self, load: &Load) -> (f64, Bound) {
        let longest = self.times(load).into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let (bound, longest) = longest.unwrap_or((Bound::Issue, 0.0));
        (self.gap + self.ramp + longest, bound)
    }

    /// Returns the microseconds below which no kernels can bring `multiply_adds` of f32 and `memory_bytes`.
    pub fn floor(&self, multiply_adds: f64, memory_bytes: f64) -> f64 {
        (multiply_adds / self.fma).max(memory_bytes / self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> TimeModel {
        TimeModel::new().unwrap()
    }

    #[test]
    fn each_resource_can_decide() {
        let model = model();
        let small = Load { blocks: 132, threads: 256, registers: 32, bytes_in_flight: 4096.0, ..Load::default() };
        for (load, bound) in [
            (Load { issue_slots: 1e9, ..small }, Bound::Issue),
            (Load { wavefronts: 1e9, ..small }, Bound::Shared),
            (Load { lines: 1e9, ..small }, Bound::L1),
            (Load { l2_bytes: 1e9, ..small }, Bound::L2),
            (Load { memory_bytes: 1e9, ..small }, Bound::Memory),
            (Load { products: 1e9, ..small }, Bound::Tensor),
            (Load { l2_read_bytes: 1e9, ..small }, Bound::Latency),
        ] {
            let (time, found) = model.time(&load);
            assert_eq!(found, bound);
            assert!(time > model.gap + model.ramp, "{time}");
        }
    }

    #[test]
    fn one_block_more_than_multiprocessors_takes_twice_as_long() {
        let model = model();
        let time = |blocks: usize| {
            let load = Load { blocks, threads: 256, issue_slots: 1e6 * blocks as f64, ..Load::default() };
            model.time(&load).0 - model.gap - model.ramp
        };
        let (one, two) = (time(132), time(133));
        assert!((two / one - 2.0).abs() <= 1e-9, "{one} {two}");
        // A single block takes as long as 132.
        assert!((time(1) / one - 1.0).abs() <= 1e-9);
    }

    #[test]
    fn what_is_resident_is_limited_by_each_resource() {
        let model = model();
        let resident = |threads, registers, shared_bytes| {
            model.resident(&Load { threads, registers, shared_bytes, ..Load::default() })
        };
        assert_eq!(resident(256, 32, 0), 8);
        assert_eq!(resident(256, 128, 0), 2);
        assert_eq!(resident(256, 129, 0), 1);
        assert_eq!(resident(32, 16, 0), 32);
        assert_eq!(resident(256, 32, 100 << 10), 2);
        assert_eq!(resident(1024, 255, 227 << 10), 1);
    }

    #[test]
    fn the_simulator_counts_on_the_same_multiprocessors() {
        let [threads, blocks, _] = RESIDENT;
        let multiprocessors = model().multiprocessors;
        let constants =
            format!("RESIDENT_THREADS = {threads}, RESIDENT_BLOCKS = {blocks}, MULTIPROCESSORS = {multiprocessors};");
        assert!(include_str!("../../tools/cudasim/runtime/counter.cpp").contains(&constants), "{constants}");
    }

    #[test]
    fn the_floor_is_that_of_the_slower_resource() {
        let model = model();
        assert!((model.floor(model.fma, 0.0) - 1.0).abs() <= 1e-9);
        assert!((model.floor(model.fma, 2.0 * model.memory) - 2.0).abs() <= 1e-9);
    }
}
