//! The memory of the CPU device: one arena, or in checked runs a guarded allocation for every buffer.

use std::ptr::NonNull;

use anyhow::{Context as _, Result};
use memmap2::MmapMut;

use crate::base::bytes::ByteSize;
use crate::engine::kernel::cpu::Real;
use crate::engine::plan::Plan;
use crate::engine::program::Buffers;
use crate::engine::tensor::BufferId;

/// Elements before and after a guarded buffer that nobody may write.
const GUARD: usize = 64;

/// What guards hold: no value that a kernel would write.
const GUARD_VALUE: f64 = -1.640_625e30;

/// Where the buffers of a program lie. Everything is zero at first, and no page is touched before it is used.
#[derive(Debug)]
pub struct Memory<T> {
    /// Keeps the memory that the pointers lead into.
    _blocks: Vec<MmapMut>,
    /// By buffer: its first element and its length.
    buffers: Vec<(NonNull<T>, usize)>,
    elements: usize,
    guarded: bool,
}

// SAFETY: the pointers lead into the blocks that this value owns; who may follow them is decided by borrows of it.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T: Real> Memory<T> {
    pub fn arena(buffers: &Buffers, plan: &Plan) -> Result<Memory<T>> {
        let (block, start) = zeroed(plan.total())?;
        let place = |(id, buffer): (BufferId, &crate::engine::program::Buffer)| {
            let (offset, count) = (plan.offset(id), buffer.count());
            assert!(offset + count <= plan.total(), "a planned buffer ends inside the arena");
            // SAFETY: by the line above the offset lies inside the block.
            (unsafe { start.add(offset) }, count)
        };
        let buffers = buffers.iter().map(place).collect();
        Ok(Memory { _blocks: vec![block], buffers, elements: plan.total(), guarded: false })
    }

    pub fn guarded(buffers: &Buffers) -> Result<Memory<T>> {
        let mut memory = Memory { _blocks: Vec::new(), buffers: Vec::new(), elements: 0, guarded: true };
        for (_, buffer) in buffers.iter() {
            let (block, start) = zeroed(buffer.count() + 2 * GUARD)?;
            // SAFETY: the block has two guards more than the buffer, and nobody else knows of it yet.
            let (start, block_values) = unsafe {
                (start.add(GUARD), std::slice::from_raw_parts_mut(start.as_ptr(), buffer.count() + 2 * GUARD))
            };
            let (front, rest) = block_values.split_at_mut(GUARD);
            front.fill(T::of(GUARD_VALUE));
            rest[buffer.count()..].fill(T::of(GUARD_VALUE));
            memory.buffers.push((start, buffer.count()));
            memory._blocks.push(block);
            memory.elements += buffer.count();
        }
        Ok(memory)
    }

    /// Whether nothing has been written outside of the buffers. True of an arena, which has no guards to look at.
    pub fn guards_intact(&self) -> bool {
        !self.guarded
            || self.buffers.iter().all(|&(start, count)| {
                // SAFETY: a guarded buffer has GUARD elements of the same block on either side.
                let sides = unsafe {
                    [
                        std::slice::from_raw_parts(start.as_ptr().sub(GUARD), GUARD),
                        std::slice::from_raw_parts(start.as_ptr().add(count), GUARD),
                    ]
                };
                sides.into_iter().flatten().all(|x| *x == T::of(GUARD_VALUE))
            })
    }

    pub fn elements(&self) -> usize {
        self.elements
    }

    pub fn buffer(&self, id: BufferId) -> &[T] {
        let (start, count) = self.buffers[id.0];
        // SAFETY: the range lies in a block of zero-initialised numbers, and `self` is borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), count) }
    }

    pub fn buffer_mut(&mut self, id: BufferId) -> &mut [T] {
        let (start, count) = self.buffers[id.0];
        // SAFETY: as in `buffer`, and `self` is borrowed mutably: buffers that share memory cannot both be out.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), count) }
    }

    /// First element and length of a buffer, for [`super::Context`], which hands out several at once.
    pub fn raw(&mut self, id: BufferId) -> (NonNull<T>, usize) {
        self.buffers[id.0]
    }
}

/// A block of `count` zeros, page-aligned, on huge pages where the system has them (weights and moments are streamed
/// through once a step, and small pages would cost a TLB miss every 4 KB).
fn zeroed<T>(count: usize) -> Result<(MmapMut, NonNull<T>)> {
    let bytes = count.max(1) * size_of::<T>();
    let block = MmapMut::map_anon(bytes);
    let mut block = block.with_context(|| format!("out of memory: {} were refused", ByteSize(bytes as u64)))?;
    #[cfg(target_os = "linux")]
    if bytes >= 4 << 20 {
        // Only advice: without it the memory is as good, if slower.
        let _ = block.advise(memmap2::Advice::HugePage);
    }
    let start = NonNull::new(block.as_mut_ptr().cast()).context("the system mapped memory at address zero")?;
    Ok((block, start))
}
