//! Copies that the host does not wait for: small uploads, and reads whose values are fetched later. Both go through
//! pinned memory, which the GPU accesses by itself while the host goes on.

use std::sync::Arc;

use anyhow::Result;
use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{
    CudaEvent, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, PinnedHostSlice, ValidAsZeroBits,
};

use super::errors::explain;
use super::{Cuda, elements};
use crate::engine::tensor::Tensor;

/// Pinned host memory for copies one after the other. cudarc does not record the events of its pinned memory where it
/// does not track those of GPU memory, so this one has an event of its own.
#[derive(Debug)]
pub struct Pinned<T> {
    memory: PinnedHostSlice<T>,
    /// Behind the last copy on the stream.
    copied: CudaEvent,
}

impl<T: DeviceRepr + ValidAsZeroBits> Pinned<T> {
    /// Allocates memory for `count` values, all zero bits.
    fn new(stream: &Arc<CudaStream>, count: usize) -> Result<Pinned<T>> {
        let allocate = || {
            let context = stream.context();
            // The host sleeps while it waits.
            let copied = context.new_event(Some(CUevent_flags::CU_EVENT_BLOCKING_SYNC))?;
            // SAFETY: filled with zeros below, before anything reads it.
            let mut memory = unsafe { context.alloc_pinned_with_flags::<T>(count.max(1), 0) }?;
            let start = memory.as_mut_ptr()?;
            // SAFETY: the allocation has this many values, no copy has been enqueued, and zero bits are a value of `T`.
            unsafe { start.write_bytes(0, memory.len()) };
            Ok(Pinned { memory, copied })
        };
        allocate().map_err(|error| explain("cannot allocate host memory that the GPU accesses", error))
    }

    /// Waits for the last copy, and returns the values.
    fn values(&mut self) -> Result<&mut [T], DriverError> {
        self.copied.synchronize()?;
        self.memory.as_mut_slice()
    }

    fn copy_to(&self, stream: &Arc<CudaStream>, to: &mut CudaSlice<T>) -> Result<(), DriverError> {
        stream.memcpy_htod(&self.memory, to)?;
        self.copied.record(stream)
    }

    fn copy_from(&mut self, stream: &Arc<CudaStream>, from: &impl DevicePtr<T>) -> Result<(), DriverError> {
        stream.memcpy_dtoh(from, &mut self.memory)?;
        self.copied.record(stream)
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // A copy under way would meet freed memory. Its error is that of a kernel, which has been returned elsewhere.
        let _ = self.copied.synchronize();
    }
}

/// A copy to the GPU, repeated with other values. Two pinned buffers take turns, so that the host writes the values of
/// one upload while that before it is still waiting on the stream.
#[derive(Debug)]
pub struct Upload<T> {
    buffers: [Pinned<T>; 2],
}

impl<T: DeviceRepr + ValidAsZeroBits + Copy> Upload<T> {
    /// Allocates the host memory for uploads of `count` values.
    ///
    /// # Errors
    /// When the driver refuses the memory.
    pub fn new(stream: &Arc<CudaStream>, count: usize) -> Result<Upload<T>> {
        Ok(Upload { buffers: [Pinned::new(stream, count)?, Pinned::new(stream, count)?] })
    }

    /// Enqueues a copy of `values` to `to`. Waits only if the upload before the last one has not been done yet.
    ///
    /// # Errors
    /// When an earlier kernel has failed, or the driver refuses.
    ///
    /// # Panics
    /// If `values` are not as many as the upload was created for.
    pub fn send(&mut self, stream: &Arc<CudaStream>, values: &[T], to: &mut CudaSlice<T>) -> Result<()> {
        let cannot = |error| explain("cannot write to GPU memory", error);
        self.buffers.swap(0, 1);
        self.buffers[0].values().map_err(cannot)?.copy_from_slice(values);
        self.buffers[0].copy_to(stream, to).map_err(cannot)
    }
}

/// The values of a tensor on their way to the host, see [`Cuda::read_later`].
#[derive(Debug)]
pub struct PendingCopy {
    tensor: Tensor,
    /// The bytes from the first element of the tensor to its last.
    bytes: Pinned<u8>,
}

impl Cuda {
    /// Enqueues a copy of the values that `tensor` will have when everything enqueued before is done, and does not wait
    /// for it. [`Cuda::finish_read`] returns them.
    ///
    /// # Errors
    /// When an earlier kernel has failed, or the driver refuses.
    ///
    /// # Panics
    /// As [`Cuda::read`].
    pub fn read_later(&mut self, tensor: Tensor) -> Result<PendingCopy> {
        let values = self.memory.view(tensor);
        let mut bytes = match self.read_buffers.iter().position(|buffer| buffer.memory.len() == values.len()) {
            Some(index) => self.read_buffers.swap_remove(index),
            None => Pinned::new(&self.stream, values.len())?,
        };
        self.done("cannot read GPU memory", bytes.copy_from(&self.stream, &values))?;
        Ok(PendingCopy { tensor, bytes })
    }

    /// Waits for a copy, but for nothing that was enqueued behind it, and returns the values in row-major order
    /// `[n, h, w, c]` without gaps, bf16 converted to f32.
    ///
    /// # Errors
    /// When a kernel before the copy has failed.
    pub fn finish_read(&mut self, copy: PendingCopy) -> Result<Vec<f32>> {
        let PendingCopy { tensor, mut bytes } = copy;
        let values = elements(tensor, self.done("cannot read GPU memory", bytes.values())?);
        self.read_buffers.push(bytes);
        Ok(values)
    }
}
