//! The rows of a profile: launches of one kernel in one layer, with what was counted, modelled or measured.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::Load;
use super::peaks::Peaks;
use crate::engine::device::cuda::counts::{Event, LineCounts};

/// Launches of one kernel in one layer that are alike. Numbers are of all of them together, except where they are of
/// one launch, a block or a thread; `None` is not known on this device.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Network and layer, as in `generator.down3`; two of them where a launch does the work of two, as in
    /// `generator.up7 + generator.up6`; empty for a step of no layer.
    pub layer: String,
    /// The kernel; on the CPU the step.
    pub kernel: String,
    pub launches: usize,
    /// Blocks of a launch.
    pub blocks: Option<usize>,
    /// Blocks of a launch over the multiprocessors of the GPU.
    pub waves: Option<f64>,
    /// Floating-point operations of convolutions: two for each multiply-add.
    pub flop: u64,
    /// Bytes that have to be read or written at least once. Of a step of several launches this is what the step needs,
    /// in the row of the launch that moves most, on a real GPU of the first; of the other launches the sectors of the
    /// counted blocks, times all blocks over these.
    pub distinct_bytes: u64,
    /// Bytes between the multiprocessors and L2.
    pub l2_bytes: Option<u64>,
    /// Share of the sectors of global memory that the requests would need at least, 0 to 1.
    pub coalesced: Option<f64>,
    /// Wavefronts of shared memory over those without conflicts of banks; 1 is none.
    pub shared_excess: Option<f64>,
    /// Instructions of warps.
    pub issue_slots: Option<u64>,
    /// Registers of a thread.
    pub registers: Option<usize>,
    /// Bytes of shared memory of a block.
    pub shared_bytes: Option<usize>,
    /// Microseconds, measured.
    pub us: Option<f64>,
    /// Arithmetic of convolutions, measured on the CPU, in GFLOP/s.
    pub gflop_per_s: Option<f64>,
    /// `distinct_bytes` over the time, measured on the CPU, in GB/s.
    pub gb_per_s: Option<f64>,
    /// Share of the CPU's peak of arithmetic or of memory, of which it is the larger: 1 is the peak.
    pub peak_share: Option<f64>,
    /// Microseconds, modelled.
    pub model_us: Option<f64>,
    /// The load of the launch on the GPU, of which the time is modelled.
    #[serde(skip)]
    pub load: Option<Load>,
    /// Microseconds, modelled, that the launches would take if one resource alone mattered, by its name.
    pub resource_us: BTreeMap<&'static str, f64>,
    /// The resource that decides the modelled time; on the CPU the one that `peak_share` is of.
    pub bound: Option<&'static str>,
    /// Bytes between L2 and memory.
    pub memory_bytes: u64,
    /// The tensors that the launch reads and writes.
    pub operands: Vec<Operand>,
    /// The implementation of the step that was chosen on the GPU.
    pub implementation: Option<&'static str>,
    /// The counts of one launch by line of source, scaled to all of its blocks.
    pub lines: Vec<Line>,
    /// The two kernels whose work the blocks of the launch do, each as if it had a launch of its own; empty for a
    /// launch of one.
    pub parts: Vec<Row>,
}

/// A tensor that a step reads or writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operand {
    /// `read`, `write` or `update`, which is both.
    pub access: &'static str,
    pub shape: [usize; 4],
    /// Elements from one pixel to the next: more than the channels in a channel slice.
    pub stride: usize,
    /// Bytes of an element.
    pub element: usize,
}

/// The counts of an event at a line of source, of one launch.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// File and line.
    pub line: String,
    pub event: Event,
    /// Instructions of warps; of waits and fences those of threads.
    pub requests: u64,
    /// Threads that took part.
    pub lanes: u64,
    /// Distinct bytes of each request.
    pub bytes: u64,
    /// Lines of 128 bytes of global memory that the requests touch, sectors of 32 bytes, and as few sectors as would
    /// hold their bytes.
    pub lines: u64,
    pub sectors: u64,
    pub least_sectors: u64,
    /// Sectors that are not in the modelled L1 cache, or are written.
    pub l2_sectors: u64,
    /// Passes of 128 bytes through shared memory, and those without conflicts of banks.
    pub wavefronts: u64,
    pub least_wavefronts: u64,
    pub multiply_adds: u64,
    /// Of a block at a wait, on average.
    pub bytes_in_flight: u64,
}

impl Line {
    /// The counts of `line`, of which each block of the launch has `scale` times; a block has `threads` threads.
    pub fn new(line: &LineCounts, scale: f64, threads: u64) -> Line {
        let scaled = |count: u64| (count as f64 * scale).round() as u64;
        Line {
            line: line.line.clone(),
            event: line.event,
            requests: scaled(line.requests),
            lanes: scaled(line.lanes),
            bytes: scaled(line.bytes),
            lines: scaled(line.lines),
            sectors: scaled(line.sectors),
            least_sectors: scaled(line.least_sectors),
            l2_sectors: scaled(line.l2_sectors),
            wavefronts: scaled(line.wavefronts),
            least_wavefronts: scaled(line.least_wavefronts),
            multiply_adds: scaled(line.multiply_adds),
            bytes_in_flight: (line.bytes_in_flight * threads).checked_div(line.lanes).unwrap_or(0),
        }
    }
}

