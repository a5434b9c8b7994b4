//! The memory of the CUDA device: one arena, or for checked runs a separate allocation for every buffer.
//!
//! In a checked run a transient buffer is allocated before its first use and freed after its last, so that the
//! simulator and compute-sanitizer find reads at the wrong time.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use cudarc::driver::{CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr, DriverError, sys};

use super::errors::explain;
use crate::engine::plan::Plan;
use crate::engine::program::{Buffer, Buffers, Lifetime};
use crate::engine::tensor::{BufferId, Tensor};

/// The GPU memory of a program's buffers. Persistent ones are zero at first.
#[derive(Debug)]
pub enum Memory {
    /// One block for all buffers.
    Arena {
        block: CudaSlice<u8>,
        /// By buffer, its offset and its bytes.
        buffers: Vec<(usize, usize)>,
    },
    /// A block for each buffer, for checked runs; `None` for a transient buffer while it is not in use.
    Separate(Vec<Option<CudaSlice<u8>>>),
}

impl Memory {
    /// # Panics
    /// If the buffers have separate allocations, of which transient ones exist only while they are in use.
    pub fn assert_arena(&self) {
        assert!(
            matches!(self, Memory::Arena { .. }),
            "a checked device executes its program by execute_shuffled alone"
        );
    }

    /// Allocates one block for all buffers, each at its offset in `plan`, and zeroes it.
    ///
    /// # Errors
    /// When the GPU does not have enough memory.
    pub fn arena(stream: &Arc<CudaStream>, buffers: &Buffers, plan: &Plan) -> Result<Memory> {
        let block = zeroed(stream, plan.total())?;
        let ranges = buffers.iter().map(|(id, buffer)| (plan.offset(id), bytes_of(buffer))).collect();
        Ok(Memory::Arena { block, buffers: ranges })
    }

    /// Allocates and zeroes a separate block for each persistent buffer. Transient buffers have none until
    /// [`Memory::allocate`].
    ///
    /// # Errors
    /// When the GPU does not have enough memory.
    pub fn separate(stream: &Arc<CudaStream>, buffers: &Buffers) -> Result<Memory> {
        let allocate = |(_, buffer): (BufferId, &Buffer)| match buffer.lifetime {
            Lifetime::Persistent => Ok(Some(zeroed(stream, bytes_of(buffer))?)),
            Lifetime::Transient => Ok(None),
        };
        Ok(Memory::Separate(buffers.iter().map(allocate).collect::<Result<_>>()?))
    }

    /// Returns the number of bytes of GPU memory that are allocated now.
    pub fn bytes(&self) -> usize {
        match self {
            Memory::Arena { block, .. } => block.len(),
            Memory::Separate(blocks) => blocks.iter().flatten().map(CudaSlice::len).sum(),
        }
    }

    /// Allocates `bytes` bytes with arbitrary values for buffer `id`, unless it is allocated already. Does nothing to
    /// an arena.
    ///
    /// # Errors
    /// When the GPU does not have enough memory.
    pub fn allocate(&mut self, stream: &Arc<CudaStream>, id: BufferId, bytes: usize) -> Result<()> {
        if let Memory::Separate(blocks) = self
            && blocks[id.0].is_none()
        {
            blocks[id.0] = Some(allocate(stream, bytes)?);
        }
        Ok(())
    }

    /// Frees buffer `id`, if it is allocated. Does nothing to an arena.
    pub fn free(&mut self, id: BufferId) {
        if let Memory::Separate(blocks) = self {
            blocks[id.0] = None;
        }
    }

    /// Returns the address, in GPU memory, of the tensor's first element.
    ///
    /// # Panics
    /// If the tensor ends outside of its buffer, or the buffer is a transient one that is not allocated now.
    pub fn address(&self, stream: &CudaStream, tensor: Tensor) -> u64 {
        self.view(tensor).device_ptr(stream).0
    }

    /// Returns the tensor's memory, from its first element to its last, gaps included.
    ///
    /// # Panics
    /// If the tensor ends outside of its buffer, or the buffer is a transient one that is not allocated now.
    pub fn view(&self, tensor: Tensor) -> CudaView<'_, u8> {
        let span = span(tensor);
        match self {
            Memory::Arena { block, buffers } => {
                let (start, count) = buffers[tensor.buffer.0];
                assert!(span.end <= count, "{tensor:?} ends outside of its buffer");
                block.slice(start + span.start..start + span.end)
            }
            Memory::Separate(blocks) => blocks[tensor.buffer.0].as_ref().expect("allocated while in use").slice(span),
        }
    }

    /// As [`Memory::view`], but mutable.
    pub fn view_mut(&mut self, tensor: Tensor) -> CudaViewMut<'_, u8> {
        let span = span(tensor);
        match self {
            Memory::Arena { block, buffers } => {
                let (start, count) = buffers[tensor.buffer.0];
                assert!(span.end <= count, "{tensor:?} ends outside of its buffer");
                block.slice_mut(start + span.start..start + span.end)
            }
            Memory::Separate(blocks) => {
                blocks[tensor.buffer.0].as_mut().expect("allocated while in use").slice_mut(span)
            }
        }
    }
}

/// Returns the number of bytes that the elements of a buffer take on the GPU.
pub fn bytes_of(buffer: &Buffer) -> usize {
    buffer.count() * buffer.dtype.bytes()
}

/// The span of a tensor in its buffer, in bytes.
fn span(tensor: Tensor) -> Range<usize> {
    let (span, element) = (tensor.span(), tensor.dtype.bytes());
    span.start * element..span.end * element
}

fn zeroed(stream: &Arc<CudaStream>, bytes: usize) -> Result<CudaSlice<u8>> {
    let mut block = allocate(stream, bytes)?;
    stream.memset_zeros(&mut block).map_err(|error| explain("cannot clear GPU memory", error))?;
    Ok(block)
}

/// Allocates memory with arbitrary values.
///
/// # Errors
/// When the GPU has not that much memory, with the sizes of the request and of what is free.
fn allocate(stream: &Arc<CudaStream>, bytes: usize) -> Result<CudaSlice<u8>> {
    let bytes = bytes.max(1);
    // SAFETY: callers zero the memory, or give it to a transient buffer, which is written before it is read.
    let block = unsafe { stream.alloc::<u8>(bytes) };
    block.map_err(|error| match error {
        DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
            let asked = bytes.div_ceil(1 << 20);
            let room = match stream.context().mem_get_info() {
                Ok((free, total)) => format!("{} of {} MB are free", free >> 20, total >> 20),
                Err(error) => explain("nobody knows how much is free", error).to_string(),
            };
            anyhow!("not enough GPU memory: {asked} MB are asked for, {room}; a smaller batch or picture needs less")
        }
        other => explain("cannot allocate GPU memory", other),
    })
}
