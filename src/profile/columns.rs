//! The columns of a profile's table, for the terminal and for the page.

use super::rows::{Profile, Row};

/// A column: its head, where its numbers come from, what they mean, and the cell of a row; `None` is not known.
pub struct Column {
    pub head: &'static str,
    pub source: Source,
    pub meaning: &'static str,
    pub cell: fn(&Row) -> Option<String>,
}

/// The source of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The shapes of the recorded step, and the launch that its kernel asks for.
    Recorded,
    /// The machine code of the kernel.
    Compiled,
    /// The simulated driver, which executes the kernel.
    Counted,
    /// The model of a GPU.
    Modelled,
    /// A clock.
    Measured,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Source::Recorded => "recorded",
            Source::Compiled => "compiled",
            Source::Counted => "counted",
            Source::Modelled => "modelled",
            Source::Measured => "measured",
        }
    }
}

/// Columns of names, which stand first.
const NAMES: [Column; 4] = [
    Column {
        head: "layer",
        source: Source::Recorded,
        meaning: "network and layer; the steps of a gradient belong to the layer that they differentiate; two of \
                  them where a launch does the work of two",
        cell: |row| Some(row.layer.clone()),
    },
    Column {
        head: "kernel",
        source: Source::Recorded,
        meaning: "the kernel that is launched; on the CPU the recorded step",
        cell: |row| Some(row.kernel.clone()),
    },
    Column {
        head: "bound",
        source: Source::Modelled,
        meaning: "the resource that decides the time: issue slots, shared memory, look-ups in L1, traffic of L2 or of \
                  memory, matrix units (tensor), or the latency of the loads under way",
        cell: |row| row.bound.filter(|_| row.blocks.is_some()).map(str::to_owned),
    },
    Column {
        head: "bound",
        source: Source::Measured,
        meaning: "the resource whose peak the kernel comes closer to: arithmetic (f32 multiply-adds) or memory",
        cell: |row| row.bound.filter(|_| row.blocks.is_none()).map(str::to_owned),
    },
];

const NUMBERS: [Column; 17] = [
    Column {
        head: "us modelled",
        source: Source::Modelled,
        meaning: "microseconds: the gap between two kernels, the ramp at both ends, and the slowest resource",
        cell: |row| row.model_us.map(|us| format!("{us:.1}")),
    },
    Column {
        head: "us",
        source: Source::Measured,
        meaning: "microseconds between CUDA events, one launch at a time: the least of five executions",
        cell: |row| row.us.filter(|_| row.blocks.is_some()).map(|us| format!("{us:.1}")),
    },
    Column {
        head: "ms",
        source: Source::Measured,
        meaning: "milliseconds, the least of five executions",
        cell: |row| row.us.filter(|_| row.blocks.is_none()).map(|us| format!("{:.3}", us / 1e3)),
    },
    Column {
        head: "GFLOP/s",
        source: Source::Measured,
        meaning: "GFLOP over the time: the multiply-adds of a convolution's definition, of which Winograd's method \
                  needs fewer",
        cell: |row| row.gflop_per_s.map(|rate| format!("{rate:.1}")),
    },
    Column {
        head: "GB/s",
        source: Source::Measured,
        meaning: "least MB over the time, be they in memory or still in a cache",
        cell: |row| row.gb_per_s.map(|rate| format!("{rate:.1}")),
    },
    Column {
        head: "of peak",
        source: Source::Measured,
        meaning: "share of the peak of arithmetic or of memory, the larger of the two, as the peaks were measured on \
                  this machine; Winograd's method and caches can bring it above 100 %",
        cell: |row| row.peak_share.map(|share| format!("{:.0} %", share * 100.0)),
    },
    Column {
        head: "launches",
        source: Source::Recorded,
        meaning: "launches that are alike; sums of a row are over all of them",
        cell: |row| Some(row.launches.to_string()),
    },
    Column {
        head: "blocks",
        source: Source::Recorded,
        meaning: "blocks of a launch",
        cell: |row| row.blocks.map(|blocks| blocks.to_string()),
    },
    Column {
        head: "waves",
        source: Source::Recorded,
        meaning: "blocks of a launch over the multiprocessors of the GPU; below 1, some have nothing to do",
        cell: |row| row.waves.map(|waves| format!("{waves:.2}")),
    },
    Column {
        head: "GFLOP",
        source: Source::Recorded,
        meaning: "arithmetic of convolutions, two for each multiply-add; other kernels are not counted",
        cell: |row| (row.flop > 0).then(|| format!("{:.2}", row.flop as f64 / 1e9)),
    },
    Column {
        head: "least MB",
        source: Source::Recorded,
        meaning: "what has to be read or written once at least; of several launches of a step, in the row of that \
                  which moves most (of the others: what was counted)",
        cell: |row| Some(megabytes(row.distinct_bytes)),
    },
    Column {
        head: "memory MB",
        source: Source::Modelled,
        meaning: "traffic between L2 and memory, by a model of what L2 still holds from the steps before",
        cell: |row| row.model_us.map(|_| megabytes(row.memory_bytes)),
    },
    Column {
        head: "L2 MB",
        source: Source::Counted,
        meaning: "traffic between the multiprocessors and L2, behind a model of L1",
        cell: |row| row.l2_bytes.map(megabytes),
    },
    Column {
        head: "coalesced",
        source: Source::Counted,
        meaning: "as few sectors as would hold the bytes of all requests, over the sectors that they touch; 100 % is \
                  best",
        cell: |row| row.coalesced.map(|share| format!("{:.0} %", share * 100.0)),
    },
    Column {
        head: "conflicts",
        source: Source::Counted,
        meaning: "wavefronts of shared memory over those without conflicts of banks; 1 is none",
        cell: |row| row.shared_excess.map(|excess| format!("{excess:.2}")),
    },
    Column {
        head: "registers",
        source: Source::Compiled,
        meaning: "registers of a thread",
        cell: |row| row.registers.map(|registers| registers.to_string()),
    },
    Column {
        head: "shared",
        source: Source::Compiled,
        meaning: "bytes of shared memory of a block",
        cell: |row| row.shared_bytes.map(|bytes| bytes.to_string()),
    },
];

/// The columns of which something is known in `profile`: first those of names, then those of numbers.
pub fn columns(profile: &Profile) -> [Vec<&'static Column>; 2] {
    let is_known = |column: &&Column| profile.kernels.iter().any(|row| (column.cell)(row).is_some());
    [NAMES.iter().filter(is_known).collect(), NUMBERS.iter().filter(is_known).collect()]
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}
