//! Copies on CUDA.

use super::Copy;
use crate::engine::kernel::cuda::{CudaKernel, Implementation, kernels, to_int};

impl CudaKernel for Copy {
    const IMPLEMENTATIONS: &'static [Implementation<Copy>] = &[Implementation::plain(|copy, context| {
        let argument = kernels::Copy {
            from: context.read(copy.from),
            to: context.write(copy.to.access()),
            pixels: to_int(copy.from.pixels()),
            channels: to_int(copy.from.channels()),
            from_stride: to_int(copy.from.stride),
            to_stride: to_int(copy.to.tensor.stride),
            accumulate: i32::from(copy.to.accumulates()),
        };
        vec![kernels::COPY.launch_for(copy.from.count(), argument)]
    })];
}
