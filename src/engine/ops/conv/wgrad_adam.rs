//! The weight gradient of a convolution fused with the Adam update of the weight. Only a rewrite uses this step
//! ([`adam_in_wgrad`](crate::engine::rewrite)).

use rayon::prelude::*;

use super::cpu::{Shapes, wgrad};
use super::{Geometry, Wgrad, dot, few, map, wgrad_patch};
use crate::engine::access::{Access, Destination};
use crate::engine::kernel::cpu::{self, CpuKernel, Real};
use crate::engine::kernel::cuda::{CudaKernel, Implementation, Scratch};
use crate::engine::ops::adam::{AdamOptions, Update, adam_launch, adam_state};
use crate::engine::program::Step;
use crate::engine::tensor::Tensor;

/// The step that computes the weight gradient of a convolution from `x` and `dy`, as [`Wgrad`] does, and updates
/// `weight` and its moments `first` and `second` by it, as [`Adam`](crate::engine::ops::adam::Adam) does. The gradient
/// is not kept.
#[derive(Debug)]
pub struct WgradAdam {
    pub x: Tensor,
    pub dy: Tensor,
    pub weight: Tensor,
    pub first: Tensor,
    pub second: Tensor,
    pub geometry: Geometry,
    pub options: AdamOptions,
}

impl Step for WgradAdam {
    fn name(&self) -> &'static str {
        "conv_wgrad_adam"
    }

    fn accesses(&self) -> Vec<Access> {
        let state = [self.weight, self.first, self.second].map(Access::Update);
        [Access::Read(self.dy), Access::Read(self.x)].into_iter().chain(state).chain([Access::ReadControl]).collect()
    }

    fn multiply_adds(&self) -> usize {
        self.dy.pixels() * self.weight.count()
    }
}

/// Elements of a tile of the gradient: 2 MB of f32, which stay in the cache between product and update. With smaller
/// tiles the matrix product would pack its other operand too often.
const TILE: usize = 1 << 19;

/// The least filters of a tile: the matrix product adds in another order if there is only one.
const LEAST: usize = 2;

/// Columns of the gradient up to which it is one tile: `gemm` adds in another order in products of at most this many
/// rows and columns, which the last tile of a narrow gradient might be.
const NARROW: usize = 64;

/// Elements of one task of the update.
const CHUNK: usize = 1 << 14;

impl WgradAdam {
    fn shapes(&self) -> Shapes {
        let WgradAdam { x, dy, geometry, .. } = *self;
        Shapes { input: x.shape, output: dy.shape, geometry, writes_pixels: false }
    }

    /// Columns of the gradient, `(tap, c)`.
    fn width(&self) -> usize {
        self.weight.count() / self.dy.channels().max(1)
    }

    /// Filters of a tile: rows of the gradient `[k, (tap, c)]`. With a batch of several groups of images the gradient
    /// is one tile, because it has to be added up over the groups before it is used.
    fn filters_at_once(&self) -> usize {
        let shapes = self.shapes();
        let (filters, width) = (self.dy.channels(), self.width());
        match shapes.gathers_input() && shapes.images_per_group() >= self.x.shape[0] && width > NARROW {
            true => (TILE / width).clamp(LEAST, filters.max(LEAST)),
            false => filters,
        }
    }
}

impl<T: Real> CpuKernel<T> for WgradAdam {
    fn workspace(&self) -> usize {
        // A tile has one filter more where that would be left over.
        self.shapes().workspace_elements() + (self.filters_at_once() + 1).min(self.dy.channels()) * self.width()
    }

    fn run(&self, context: &cpu::Context<'_, T>) {
        let (shapes, at_once) = (self.shapes(), self.filters_at_once());
        let update = Update::<T>::new(self.options, context.control());
        let (x, dy) = (context.read(self.x), context.read(self.dy));
        let [weight, first, second] =
            [self.weight, self.first, self.second].map(|tensor| context.write(Access::Update(tensor)).data);
        let (columns, gradient) =
            context.workspace(CpuKernel::<T>::workspace(self)).split_at_mut(shapes.workspace_elements());
        let (filters, width) = (dy.channels(), self.width());
        let mut filter = 0;
        while filter < filters {
            let left = filters - filter;
            let at_once = if left < at_once + LEAST { left } else { at_once };
            let gradient = &mut gradient[..at_once * width];
            shapes.for_each_group(|first, count| {
                let (x, dy) = (x.images(first, count), dy.images(first, count));
                let columns = &mut columns[..count * shapes.column_elements()];
                wgrad(shapes, x, dy, filter..filter + at_once, columns, gradient, first > 0);
            });
            let tile = filter * width..(filter + at_once) * width;
            let weight = weight[tile.clone()].par_chunks_mut(CHUNK);
            let moments = first[tile.clone()].par_chunks_mut(CHUNK).zip(second[tile].par_chunks_mut(CHUNK));
            weight.zip(moments).zip(gradient.par_chunks(CHUNK)).for_each(|((weight, (first, second)), gradient)| {
                update.apply(weight, gradient, first, second);
            });
            filter += at_once;
        }
    }
}

impl CudaKernel for WgradAdam {
    const IMPLEMENTATIONS: &'static [Implementation<WgradAdam>] = &[
        dot::WGRAD_ADAM,
        few::WGRAD_ADAM,
        wgrad_patch::WGRAD_ADAM,
        map::WGRAD_ADAM,
        // The two kernels one after the other, with the gradient in scratch memory.
        Implementation::plain(|step: &WgradAdam, context| {
            let WgradAdam { x, dy, weight, first, second, geometry, options } = *step;
            let gradient = context.workspace::<f32>();
            let wgrad = Wgrad { x, dy, dw: Destination::overwrite(weight), geometry };
            let state = adam_state(context, [weight, first, second], options);
            vec![wgrad.launch(context, gradient), adam_launch(weight.count(), state, gradient.as_ptr())]
        })
        .with_scratch(|step, _| Scratch::bytes(step.weight.bytes())),
    ];
}
