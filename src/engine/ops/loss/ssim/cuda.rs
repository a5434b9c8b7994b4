//! The SSIM loss on CUDA: a thread for each window, then one for each element of the gradient.

use super::super::LossGrad;
use super::Windows;
use crate::engine::kernel::cuda::kernels::{SSIM_GRAD, SSIM_WINDOWS, SsimGrad, SsimWindows};
use crate::engine::kernel::cuda::{Context, Launch, Scratch, to_int};
use crate::engine::tensor::Tensor;

/// Threads of a block of `ssim_windows`, each of which sums what its threads find.
const THREADS: usize = 256;

/// Derivatives of a window.
const DERIVATIVES: usize = 3;

/// The scratch memory of the SSIM loss and its gradient for pictures of `target`'s shape: the derivatives of all
/// windows, and a sum for every block.
///
/// # Panics
/// If a side of the pictures is below [`WINDOW`](super::WINDOW).
pub fn scratch(target: Tensor) -> Scratch {
    let count = Windows::new(target).count();
    let shares = count.div_ceil(THREADS);
    Scratch { bytes: (DERIVATIVES * count + shares) * size_of::<f32>(), tickets: 1, shares }
}

impl LossGrad {
    pub(in super::super) fn launch_ssim(&self, context: &Context<'_>, target: Tensor) -> Vec<Launch> {
        let count = Windows::new(target).count();
        let partials = count.div_ceil(THREADS);
        let (x, target_stride) = (context.read(self.loss.x), to_int(target.stride));
        let target = context.read(target);
        let derivatives = context.workspace::<f32>();
        let mean = self.mean(context, derivatives.offset(DERIVATIVES * count), context.tickets(), count);
        let windows = SsimWindows { x, target, derivatives, mean, x_shape: self.loss.x.into(), target_stride };
        let gradient = SsimGrad {
            x,
            target,
            derivatives: derivatives.as_ptr(),
            dx: context.write(self.dx.access()),
            x_shape: self.loss.x.into(),
            target_stride,
            dx_stride: to_int(self.dx.tensor.stride),
            weight_per_window: (self.loss.weight / count as f64) as f32,
            accumulate: i32::from(self.dx.accumulates()),
        };
        vec![SSIM_WINDOWS.launch(partials, windows), SSIM_GRAD.launch_for(self.loss.x.count(), gradient)]
    }
}
