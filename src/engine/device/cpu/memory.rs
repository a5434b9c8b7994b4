//! The memory of the CPU device: one arena, or for checked runs a guarded allocation for every buffer.

use std::ptr::NonNull;

use anyhow::{Context as _, Result};
use memmap2::MmapMut;

use crate::base::bytes::ByteSize;
use crate::engine::kernel::cpu::{Element, Real};
use crate::engine::plan::Plan;
use crate::engine::program::Buffers;
use crate::engine::tensor::{BufferId, DType};

/// Bytes of the guards before and after a guarded buffer, which must not be written.
const GUARD: usize = 512;

/// Value of the bytes of guards: NaN in every number format, so that a read there shows in the results.
const GUARD_BYTE: u8 = 0xFF;

/// The host memory of a program's buffers, zero at first: one arena, or a block between guards for each buffer. The
/// system provides pages on first use.
#[derive(Debug)]
pub struct Memory {
    /// The owned blocks, into which the pointers of `allocations` lead.
    _blocks: Vec<MmapMut>,
    allocations: Vec<Allocation>,
    bytes: usize,
    guarded: bool,
}

/// The memory of one buffer.
#[derive(Debug)]
struct Allocation {
    start: NonNull<u8>,
    bytes: usize,
    dtype: DType,
}

// SAFETY: the pointers lead into the blocks that this value owns; who may follow them is decided by borrows of it.
unsafe impl Send for Memory {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Memory {}

impl Memory {
    /// Allocates one block for all buffers, each at its offset in `plan`. `T` is the number type that `plan` was made
    /// for.
    ///
    /// # Errors
    /// When the system refuses the memory.
    ///
    /// # Panics
    /// If a buffer ends outside of the block, as after a plan for another `T`.
    pub fn arena<T: Real>(buffers: &Buffers, plan: &Plan) -> Result<Memory> {
        let (block, arena) = zeroed(plan.total())?;
        let allocation = |(id, buffer): (BufferId, &crate::engine::program::Buffer)| {
            let (offset, bytes) = (plan.offset(id), buffer.count() * T::bytes(buffer.dtype));
            assert!(offset + bytes <= plan.total(), "a planned buffer ends inside the arena");
            // SAFETY: by the line above the offset lies inside the block.
            let start = unsafe { arena.add(offset) };
            Allocation { start, bytes, dtype: buffer.dtype }
        };
        let allocations = buffers.iter().map(allocation).collect();
        Ok(Memory { _blocks: vec![block], allocations, bytes: plan.total(), guarded: false })
    }

    /// Allocates a block for each buffer, with guards before and after it: 512 bytes of 0xFF each, which
    /// [`Memory::guards_intact`] checks.
    ///
    /// # Errors
    /// When the system refuses the memory.
    pub fn guarded<T: Real>(buffers: &Buffers) -> Result<Memory> {
        let mut memory = Memory { _blocks: Vec::new(), allocations: Vec::new(), bytes: 0, guarded: true };
        for (_, buffer) in buffers.iter() {
            let bytes = buffer.count() * T::bytes(buffer.dtype);
            let (mut block, start) = zeroed(bytes + 2 * GUARD)?;
            block[..GUARD].fill(GUARD_BYTE);
            block[GUARD + bytes..].fill(GUARD_BYTE);
            // SAFETY: the block has two guards more than the buffer.
            let start = unsafe { start.add(GUARD) };
            memory.allocations.push(Allocation { start, bytes, dtype: buffer.dtype });
            memory._blocks.push(block);
            memory.bytes += bytes;
        }
        Ok(memory)
    }

    /// True if no byte of a guard has changed. Always true for an arena, which has no guards.
    pub fn guards_intact(&self) -> bool {
        !self.guarded
            || self.allocations.iter().all(|allocation| {
                // SAFETY: a guarded buffer has GUARD bytes of the same block on either side.
                let sides = unsafe {
                    [
                        std::slice::from_raw_parts(allocation.start.as_ptr().sub(GUARD), GUARD),
                        std::slice::from_raw_parts(allocation.start.as_ptr().add(allocation.bytes), GUARD),
                    ]
                };
                sides.into_iter().flatten().all(|byte| *byte == GUARD_BYTE)
            })
    }

