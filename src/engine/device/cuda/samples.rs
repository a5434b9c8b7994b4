//! Upload of 16-bit samples, which a kernel mirrors and converts to floats: half the bytes of floats on the bus.

use std::sync::Arc;

use anyhow::Result;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DeviceRepr};

use super::Cuda;
use super::errors::explain;
use super::launching::run;
use crate::engine::kernel::cuda::kernels::{SAMPLES_NORMALIZE, SamplesNormalize};
use crate::engine::kernel::cuda::{Ptr, PtrMut};
use crate::engine::samples::Samples;
use crate::engine::tensor::{DType, Tensor};

/// GPU memory for the 16-bit samples of one tensor, and for a flag for each of its images (1 if it is mirrored), from
/// which a kernel makes floats. It is kept for the next samples.
#[derive(Debug)]
pub struct Staging {
    samples: CudaSlice<u16>,
    mirrored: CudaSlice<i32>,
}

impl Cuda {
    /// Uploads `samples` and enqueues the kernel that writes them to `tensor`, which is of f32: normalised to [-1, 1],
    /// and an image flipped left to right if it is marked in `samples.mirrored`. The floats are those of
    /// [`Samples::normalize`], bit for bit.
    ///
    /// # Errors
    /// When an earlier kernel has failed, or the driver refuses.
    ///
    /// # Panics
    /// If the shapes differ, `samples` has not one value for each element and one flag for each image, or `tensor` is
    /// not of f32.
    pub fn write_samples(&mut self, tensor: Tensor, samples: Samples<'_>) -> Result<()> {
        assert_eq!(samples.shape, tensor.shape, "samples for the tensor to fill");
        assert_eq!(samples.values.len(), tensor.count(), "a sample for every element");
        assert_eq!(samples.mirrored.len(), tensor.shape[0], "a flag for every image");
        let mirrored: Vec<i32> = samples.mirrored.iter().map(|&mirrored| i32::from(mirrored)).collect();
        let (old_samples, old_mirrored) = match self.staging.remove(&tensor.buffer) {
            Some(Staging { samples, mirrored }) => (Some(samples), Some(mirrored)),
            None => (None, None),
        };
        let staging = Staging {
            samples: upload(&self.stream, old_samples, samples.values)?,
            mirrored: upload(&self.stream, old_mirrored, &mirrored)?,
        };
        assert!(tensor.dtype == DType::F32, "samples become f32");
        let argument = SamplesNormalize {
            samples: Ptr::new(staging.samples.device_ptr(&self.stream).0),
            mirrored: Ptr::new(staging.mirrored.device_ptr(&self.stream).0),
            out: PtrMut::new(self.memory.address(&self.stream, tensor)),
            out_shape: tensor.into(),
        };
        self.staging.insert(tensor.buffer, staging);
        run(&self.stream, &self.gpu.functions, &SAMPLES_NORMALIZE.launch_for(tensor.count(), argument))?;
        self.copy_on(tensor)
    }
}

/// Copies `values` to `memory` if that has their size, else to new memory, and returns it.
fn upload<T: DeviceRepr>(stream: &Arc<CudaStream>, memory: Option<CudaSlice<T>>, values: &[T]) -> Result<CudaSlice<T>> {
    let sent = match memory.filter(|memory| memory.len() == values.len()) {
        Some(mut memory) => stream.memcpy_htod(values, &mut memory).map(|()| memory),
        None => stream.clone_htod(values),
    };
    sent.map_err(|error| explain("cannot write pictures to GPU memory", error))
}
