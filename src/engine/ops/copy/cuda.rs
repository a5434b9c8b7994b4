//! Copies on CUDA.

use super::Copy;
use crate::engine::kernel::cuda::{CudaKernel, Implementation, int, kernels};

impl CudaKernel for Copy {
    const IMPLEMENTATIONS: &'static [Implementation<Copy>] = &[Implementation::plain(|copy, context| {
        let argument = kernels::Copy {
            from: context.read(copy.from),
            to: context.write(copy.to.access()),
            pixels: int(copy.from.pixels()),
            channels: int(copy.from.channels()),
            from_stride: int(copy.from.stride),
            to_stride: int(copy.to.tensor.stride),
            accumulate: i32::from(copy.to.accumulates()),
        };
        vec![kernels::COPY.launch_for(copy.from.count(), argument)]
    })];
}
