//! Steps on CUDA: the addresses of their tensors, their implementations, and launches as plain data.

mod context;
mod control;
mod implementation;
pub mod kernels;
mod launch;
mod pack;
mod shares;

pub use context::{Context, DeviceElement};
pub use control::DeviceControl;
pub use implementation::{CudaKernel, CudaStep, GpuFacts, Implementation, Scratch};
pub use launch::{Attribute, Dim3, Kernel, Launch, to_int};
pub use pack::{Pack, Ptr, PtrMut, TensorMap};
pub use shares::Shares;

use crate::engine::tensor::Tensor;

/// True if every pixel of `tensor` begins at a multiple of `elements` elements of its buffer, which itself is aligned
/// for any vector load.
pub fn is_aligned(tensor: Tensor, elements: usize) -> bool {
    tensor.offset % elements == 0 && tensor.stride % elements == 0
}

/// The sizes of a tensor in the struct of the kernels.
impl From<Tensor> for kernels::Shape {
    fn from(tensor: Tensor) -> kernels::Shape {
        let [images, height, width, channels] = tensor.shape.map(to_int);
        kernels::Shape { images, height, width, channels, stride: to_int(tensor.stride) }
    }
}
