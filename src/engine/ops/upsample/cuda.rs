//! Folding and pixel shuffle on CUDA.

use super::{Fold, FoldGrad, Shuffle, ShuffleGrad};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    UPSAMPLE_FOLD, UPSAMPLE_FOLD_GRADIENT, UPSAMPLE_SHUFFLE, UPSAMPLE_SHUFFLE_GRADIENT, UpsampleFold,
    UpsampleFoldGradient, UpsampleShuffle, UpsampleShuffleGradient,
};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, int};

impl CudaKernel for Fold {
    const IMPLEMENTATIONS: &'static [Implementation<Fold>] = &[Implementation::plain(|fold, context| {
        let [outputs, _, _, inputs] = fold.weight.shape.map(int);
        let argument = UpsampleFold {
            weight: context.read(fold.weight),
            folded: context.write(Access::Write(fold.folded)),
            outputs,
            inputs,
        };
        vec![UPSAMPLE_FOLD.launch_for(fold.folded.count(), argument)]
    })];
}

impl CudaKernel for FoldGrad {
    const IMPLEMENTATIONS: &'static [Implementation<FoldGrad>] = &[Implementation::plain(|fold, context| {
        let [outputs, _, _, inputs] = fold.weight.tensor.shape.map(int);
        let argument = UpsampleFoldGradient {
            folded: context.read(fold.folded),
            weight: context.write(fold.weight.access()),
            outputs,
            inputs,
            accumulate: i32::from(fold.weight.accumulates()),
        };
        vec![UPSAMPLE_FOLD_GRADIENT.launch_for(fold.weight.tensor.count(), argument)]
    })];
}

impl CudaKernel for Shuffle {
    const IMPLEMENTATIONS: &'static [Implementation<Shuffle>] = &[Implementation::plain(|shuffle, context| {
        let argument = UpsampleShuffle {
            x: context.read(shuffle.x),
            bias: context.read(shuffle.bias),
            y: context.write(Access::Write(shuffle.y)),
            y_shape: shuffle.y.into(),
            x_stride: int(shuffle.x.stride),
        };
        vec![UPSAMPLE_SHUFFLE.launch_for(shuffle.y.count(), argument)]
    })];
}

impl CudaKernel for ShuffleGrad {
    const IMPLEMENTATIONS: &'static [Implementation<ShuffleGrad>] = &[Implementation::plain(|shuffle, context| {
        let argument = UpsampleShuffleGradient {
            dy: context.read(shuffle.dy),
            dx: context.write(shuffle.dx.access()),
            dy_shape: shuffle.dy.into(),
            dx_stride: int(shuffle.dx.tensor.stride),
            accumulate: i32::from(shuffle.dx.accumulates()),
        };
        vec![UPSAMPLE_SHUFFLE_GRADIENT.launch_for(shuffle.dy.count(), argument)]
    })];
}
