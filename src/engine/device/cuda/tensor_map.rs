//! Tensor maps, the descriptors by which the tensor memory accelerator (TMA) of Hopper GPUs addresses tensors.

use cudarc::driver::sys;

use crate::engine::kernel::cuda::TensorMap;
use crate::engine::tensor::{DType, Tensor};

/// Returns the tensor map of `tensor`, whose first element is at the GPU address `address`. It describes a matrix with
/// a row for each of the `n * h * w` pixels and a column for each channel, of which a kernel loads boxes of
/// `[box_pixels, box_channels]` elements.
///
/// # Panics
/// If the driver refuses it. An implementation that uses a tensor map has a condition for the tensors that can have
/// one.
pub fn tensor_map(tensor: Tensor, address: u64, [box_pixels, box_channels]: [usize; 2]) -> TensorMap {
    let element = match tensor.dtype {
        DType::F32 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        DType::Bf16 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
    };
    // Innermost first.
    let sizes = [tensor.channels() as u64, tensor.pixels() as u64];
    let strides = [(tensor.stride * tensor.dtype.bytes()) as u64];
    let (boxes, steps) = ([box_channels as u32, box_pixels as u32], [1_u32, 1]);
    let mut map = TensorMap([0; 16]);
    // SAFETY: the arrays have as many entries as the rank of 2 asks for, and `map` has the size and at least the
    // alignment of a CUtensorMap.
    let encoded = unsafe {
        sys::cuTensorMapEncodeTiled(
            (&raw mut map).cast::<sys::CUtensorMap>(),
            element,
            2,
            address as *mut _,
            sizes.as_ptr(),
            strides.as_ptr(),
            boxes.as_ptr(),
            steps.as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
            sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_NONE,
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    assert!(encoded == sys::CUresult::CUDA_SUCCESS, "{tensor:?} has no tensor map: {encoded:?}");
    map
}
