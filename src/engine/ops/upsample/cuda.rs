//! Folding and pixel shuffle on CUDA.

use super::{Fold, FoldGrad, Shuffle, ShuffleGrad};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::kernels::{
    UPSAMPLE_FOLD, UPSAMPLE_FOLD_GRAD, UPSAMPLE_SHUFFLE, UPSAMPLE_SHUFFLE_GRAD, UpsampleFold, UpsampleFoldGrad,
    UpsampleShuffle, UpsampleShuffleGrad,
};
use crate::engine::kernel::cuda::{Context, CudaKernel, Implementation, to_int};
use crate::engine::tensor::Tensor;

impl CudaKernel for Fold {
    const IMPLEMENTATIONS: &'static [Implementation<Fold>] = &[Implementation::plain(|fold, context| {
        let [k, _, _, c] = fold.weight.shape.map(to_int);
        let argument =
            UpsampleFold { weight: context.read(fold.weight), folded: context.write(Access::Write(fold.folded)), k, c };
        vec![UPSAMPLE_FOLD.launch_for(fold.folded.count(), argument)]
    })];
}

impl CudaKernel for FoldGrad {
    const IMPLEMENTATIONS: &'static [Implementation<FoldGrad>] = &[Implementation::plain(|fold, context| {
        let [k, _, _, c] = fold.dweight.tensor.shape.map(to_int);
        let argument = UpsampleFoldGrad {
            dfolded: context.read(fold.dfolded),
            dweight: context.write(fold.dweight.access()),
            k,
            c,
            accumulate: i32::from(fold.dweight.accumulates()),
        };
        vec![UPSAMPLE_FOLD_GRAD.launch_for(fold.dweight.tensor.count(), argument)]
    })];
}

impl CudaKernel for Shuffle {
    const IMPLEMENTATIONS: &'static [Implementation<Shuffle>] = &[Implementation::plain(|shuffle, context| {
        let Shuffle { x, bias, y } = *shuffle;
        vec![UPSAMPLE_SHUFFLE.launch_for(y.count(), argument(context, x, bias, y))]
    })];
}

/// The argument of the kernels of a shuffle.
pub(super) fn argument(context: &Context<'_>, x: Tensor, bias: Tensor, y: Tensor) -> UpsampleShuffle {
    UpsampleShuffle {
        x: context.read(x),
        bias: context.read(bias),
        y: context.write(Access::Write(y)),
        y_shape: y.into(),
        x_stride: to_int(x.stride),
    }
}

impl CudaKernel for ShuffleGrad {
    const IMPLEMENTATIONS: &'static [Implementation<ShuffleGrad>] = &[Implementation::plain(|shuffle, context| {
        let argument = UpsampleShuffleGrad {
            dy: context.read(shuffle.dy),
            dx: context.write(shuffle.dx.access()),
            dy_shape: shuffle.dy.into(),
            dx_stride: to_int(shuffle.dx.tensor.stride),
            accumulate: i32::from(shuffle.dx.accumulates()),
        };
        vec![UPSAMPLE_SHUFFLE_GRAD.launch_for(shuffle.dy.count(), argument)]
    })];
}
