//! Copies of a network's values between a device and the names and layouts of PyTorch.

use anyhow::Result;

use super::TensorSpec;
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::gan::{ParameterSpec, Parameters};

/// A flat buffer of a network on a device, its parameters or one of Adam's moments, seen as the named tensors of a
/// checkpoint: each parameter's tensor is called `PREFIX.NAME`, `NAME` being the parameter's name in PyTorch.
#[derive(Clone, Debug)]
pub struct NamedBuffer<'a> {
    pub parameters: &'a Parameters,
    /// The buffer: `parameters.values`, or one of `parameters.moments`.
    pub flat: Tensor,
    /// Such as `generator`, or `adam.first.generator` for the first moment.
    pub prefix: String,
}

impl NamedBuffer<'_> {
    /// Returns names and PyTorch shapes of all tensors, in the order of `parameters.specs`.
    pub fn specs(&self) -> impl Iterator<Item = TensorSpec> {
        let spec = |spec: &ParameterSpec| TensorSpec { name: self.name(&spec.name), shape: spec.torch_shape() };
        self.parameters.specs.iter().map(spec)
    }

    /// True if the buffer holds the parameters, false if it holds a moment.
    pub fn is_weights(&self) -> bool {
        self.flat == self.parameters.values
    }

    fn name(&self, parameter: &str) -> String {
        format!("{}.{parameter}", self.prefix)
    }

    /// Reads the values of tensor `index` of [`NamedBuffer::specs`] from the device, row-major in PyTorch's shape.
    ///
    /// # Errors
    /// When the device has failed.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub fn read(&self, device: &Device, index: usize) -> Result<Vec<f32>> {
        let values = device.read(self.parameters.part(self.flat, index))?;
        Ok(self.parameters.specs[index].to_torch(&values))
    }

    /// Writes all tensors to the device. `read` is called for each with its name and PyTorch shape, and returns its
    /// values, row-major.
    ///
    /// # Errors
    /// Those of `read`, or when the device has failed.
    ///
    /// # Panics
    /// When `read` returns fewer values than the shape has.
    pub fn load(&self, device: &mut Device, mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>) -> Result<()> {
        for (index, spec) in self.parameters.specs.iter().enumerate() {
            let values = read(&self.name(&spec.name), &spec.torch_shape())?;
            device.write(self.parameters.part(self.flat, index), &spec.from_torch(&values))?;
        }
        Ok(())
    }
}