    /// Returns the number of bytes allocated for all buffers, guards not counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns all elements of buffer `id`, which is of f32; the CPU stores them as `T`.
    ///
    /// # Panics
    /// If the buffer is of bf16.
    pub fn f32s<T: Real>(&self, id: BufferId) -> &[T] {
        self.elements(DType::F32, id)
    }

    /// As [`Memory::f32s`], but mutable.
    pub fn f32s_mut<T: Real>(&mut self, id: BufferId) -> &mut [T] {
        self.elements_mut(DType::F32, id)
    }

    /// Returns all elements of buffer `id`, which is of bf16; the CPU stores them as `T::Bf16`.
    ///
    /// # Panics
    /// If the buffer is of f32.
    pub fn bf16s<T: Real>(&self, id: BufferId) -> &[T::Bf16] {
        self.elements(DType::Bf16, id)
    }

    /// As [`Memory::bf16s`], but mutable.
    pub fn bf16s_mut<T: Real>(&mut self, id: BufferId) -> &mut [T::Bf16] {
        self.elements_mut(DType::Bf16, id)
    }

    fn elements<E: Element>(&self, dtype: DType, id: BufferId) -> &[E] {
        let allocation = &self.allocations[id.0];
        assert!(allocation.dtype == dtype, "buffer {id} is of {:?}", allocation.dtype);
        // SAFETY: the range lies in a block of zero-initialised numbers, aligned as it was planned, and `self` is
        // borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts(allocation.start.cast().as_ptr(), allocation.bytes / size_of::<E>()) }
    }

    fn elements_mut<E: Element>(&mut self, dtype: DType, id: BufferId) -> &mut [E] {
        let allocation = &self.allocations[id.0];
        assert!(allocation.dtype == dtype, "buffer {id} is of {:?}", allocation.dtype);
        // SAFETY: as in `elements`, and `self` is borrowed mutably: buffers that share memory cannot both be out.
        unsafe { std::slice::from_raw_parts_mut(allocation.start.cast().as_ptr(), allocation.bytes / size_of::<E>()) }
    }

    /// Returns the address of the first byte of buffer `id` and the number of its bytes, for
    /// [`Context`](crate::engine::kernel::cpu::Context), which hands out slices of several buffers side by side.
    pub fn raw(&mut self, id: BufferId) -> (NonNull<u8>, usize) {
        (self.allocations[id.0].start, self.allocations[id.0].bytes)
    }
}

/// The scratch memory of the CPU device: one block, as large as the largest that a step asks for. Each step gets it in
/// turn, with the values that the step before has left.
#[derive(Debug)]
pub struct Workspace {
    block: MmapMut,
    bytes: usize,
}

impl Workspace {
    pub fn new(bytes: usize) -> Result<Workspace> {
        Ok(Workspace { block: zeroed(bytes)?.0, bytes })
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn elements_mut<T: Real>(&mut self) -> &mut [T] {
        let start = self.block.as_mut_ptr().cast();
        // SAFETY: the block has as many bytes, is page-aligned and full of numbers, and is borrowed as long as the
        // slice.
        unsafe { std::slice::from_raw_parts_mut(start, self.bytes / size_of::<T>()) }
    }
}

/// Allocates a page-aligned block of `bytes` zeros and returns it with its address, on huge pages where the system has
/// them: weights and moments are read once in a training step, and pages of 4 KB would cost a TLB miss each.
fn zeroed(bytes: usize) -> Result<(MmapMut, NonNull<u8>)> {
    let block = MmapMut::map_anon(bytes.max(1));
    let mut block = block.with_context(|| format!("out of memory: {} were refused", ByteSize(bytes as u64)))?;
    #[cfg(target_os = "linux")]
    if bytes >= 4 << 20 {
        // Failure is harmless: the memory is slower.
        let _ = block.advise(memmap2::Advice::HugePage);
    }
    let start = NonNull::new(block.as_mut_ptr()).context("the system mapped memory at address zero")?;
    Ok((block, start))
}
