//! The dependencies between the steps of a recorded program, and the plan of its memory: an offset for each buffer in
//! one arena.
//!
//! The one idea: two buffers may share memory only when *every* order of the steps that keeps the dependencies has
//! finished with one before it starts with the other. So the plan holds for any such order, and a device is free to
//! choose one.

use crate::engine::access::Access;
use crate::engine::philox::{Purpose, Stream};
use crate::engine::program::{Buffer, Lifetime, Program, Touch};
use crate::engine::tensor::{BufferId, DType};

/// Alignment of buffers in the arena, in bytes: two cache lines of a CPU, one of a GPU, and more than the 16 bytes that
/// a tensor map requires.
const ALIGNMENT: usize = 128;

/// The partial order of a program's steps: for each step, all earlier steps that must have ended before it starts.
#[derive(Debug)]
pub struct Dependencies {
    /// For each step, all steps that must end before it starts.
    ancestors: Vec<StepSet>,
}

impl Dependencies {
    /// Computes the dependencies of a program's steps: of two steps that access the same memory, at least one of them
    /// writing it, the later recorded one waits for the earlier.
    pub fn new(program: &Program) -> Dependencies {
        let touched: Vec<Vec<Touch>> = program
            .steps
            .iter()
            .map(|s| s.accesses.iter().map(|a| Touch::new(a, &program.buffers)).collect())
            .collect();
        let mut ancestors: Vec<StepSet> = Vec::with_capacity(touched.len());
        for (step, touches) in touched.iter().enumerate() {
            let mut set = StepSet::new(touched.len());
            // Latest first: an earlier step that a later one already waits for needs no comparison.
            for earlier in (0..step).rev() {
                if !set.contains(earlier) && touched[earlier].iter().any(|a| touches.iter().any(|b| a.conflicts(b))) {
                    set.insert(earlier);
                    set.insert_all(&ancestors[earlier]);
                }
            }
            ancestors.push(set);
        }
        Dependencies { ancestors }
    }

    /// True if step `later` must wait for step `earlier`, directly or through other steps. Both are indices in recorded
    /// order.
    ///
    /// # Panics
    /// If there is no step `later`.
    pub fn ordered(&self, earlier: usize, later: usize) -> bool {
        self.ancestors[later].contains(earlier)
    }

    /// A random order of the first `steps` steps that keeps the dependencies. For checked runs.
    pub(crate) fn random_order(&self, steps: usize, seed: u64) -> Vec<usize> {
        let mut draws = Stream::new(seed, Purpose::Shuffle, 0);
        let mut waiting: Vec<usize> = (0..steps).collect();
        let mut order = Vec::with_capacity(steps);
        while !waiting.is_empty() {
            let ready = |&step: &usize| !waiting.iter().any(|&other| self.ordered(other, step));
            let ready: Vec<usize> = waiting.iter().copied().filter(ready).collect();
            let next = ready[draws.below(ready.len() as u32) as usize];
            waiting.retain(|&step| step != next);
            order.push(next);
        }
        order
    }
}

/// A set of steps by index, as bits.
#[derive(Clone, Debug)]
struct StepSet(Vec<u64>);

impl StepSet {
    fn new(steps: usize) -> StepSet {
        StepSet(vec![0; steps.div_ceil(64)])
    }

    fn contains(&self, step: usize) -> bool {
        self.0[step / 64] >> (step % 64) & 1 == 1
    }

    fn insert(&mut self, step: usize) {
        self.0[step / 64] |= 1 << (step % 64);
    }

    fn insert_all(&mut self, other: &StepSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn keep_common(&mut self, other: &StepSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    fn is_within(&self, other: &StepSet) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }
}

/// The memory plan of a program: the offset of each buffer, in bytes, in one block of memory, the arena. Persistent
/// buffers come first; behind them, transient buffers that are never in use at the same time may overlap.
#[derive(Debug)]
pub struct Plan {
    offsets: Vec<usize>,
    total: usize,
    /// Bytes of the persistent buffers.
    persistent: usize,
}

impl Plan {
    /// Plans the memory of `program` for a device on which an element of a number format takes `element(format)` bytes.
    ///
    /// Transient buffers are packed greedily, largest first, each at the lowest offset where no other buffer lies that
    /// may be in use at the same time.
    pub fn new(program: &Program, dependencies: &Dependencies, element: impl Fn(DType) -> usize) -> Plan {
        let bytes = |buffer: &Buffer| (buffer.count() * element(buffer.dtype)).next_multiple_of(ALIGNMENT);
        let mut offsets = vec![0; program.buffers.len()];
        let mut persistent = 0;
        for (id, buffer) in program.buffers.iter().filter(|(_, b)| b.lifetime == Lifetime::Persistent) {
            offsets[id.0] = persistent;
            persistent += bytes(buffer);
        }

        let mut lives = lives(program, dependencies, bytes);
        lives.sort_by_key(|life| std::cmp::Reverse(life.length));
        let mut placed: Vec<Placed> = Vec::with_capacity(lives.len());
        for life in lives {
            let mut taken: Vec<_> = placed.iter().filter(|other| other.life.meets(&life)).map(Placed::bytes).collect();
            taken.sort_unstable_by_key(|range| range.start);
            let start = taken.iter().fold(persistent, |start, range| {
                if start + life.length <= range.start { start } else { start.max(range.end) }
            });
            offsets[life.buffer.0] = start;
            placed.push(Placed { life, start });
        }
        let total = placed.iter().map(|p| p.bytes().end).max().unwrap_or(persistent);
        Plan { offsets, total, persistent }
    }

    /// Offset of a buffer, in bytes from the start of the arena.
    pub fn offset(&self, buffer: BufferId) -> usize {
        self.offsets[buffer.0]
    }

    /// Size of the arena in bytes.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bytes at the start of the arena that the persistent buffers (parameters, moments, pictures, losses) take, with
    /// the padding between them.
    pub fn persistent(&self) -> usize {
        self.persistent
    }
}

/// A transient buffer with its offset in the arena.
struct Placed {
    life: Life,
    start: usize,
}

impl Placed {
    fn bytes(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.life.length
    }
}

/// The life of a transient buffer: the steps that use it.
struct Life {
    buffer: BufferId,
    /// Bytes of the buffer.
    length: usize,
    /// The steps that access it.
    users: StepSet,
    /// The steps that have ended before its first user starts, in every order that keeps the dependencies.
    over_before: StepSet,
}

impl Life {
    /// True if both may be in use at once in some order.
    fn meets(&self, other: &Life) -> bool {
        !self.users.is_within(&other.over_before) && !other.users.is_within(&self.over_before)
    }
}

/// The lives of all transient buffers.
fn lives(program: &Program, dependencies: &Dependencies, bytes: impl Fn(&Buffer) -> usize) -> Vec<Life> {
    let steps = program.steps.len();
    let life = |(id, length): (BufferId, usize)| {
        let mut users = StepSet::new(steps);
        let mut over_before = StepSet(vec![u64::MAX; steps.div_ceil(64)]);
        for (index, recorded) in program.steps.iter().enumerate() {
            if recorded.accesses.iter().filter_map(Access::tensor).any(|t| t.buffer == id) {
                users.insert(index);
                over_before.keep_common(&dependencies.ancestors[index]);
            }
        }
        Life { buffer: id, length, users, over_before }
    };
    let transient = program.buffers.iter().filter(|(_, b)| b.lifetime == Lifetime::Transient);
    transient.map(|(id, buffer)| life((id, bytes(buffer)))).collect()
}
