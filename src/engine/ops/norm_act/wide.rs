//! Normalisation, activation and dropout on CUDA in accesses of 16 bytes (`kernels/norm_act_wide.cu`).

use super::{NormActForward, NormActGrad, Skip};
use crate::engine::kernel::cuda::kernels::norm_act_wide::{HELD_QUADS, HELD_SHARED, PART_HELD, PART_QUADS, THREADS};
use crate::engine::kernel::cuda::kernels::{
    NORM_ACT_APPLY, NORM_ACT_GRAD_APPLY, NORM_ACT_GRAD_HELD_64, NORM_ACT_GRAD_HELD_256, NORM_ACT_GRAD_HELD_1024,
    NORM_ACT_GRAD_HELD_4096, NORM_ACT_GRAD_SUMS, NORM_ACT_HELD_64, NORM_ACT_HELD_256, NORM_ACT_HELD_1024,
    NORM_ACT_HELD_4096, NORM_ACT_STATS, NormActGradApply, NormActGradSums, NormActStats,
};
use crate::engine::kernel::cuda::{GpuFacts, Implementation, Ptr, PtrMut, Scratch, begins_with_quad, in_quads, to_int};
use crate::engine::tensor::Tensor;

/// Pixels and channels of a block that sums up a part of an image.
const PART: [usize; 2] = [THREADS / PART_QUADS * PART_HELD, 4 * PART_QUADS];

/// Most pixels that a block holds in registers, and in shared memory.
const HELD: [usize; 2] = [1024, 4096];

/// The forward pass.
pub const FORWARD: Implementation<NormActForward> = Implementation {
    name: "wide",
    runs: |step, _| {
        let affine = step.affine.map(|affine| [affine.gain, affine.bias]);
        runs([step.x, step.y], step.skip, affine.into_iter().flatten())
    },
    pays: |_, _| true,
    scratch: |step, gpu| scratch(step.x, step.op.norm, 0, gpu),
    launches: |step, context| {
        let argument = step.argument(context);
        let image = Image::new(step.x);
        if step.op.norm && image.is_held(context.gpu) {
            let blocks = image.held_blocks();
            return vec![match image.pixels {
                ..=64 => NORM_ACT_HELD_64.launch(blocks, argument),
                65..=256 => NORM_ACT_HELD_256.launch(blocks, argument),
                257..=1024 => NORM_ACT_HELD_1024.launch(blocks, argument),
                _ => NORM_ACT_HELD_4096.launch(blocks, argument).shared(HELD_SHARED),
            }];
        }
        let apply = NORM_ACT_APPLY.launch(image.elements(), argument);
        if !step.op.norm {
            return vec![apply];
        }
        let [parts, groups] = image.parts();
        let stats =
            NormActStats { act: argument, sums: context.workspace(), tickets: context.tickets(), parts: to_int(parts) };
        vec![NORM_ACT_STATS.launch([parts, groups, 1], stats), apply]
    },
};

/// The backward pass.
pub const GRAD: Implementation<NormActGrad> = Implementation {
    name: "wide",
    runs: |step, _| {
        let affine = step.affine.map(|(affine, _)| [affine.gain, affine.bias]);
        runs([step.x, step.dy, step.dx.tensor], step.skip, affine.into_iter().flatten())
    },
    pays: |_, _| true,
    scratch: |step, gpu| scratch(step.dy, step.op.norm, 2 * step.dy.shape[0] * step.dy.channels(), gpu),
    launches: |step, context| {
        let argument = step.argument(context);
        let image = Image::new(step.dy);
        if step.op.norm && image.is_held(context.gpu) {
            let blocks = image.held_blocks();
            return vec![match image.pixels {
                ..=64 => NORM_ACT_GRAD_HELD_64.launch(blocks, argument),
                65..=256 => NORM_ACT_GRAD_HELD_256.launch(blocks, argument),
                257..=1024 => NORM_ACT_GRAD_HELD_1024.launch(blocks, argument),
                _ => NORM_ACT_GRAD_HELD_4096.launch(blocks, argument).shared(HELD_SHARED),
            }];
        }
        let apply = |means| NORM_ACT_GRAD_APPLY.launch(image.elements(), NormActGradApply { grad: argument, means });
        if !step.op.norm {
            return vec![apply(Ptr::NULL)];
        }
        let [parts, groups] = image.parts();
        let sums: PtrMut<f32> = context.workspace();
        // The means lie behind the sums.
        let means = sums.offset(image.sums());
        let argument =
            NormActGradSums { grad: argument, sums, means, tickets: context.tickets(), parts: to_int(parts) };
        vec![NORM_ACT_GRAD_SUMS.launch([parts, groups, 1], argument), apply(means.as_ptr())]
    },
};

/// True if all pixels and parameters are whole quads at addresses of 16 bytes.
fn runs<const N: usize>(
    activations: [Tensor; N],
    skip: Option<Skip>,
    mut parameters: impl Iterator<Item = Tensor>,
) -> bool {
    let mut activations = activations.into_iter().chain(skip.map(|skip| skip.tensor));
    activations.all(in_quads) && parameters.all(begins_with_quad)
}

/// The scratch memory: sums of parts, `more` elements behind them, and tickets; none where blocks hold all pixels.
fn scratch(x: Tensor, norm: bool, more: usize, gpu: &GpuFacts) -> Scratch {
    let image = Image::new(x);
    if !norm || image.is_held(gpu) {
        return Scratch::default();
    }
    let [shares, tickets] = image.parts();
    Scratch { bytes: (image.sums() + more) * size_of::<f32>(), tickets, shares }
}

/// Number, pixels and channels of the images of a step.
struct Image {
    images: usize,
    pixels: usize,
    channels: usize,
}

impl Image {
    fn new(x: Tensor) -> Image {
        let [images, height, width, channels] = x.shape;
        Image { images, pixels: height * width, channels }
    }

    /// True if a block can hold all pixels of some channels.
    fn is_held(&self, gpu: &GpuFacts) -> bool {
        self.pixels <= if gpu.shared_memory >= HELD_SHARED { HELD[1] } else { HELD[0] }
    }

    /// Blocks that hold all pixels of some channels.
    fn held_blocks(&self) -> usize {
        self.images * self.channels.div_ceil(4 * HELD_QUADS)
    }

    /// Parts of an image, and groups of channels of all images.
    fn parts(&self) -> [usize; 2] {
        [self.pixels.div_ceil(PART[0]), self.images * self.channels.div_ceil(PART[1])]
    }

    /// Elements of the sums of all parts.
    fn sums(&self) -> usize {
        let [parts, groups] = self.parts();
        parts * groups * 2 * PART[1]
    }

    /// The grid with a thread for each quad.
    fn elements(&self) -> [usize; 3] {
        [(self.pixels * self.channels / 4).div_ceil(THREADS), self.images, 1]
    }
}
