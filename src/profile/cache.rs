//! A model of the L2 cache between the launches of a step: which of their bytes come from memory.

use std::collections::{BTreeMap, HashMap};

use crate::engine::access::Access;
use crate::engine::device::cuda::Unit;
use crate::engine::tensor::BufferId;

/// Bytes of the pieces of buffers that are in the cache or not.
const PIECE: usize = 64 << 10;

/// A piece of a buffer, by its number in the buffer.
type Piece = (BufferId, usize);

/// A cache that writes back: the piece that was not used for longest gives way.
#[derive(Debug, Default)]
struct Cache {
    capacity: f64,
    used: f64,
    clock: u64,
    /// When a piece was used last, how many of its bytes are in the cache, and if they were written.
    pieces: HashMap<Piece, (u64, f64, bool)>,
    by_time: BTreeMap<u64, Piece>,
}

impl Cache {
    /// Uses `bytes` bytes of a piece, and returns the bytes that go to or come from memory for that.
    fn touch(&mut self, piece: Piece, bytes: f64, reads: bool, writes: bool) -> f64 {
        self.clock += 1;
        let (mut held, mut dirty) = (0.0, false);
        if let Some((time, bytes, was_written)) = self.pieces.remove(&piece) {
            self.by_time.remove(&time);
            self.used -= bytes;
            (held, dirty) = (bytes, was_written);
        }
        let mut moved = if reads { (bytes - held).max(0.0) } else { 0.0 };
        let held = held.max(bytes);
        self.pieces.insert(piece, (self.clock, held, dirty || writes));
        self.by_time.insert(self.clock, piece);
        self.used += held;
        while self.used > self.capacity {
            let Some((_, oldest)) = self.by_time.pop_first() else { break };
            let Some((_, bytes, dirty)) = self.pieces.remove(&oldest) else { continue };
            self.used -= bytes;
            moved += if dirty { bytes } else { 0.0 };
        }
        moved
    }
}

/// Returns the bytes between memory and an L2 cache of `capacity` bytes that come with the accesses of each unit, one
/// after another, in an execution that follows another one.
pub fn memory_bytes(accesses: &[(Unit, Vec<Access>)], capacity: usize) -> HashMap<Unit, u64> {
    let mut cache = Cache { capacity: capacity as f64, ..Cache::default() };
    let mut execution = || accesses.iter().map(|(unit, of_unit)| (*unit, moved(&mut cache, of_unit))).collect();
    let _first: HashMap<Unit, u64> = execution();
    execution()
}

fn moved(cache: &mut Cache, accesses: &[Access]) -> u64 {
    let mut moved = 0.0;
    for access in accesses {
        let Some(tensor) = access.tensor() else { continue };
        let element = tensor.dtype().bytes();
        let (start, end) = (tensor.span().start * element, tensor.span().end * element);
        let pieces = start / PIECE..end.div_ceil(PIECE);
        let bytes = tensor.bytes() as f64 / pieces.len().max(1) as f64;
        let reads = !matches!(access, Access::Write(_));
        for piece in pieces {
            moved += cache.touch((tensor.buffer(), piece), bytes, reads, access.writes());
        }
    }
    moved.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Piece = (BufferId(0), 0);
    const B: Piece = (BufferId(1), 0);

    fn cache(capacity: f64) -> Cache {
        Cache { capacity, ..Cache::default() }
    }

    #[test]
    fn what_is_held_costs_nothing_and_what_is_written_is_written_back() {
        let mut cache = cache(100.0);
        assert_eq!(cache.touch(A, 60.0, true, false), 60.0);
        assert_eq!(cache.touch(A, 60.0, true, true), 0.0);
        // B takes A's place, which was written.
        assert_eq!(cache.touch(B, 60.0, true, false), 60.0 + 60.0);
        // B is clean, and A is overwritten without being read.
        assert_eq!(cache.touch(A, 60.0, false, true), 0.0);
        assert_eq!(cache.touch(A, 60.0, true, false), 0.0);
    }

    #[test]
    fn a_larger_part_of_a_piece_costs_the_rest() {
        let mut cache = cache(100.0);
        assert_eq!(cache.touch(A, 20.0, true, false), 20.0);
        assert_eq!(cache.touch(A, 50.0, true, false), 30.0);
        assert_eq!(cache.touch(B, 60.0, true, false), 60.0);
        assert!(cache.used <= cache.capacity);
    }
}
