//! The SSIM loss on CUDA: a thread for each window, then one for each element of the gradient.

use super::super::LossGrad;
use super::Windows;
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    LOSS_FINISH, LossFinish, SSIM_GRADIENT, SSIM_WINDOWS, SsimGradient, SsimWindows,
};
use crate::engine::kernel::cuda::{Context, Launch, int};
use crate::engine::tensor::Tensor;

/// Threads of a block of `ssim_windows`, each of which sums what its threads find.
const THREADS: usize = 256;

/// Bytes of the derivatives of a window: three floats.
const SLOPES: usize = 3 * size_of::<f32>();

/// Size in bytes of the scratch memory that the SSIM loss and its gradient need for pictures of `target`'s shape: for
/// the derivatives of all windows, and a sum for every block.
///
/// # Panics
/// If a side of the pictures is below [`WINDOW`](super::WINDOW).
pub fn workspace(target: Tensor) -> usize {
    let count = Windows::new(target).count();
    SLOPES * count + count.div_ceil(THREADS) * size_of::<f32>()
}

impl LossGrad {
    pub(in super::super) fn launch_ssim(&self, context: &Context<'_>, target: Tensor) -> Vec<Launch> {
        let count = Windows::new(target).count();
        let partials = count.div_ceil(THREADS);
        let (x, target_stride) = (context.read(self.loss.x), int(target.stride));
        let target = context.read(target);
        let slopes = context.workspace::<f32>();
        let partial = slopes.offset(3 * count);
        let windows = SsimWindows { x, target, slopes, partial, x_shape: self.loss.x.into(), target_stride };
        let mean = LossFinish {
            partial: partial.as_ptr(),
            value: context.write(Access::Write(self.loss.value)),
            partials: int(partials),
            count: count as f64,
        };
        let gradient = SsimGradient {
            x,
            target,
            slopes: slopes.as_ptr(),
            gradient: context.write(self.gradient.access()),
            x_shape: self.loss.x.into(),
            target_stride,
            gradient_stride: int(self.gradient.tensor.stride),
            factor: (-self.loss.weight / count as f64) as f32,
            accumulate: i32::from(self.gradient.accumulates()),
        };
        vec![
            SSIM_WINDOWS.launch(partials, windows),
            LOSS_FINISH.launch(1, mean),
            SSIM_GRADIENT.launch_for(self.loss.x.count(), gradient),
        ]
    }
}
