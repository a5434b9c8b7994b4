//! Average pooling on CUDA: a thread for each element of the result.

use super::{AvgPool, AvgPoolGrad};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{self, AVG_POOL_FORWARD, AVG_POOL_GRAD, AvgPoolForward};
use crate::engine::kernel::cuda::{CudaKernel, Implementation};

impl CudaKernel for AvgPool {
    const IMPLEMENTATIONS: &'static [Implementation<AvgPool>] = &[Implementation::plain(|pool, context| {
        let argument = AvgPoolForward {
            x: context.read(pool.x),
            y: context.write(Access::Write(pool.y)),
            x_shape: pool.x.into(),
            y_shape: pool.y.into(),
        };
        vec![AVG_POOL_FORWARD.launch_for(pool.y.count(), argument)]
    })];
}

impl CudaKernel for AvgPoolGrad {
    const IMPLEMENTATIONS: &'static [Implementation<AvgPoolGrad>] = &[Implementation::plain(|pool, context| {
        let argument = kernels::AvgPoolGrad {
            dy: context.read(pool.dy),
            dx: context.write(pool.dx.access()),
            dy_shape: pool.dy.into(),
            dx_shape: pool.dx.tensor.into(),
            accumulate: i32::from(pool.dx.accumulates()),
        };
        vec![AVG_POOL_GRAD.launch_for(pool.dx.tensor.count(), argument)]
    })];
}
