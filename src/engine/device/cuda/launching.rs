//! Launching a kernel: the call of the driver that enqueues a launch.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use cudarc::driver::sys::{self, CUfunction_attribute, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue};
use cudarc::driver::{CudaFunction, CudaStream};

use super::driver::Gpu;
use super::errors::explain;
use crate::engine::kernel::cuda::kernels::KERNELS;
use crate::engine::kernel::cuda::{Attribute, Launch};

/// Bytes of dynamic shared memory that every kernel may use; more has to be permitted kernel by kernel.
const DEFAULT_SHARED_MEMORY: usize = 48 << 10;

/// Raises the limit of dynamic shared memory for the kernels of those `launches` that use more than the 48 KiB of
/// [`DEFAULT_SHARED_MEMORY`]. The limit is a property of the kernel, which other programs on this GPU share, so it is
/// raised to the most that a block can have.
///
/// # Errors
/// When a launch uses more than a block can have, or the driver refuses.
pub fn permit_shared_memory(gpu: &Gpu, launches: &[Launch]) -> Result<()> {
    for launch in launches.iter().filter(|launch| launch.shared > DEFAULT_SHARED_MEMORY) {
        let (function, name) = (&gpu.functions[launch.kernel], KERNELS[launch.kernel].name);
        let cannot = |error| explain(&format!("cannot permit {name} its shared memory"), error);
        let fixed =
            function.get_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES).map_err(cannot)?;
        let most = gpu.facts.shared_memory.saturating_sub(fixed.max(0) as usize);
        ensure!(
            launch.shared <= most,
            "{name} uses {} bytes of shared memory, of which there are {most}",
            launch.shared
        );
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(attribute, most as i32).map_err(cannot)?;
    }
    Ok(())
}

/// Enqueues `launch` on `stream` without waiting for it; `functions` are the loaded kernels in the order of
/// [`KERNELS`].
///
/// # Errors
/// When the driver refuses it, or an earlier kernel has failed.
///
/// # Panics
/// If the argument does not have the length that the kernel declares, or the grid has 2^32 blocks or more in one
/// dimension.
pub fn run(stream: &Arc<CudaStream>, functions: &[CudaFunction], launch: &Launch) -> Result<()> {
    let kernel = &KERNELS[launch.kernel];
    let bytes = &launch.argument;
    // The driver reads as many bytes as the kernel declares.
    assert_eq!(bytes.len(), kernel.bytes, "the argument of {}", kernel.name);
    let cannot = |error| explain(&format!("cannot launch {}", kernel.name), error);
    let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (launch.grid.sizes(), launch.block.sizes());
    let mut attributes: Vec<CUlaunchAttribute> = launch.attributes.iter().map(attribute).collect();
    let config = sys::CUlaunchConfig {
        gridDimX: grid_x,
        gridDimY: grid_y,
        gridDimZ: grid_z,
        blockDimX: block_x,
        blockDimY: block_y,
        blockDimZ: block_z,
        sharedMemBytes: launch.shared as u32,
        hStream: stream.cu_stream(),
        attrs: attributes.as_mut_ptr(),
        numAttrs: attributes.len() as u32,
    };
    let mut arguments = [bytes.as_ptr().cast_mut().cast::<c_void>()];
    stream.context().bind_to_thread().map_err(cannot)?;
    // SAFETY: the argument has the layout of the kernel's declaration, from which the code that packed it was
    // generated, and its length was checked; the driver copies it during the call. Its pointers are spans of declared
    // tensors in live memory of this device, and its sizes come from the same tensors' shapes. That kernels stay inside
    // them is checked in the tests, by the simulator and by compute-sanitizer.
    let launched = unsafe {
        let function = functions[launch.kernel].cu_function();
        sys::cuLaunchKernelEx(&config, function, arguments.as_mut_ptr(), ptr::null_mut())
    };
    launched.result().map_err(cannot)
}

fn attribute(attribute: &Attribute) -> CUlaunchAttribute {
    // SAFETY: a union of numbers and pointers, of which zeros are values.
    let mut value: CUlaunchAttributeValue = unsafe { std::mem::zeroed() };
    let id = match *attribute {
        Attribute::Priority(priority) => {
            value.priority = priority;
            CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PRIORITY
        }
    };
    CUlaunchAttribute { id, pad: [0; 4], value }
}
