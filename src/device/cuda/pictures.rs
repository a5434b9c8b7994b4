//! Pictures on their way in: samples go over the bus, and a kernel mirrors them and turns them into floats.

use std::sync::Arc;

use anyhow::Result;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DeviceRepr};

use super::errors::explain;
use super::launch::{Ptr, PtrMut, blocks, int};
use super::{Cuda, kernels, run};
use crate::data::{Pictures, Stack};
use crate::tensor::Tensor;

/// Memory for the samples of a batch.
#[derive(Debug)]
pub struct Staging {
    inputs: CudaSlice<u16>,
    targets: CudaSlice<u16>,
    flips: CudaSlice<i32>,
}

impl Cuda {
    /// Fills `input` and `target`, `[n, h, w, channels]`, with `pictures`: the floats of [`Pictures::inputs_to_f32`] and
    /// [`Pictures::targets_to_f32`], to the bit.
    ///
    /// # Errors
    /// When the driver refuses, or an earlier kernel has failed.
    pub fn show(&mut self, pictures: &Pictures, input: Tensor, target: Tensor) -> Result<()> {
        let flips: Vec<i32> = pictures.flips.iter().map(|&flip| i32::from(flip)).collect();
        let old = self.staging.take();
        let (inputs, targets, old_flips) =
            old.map_or((None, None, None), |s| (Some(s.inputs), Some(s.targets), Some(s.flips)));
        let staging = Staging {
            inputs: upload(&self.stream, inputs, &pictures.inputs.samples)?,
            targets: upload(&self.stream, targets, &pictures.targets.samples)?,
            flips: upload(&self.stream, old_flips, &flips)?,
        };
        self.prepare(&pictures.inputs, &staging.inputs, &staging.flips, input)?;
        self.prepare(&pictures.targets, &staging.targets, &staging.flips, target)?;
        self.staging = Some(staging);
        Ok(())
    }

    /// Fills `out` with the pictures of `stack`, whose samples are those of `source`.
    fn prepare(&self, stack: &Stack, source: &CudaSlice<u16>, flips: &CudaSlice<i32>, out: Tensor) -> Result<()> {
        assert_eq!(stack.shape, out.shape, "pictures for the tensor to fill");
        let [count, height, width, channels] = out.shape;
        let launch = kernels::image_prepare(
            blocks(out.count(), kernels::image_prepare::BLOCK),
            Ptr::new(source.device_ptr(&self.stream).0),
            Ptr::new(flips.device_ptr(&self.stream).0),
            PtrMut::new(self.memory.address(&self.stream, out)),
            int(count),
            int(height),
            int(width),
            int(channels),
            int(out.stride),
        );
        run(&self.stream, &self.gpu.functions, &launch)
    }
}

/// Copies `values` to `place`, or to new memory when it has another size.
fn upload<T: DeviceRepr>(stream: &Arc<CudaStream>, place: Option<CudaSlice<T>>, values: &[T]) -> Result<CudaSlice<T>> {
    let sent = match place.filter(|place| place.len() == values.len()) {
        Some(mut place) => stream.memcpy_htod(values, &mut place).map(|()| place),
        None => stream.clone_htod(values),
    };
    sent.map_err(|error| explain("cannot write pictures to GPU memory", error))
}
