//! A network's values on their way between a device and PyTorch's names and layouts.

use anyhow::Result;

use super::TensorSpec;
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::gan::{Parameters, Spec};

/// One flat buffer of a network (values or a moment) under a prefix, as a checkpoint names it.
#[derive(Clone, Debug)]
pub struct State<'a> {
    pub parameters: &'a Parameters,
    pub flat: Tensor,
    pub prefix: String,
}

impl State<'_> {
    /// Names and PyTorch shapes of all tensors.
    pub fn specs(&self) -> impl Iterator<Item = TensorSpec> {
        let spec = |spec: &Spec| TensorSpec { name: self.name(&spec.name), shape: spec.torch_shape() };
        self.parameters.specs.iter().map(spec)
    }

    /// True for the network itself, false for the moments of its updates.
    pub fn is_weights(&self) -> bool {
        self.flat == self.parameters.values
    }

    fn name(&self, parameter: &str) -> String {
        format!("{}.{parameter}", self.prefix)
    }

    /// The values of tensor `index` in PyTorch's layout.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn read(&self, device: &Device, index: usize) -> Result<Vec<f32>> {
        let values = device.read(self.parameters.part(self.flat, index))?;
        Ok(self.parameters.specs[index].to_torch(&values))
    }

    /// Loads all tensors. `read` gives a tensor of a file by its name and shape.
    ///
    /// # Errors
    /// Naming the tensor that is missing or has another shape; or when the device has failed.
    pub fn load(&self, device: &mut Device, mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>) -> Result<()> {
        for (index, spec) in self.parameters.specs.iter().enumerate() {
            let values = read(&self.name(&spec.name), &spec.torch_shape())?;
            device.write(self.parameters.part(self.flat, index), &spec.from_torch(&values))?;
        }
        Ok(())
    }
}