/// The whole step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Total {
    pub launches: usize,
    /// Microseconds, measured: on a GPU of the whole graph.
    pub us: Option<f64>,
    /// Microseconds, modelled, one launch after another.
    pub model_us: Option<f64>,
    /// Microseconds, modelled, of the longest chain of launches that wait for each other.
    pub critical_us: Option<f64>,
    /// Microseconds below which f32 arithmetic and memory of the modelled GPU permit no step.
    pub floor_us: Option<f64>,
}

/// A launch of a kernel; on the CPU a step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Launch {
    /// Index of its row.
    pub row: usize,
    /// Microseconds: measured, or modelled where nothing was measured.
    pub us: f64,
    /// True if it is one of the longest chain of launches that wait for each other.
    pub critical: bool,
}

/// A profile of a training step.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// What was profiled, and on which device.
    pub subject: String,
    pub device: String,
    /// Pairs of pictures in the step.
    pub batch: usize,
    /// The GPU that modelled times are of; `None` if there are none.
    pub modelled: Option<String>,
    /// The peaks of the CPU, where it was profiled.
    pub peaks: Option<Peaks>,
    /// In the order of the step.
    pub kernels: Vec<Row>,
    /// All launches, in the order of the step.
    pub timeline: Vec<Launch>,
    pub step: Total,
}

impl Row {
    /// Microseconds: measured, or modelled where nothing was measured.
    pub fn time(&self) -> Option<f64> {
        self.us.or(self.model_us)
    }

    /// True if `other` is alike: another launch of the same kernel, layer and size.
    fn is_like(&self, other: &Row) -> bool {
        let key = |row: &Row| (row.blocks, row.flop / row.launches as u64, row.operands.clone());
        self.layer == other.layer && self.kernel == other.kernel && key(self) == key(other)
    }

    /// The row of the launches whose blocks do the work of two rows.
    pub fn side_by_side(first: Row, second: Row) -> Row {
        let sum = |of: fn(&Row) -> Option<u64>| of(&first).zip(of(&second)).map(|(a, b)| a + b);
        let max = |of: fn(&Row) -> Option<usize>| of(&first).zip(of(&second)).map(|(a, b)| a.max(b));
        let lines = [first.lines.clone(), second.lines.clone()].concat();
        Row {
            layer: format!("{} + {}", first.layer, second.layer),
            kernel: format!("{} + {}", first.kernel, second.kernel),
            blocks: first.blocks.zip(second.blocks).map(|(a, b)| a + b),
            waves: first.waves.zip(second.waves).map(|(a, b)| a + b),
            flop: first.flop + second.flop,
            distinct_bytes: first.distinct_bytes + second.distinct_bytes,
            l2_bytes: sum(|row| row.l2_bytes),
            coalesced: coalesced(&lines),
            shared_excess: shared_excess(&lines),
            issue_slots: sum(|row| row.issue_slots),
            registers: max(|row| row.registers),
            shared_bytes: max(|row| row.shared_bytes),
            memory_bytes: first.memory_bytes + second.memory_bytes,
            us: None,
            model_us: None,
            resource_us: BTreeMap::new(),
            bound: None,
            implementation: None,
            operands: [first.operands.clone(), second.operands.clone()].concat(),
            load: first.load.zip(second.load).map(|(a, b)| a.and(&b)),
            lines,
            parts: vec![first.clone(), second],
            ..first
        }
    }

    fn add(&mut self, other: &Row) {
        let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        self.launches += other.launches;
        self.flop += other.flop;
        self.distinct_bytes += other.distinct_bytes;
        self.memory_bytes += other.memory_bytes;
        self.l2_bytes = self.l2_bytes.zip(other.l2_bytes).map(|(a, b)| a + b);
        self.issue_slots = self.issue_slots.zip(other.issue_slots).map(|(a, b)| a + b);
        self.us = sum(self.us, other.us);
        self.model_us = sum(self.model_us, other.model_us);
        self.resource_us.iter_mut().for_each(|(name, us)| *us += other.resource_us.get(name).copied().unwrap_or(0.0));
        self.parts.iter_mut().zip(&other.parts).for_each(|(part, other)| part.add(other));
    }
}

/// The share of the sectors that requests touch which they would need at least; `None` where none touches one.
pub fn coalesced(lines: &[Line]) -> Option<f64> {
    ratio(lines, |line| line.least_sectors, |line| line.sectors)
}

/// Wavefronts of shared memory over those without conflicts of banks; `None` where there are none.
pub fn shared_excess(lines: &[Line]) -> Option<f64> {
    ratio(lines, |line| line.wavefronts, |line| line.least_wavefronts)
}

fn ratio(lines: &[Line], part: fn(&Line) -> u64, whole: fn(&Line) -> u64) -> Option<f64> {
    let sum = |of: fn(&Line) -> u64| lines.iter().map(of).sum::<u64>() as f64;
    (sum(whole) > 0.0).then(|| sum(part) / sum(whole))
}

/// Joins rows that are alike, in the order of their first, and returns the index of the joined row of each.
pub fn joined(rows: Vec<Row>) -> (Vec<Row>, Vec<usize>) {
    let mut joined: Vec<Row> = Vec::new();
    let mut join = |row: Row| match joined.iter().position(|other| other.is_like(&row)) {
        Some(index) => {
            joined[index].add(&row);
            index
        }
        None => {
            joined.push(row);
            joined.len() - 1
        }
    };
    let indices = rows.into_iter().map(&mut join).collect();
    (joined, indices)
}
