//! Steps on CUDA: the addresses of their tensors, their implementations, and launches as plain data.

mod beside;
mod context;
mod control;
mod crop;
mod implementation;
pub mod kernels;
mod launch;
mod pack;
mod shares;

pub(in crate::engine) use beside::beside;
pub use context::{Context, DeviceElement};
pub use control::DeviceControl;
pub use crop::DeviceCrop;
pub use implementation::{CudaKernel, CudaStep, GpuFacts, Implementation, PLAIN, Scratch};
pub use launch::{Attribute, Dim3, Kernel, Launch, to_int};
pub use pack::{Pack, Ptr, PtrMut, TensorMap};
pub use shares::Shares;

use crate::engine::tensor::Tensor;

/// True if every pixel of `tensor` begins at a multiple of `elements` elements of its buffer, which itself is aligned
/// for any vector load.
pub fn is_aligned(tensor: Tensor, elements: usize) -> bool {
    tensor.offset.is_multiple_of(elements) && tensor.stride.is_multiple_of(elements)
}

/// True if the pixels of `tensor` are whole quads of f32, each at an address of 16 bytes.
pub fn in_quads(tensor: Tensor) -> bool {
    is_aligned(tensor, 4) && tensor.channels().is_multiple_of(4)
}

/// True if the contiguous `tensor` of f32 begins at an address of 16 bytes.
pub fn begins_with_quad(tensor: Tensor) -> bool {
    tensor.offset.is_multiple_of(4)
}

/// The sizes of a tensor in the struct of the kernels.
impl From<Tensor> for kernels::Shape {
    fn from(tensor: Tensor) -> kernels::Shape {
        let [images, height, width, channels] = tensor.shape.map(to_int);
        kernels::Shape { images, height, width, channels, stride: to_int(tensor.stride) }
    }
}
