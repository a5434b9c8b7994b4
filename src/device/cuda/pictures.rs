//! Pictures on their way in: samples go over the bus, and a kernel crops, mirrors and turns them into floats.

use std::sync::Arc;

use anyhow::Result;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DeviceRepr};

use super::driver::explain;
use super::launch::{Ptr, PtrMut, blocks, int};
use super::{Cuda, kernels, run};
use crate::data::{Pictures, Stack};
use crate::tensor::Tensor;

/// Memory for the samples of a batch.
#[derive(Debug)]
pub struct Staging {
    inputs: CudaSlice<u16>,
    targets: CudaSlice<u16>,
    windows: CudaSlice<i32>,
}

impl Cuda {
    /// Fills `input` and `target`, `[n, h, w, channels]`, with the windows of `pictures`: the floats of
    /// [`Pictures::inputs_to_f32`] and [`Pictures::targets_to_f32`], to the bit.
    ///
    /// # Errors
    /// When the driver refuses, or an earlier kernel has failed.
    pub fn show(&mut self, pictures: &Pictures, input: Tensor, target: Tensor) -> Result<()> {
        if pictures.windows.is_empty() {
            return Ok(());
        }
        let windows: Vec<i32> =
            pictures.windows.iter().flat_map(|w| [w.left, w.top, usize::from(w.flip)]).map(int).collect();
        let old = self.staging.take();
        let (inputs, targets, old_windows) =
            old.map_or((None, None, None), |s| (Some(s.inputs), Some(s.targets), Some(s.windows)));
        let staging = Staging {
            inputs: upload(&self.stream, inputs, &pictures.inputs.samples)?,
            targets: upload(&self.stream, targets, &pictures.targets.samples)?,
            windows: upload(&self.stream, old_windows, &windows)?,
        };
        self.prepare(&pictures.inputs, &staging.inputs, &staging.windows, input)?;
        self.prepare(&pictures.targets, &staging.targets, &staging.windows, target)?;
        self.staging = Some(staging);
        Ok(())
    }

    /// Fills `out` with the windows of the pictures of `stack`, whose samples are those of `source`.
    fn prepare(&self, stack: &Stack, source: &CudaSlice<u16>, windows: &CudaSlice<i32>, out: Tensor) -> Result<()> {
        let [count, height, width, channels] = out.shape;
        let [pictures, source_height, source_width, source_channels] = stack.shape;
        assert_eq!((pictures, source_channels), (count, channels), "pictures for the tensor to fill");
        let launch = kernels::image_prepare(
            blocks(out.count(), kernels::image_prepare::BLOCK),
            Ptr::new(source.device_ptr(&self.stream).0),
            Ptr::new(windows.device_ptr(&self.stream).0),
            PtrMut::new(self.memory.address(&self.stream, out)),
            int(count),
            int(source_height),
            int(source_width),
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
