//! Pictures on their way in: bytes go over the bus, and a kernel crops, mirrors and turns them into floats.

use std::sync::Arc;

use anyhow::Result;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DeviceRepr};

use super::driver::explain;
use super::launch::{Ptr, PtrMut, blocks, int};
use super::{Cuda, kernels, run};
use crate::data::Pictures;
use crate::tensor::Tensor;

/// Memory for the bytes of a batch.
#[derive(Debug)]
pub struct Staging {
    inputs: CudaSlice<u8>,
    targets: CudaSlice<u8>,
    windows: CudaSlice<i32>,
}

impl Cuda {
    /// Fills `input` and `target`, `[n, h, w, 3]`, with the windows of `pictures`: the floats of
    /// [`Pictures::inputs_to_f32`] and [`Pictures::targets_to_f32`], to the bit.
    ///
    /// # Errors
    /// When the driver refuses, or an earlier kernel has failed.
    pub fn show(&mut self, pictures: &Pictures, input: Tensor, target: Tensor) -> Result<()> {
        let [count, height, width, _] = input.shape;
        assert_eq!((pictures.windows.len(), input.shape), (count, target.shape), "pictures for the tensors to fill");
        let Some(source) = pictures.size else { return Ok(()) };
        let windows: Vec<i32> =
            pictures.windows.iter().flat_map(|w| [w.left, w.top, usize::from(w.flip)]).map(int).collect();
        let old = self.staging.take();
        let (inputs, targets, old_windows) =
            old.map_or((None, None, None), |s| (Some(s.inputs), Some(s.targets), Some(s.windows)));
        let staging = Staging {
            inputs: upload(&self.stream, inputs, &pictures.inputs)?,
            targets: upload(&self.stream, targets, &pictures.targets)?,
            windows: upload(&self.stream, old_windows, &windows)?,
        };
        let start = |tensor| PtrMut::new(self.memory.address(&self.stream, tensor));
        let launch = kernels::image_prepare(
            blocks(input.count(), kernels::image_prepare::BLOCK),
            Ptr::new(staging.inputs.device_ptr(&self.stream).0),
            Ptr::new(staging.targets.device_ptr(&self.stream).0),
            Ptr::new(staging.windows.device_ptr(&self.stream).0),
            start(input),
            start(target),
            int(count),
            int(source.height),
            int(source.width),
            int(height),
            int(width),
            int(input.stride),
            int(target.stride),
        );
        run(&self.stream, &self.gpu.functions, &launch)?;
        self.staging = Some(staging);
        Ok(())
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
