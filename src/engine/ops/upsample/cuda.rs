//! Folding and pixel shuffle on CUDA.

use super::{Fold, FoldGrad, Shuffle, ShuffleGrad};
use crate::engine::access::Access;
use crate::engine::kernel::cuda::{Context, CudaKernel, Launch, blocks, int, kernels};

impl CudaKernel for Fold {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let [outputs, _, _, inputs] = self.weight.shape;
        vec![kernels::upsample_fold(
            blocks(self.folded.count(), kernels::upsample_fold::BLOCK),
            context.read(self.weight),
            context.write(Access::Write(self.folded)),
            int(outputs),
            int(inputs),
        )]
    }
}

impl CudaKernel for FoldGrad {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let [outputs, _, _, inputs] = self.weight.tensor.shape;
        vec![kernels::upsample_fold_gradient(
            blocks(self.weight.tensor.count(), kernels::upsample_fold_gradient::BLOCK),
            context.read(self.folded),
            context.write(self.weight.access()),
            int(outputs),
            int(inputs),
            i32::from(self.weight.accumulates()),
        )]
    }
}

impl CudaKernel for Shuffle {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let [images, height, width, channels] = self.y.shape.map(int);
        vec![kernels::upsample_shuffle(
            blocks(self.y.count(), kernels::upsample_shuffle::BLOCK),
            context.read(self.x),
            context.read(self.bias),
            context.write(Access::Write(self.y)),
            images,
            height,
            width,
            channels,
            int(self.x.stride),
            int(self.y.stride),
        )]
    }
}

impl CudaKernel for ShuffleGrad {
    fn launches(&self, context: &Context<'_>) -> Vec<Launch> {
        let [images, height, width, channels] = self.dy.shape.map(int);
        vec![kernels::upsample_shuffle_gradient(
            blocks(self.dy.count(), kernels::upsample_shuffle_gradient::BLOCK),
            context.read(self.dy),
            context.write(self.dx.access()),
            images,
            height,
            width,
            channels,
            int(self.dy.stride),
            int(self.dx.tensor.stride),
            i32::from(self.dx.accumulates()),
        )]
    }
}
