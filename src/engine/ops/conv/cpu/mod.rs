//! Convolutions on the CPU.

mod direct;
mod few_pixels;
mod patch;
mod phases;
mod shape;
mod wgrad;
mod winograd;

use std::ops::Range;

use rayon::prelude::*;

use super::epilogue::PixelEpilogue;
use super::{BiasGrad, Dgrad, Epilogue, Fprop, Geometry, Wgrad};
use crate::engine::access::Destination;
use crate::engine::kernel::cpu::{
    Bf16Products, Context, CpuKernel, DOT, DOT_MODEL, Operand, Packed, Real, SharedMut, TILES, TILES_MODEL,
};
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::{DType, Tensor};
use direct::Direct;
use few_pixels::FewPixels;
use phases::{Correlation, Direction};
use wgrad::WeightProducts;
use winograd::Winograd;

/// The scratch memory of a step for any instruction set, so that a program takes the same memory on every machine.
fn most_of_all_sets(elements: impl Fn(InstructionSet) -> usize) -> usize {
    InstructionSet::ALL.map(elements).into_iter().max().unwrap_or(0)
}

/// The way in which a forward pass or an input gradient is computed.
enum Method {
    /// With operands of single numbers, whatever the others are packed as.
    FewPixelsOfSingles(FewPixels),
    FewPixels(FewPixels),
    Winograd(Winograd),
    Direct(Direct),
}

impl Method {
    /// The method for operands that are packed as `P`.
    fn new<T: Real, P: Packed<T>>(correlation: Correlation, set: InstructionSet) -> Method {
        if let Some(few) = FewPixels::of_singles::<T>(correlation, set) {
            return Method::FewPixelsOfSingles(few);
        }
        if let Some(few) = FewPixels::new::<T, P>(correlation, set) {
            return Method::FewPixels(few);
        }
        if let Some(winograd) = Winograd::new::<T, P>(correlation, set) {
            return Method::Winograd(winograd);
        }
        Method::Direct(Direct::new::<T, P>(correlation, set))
    }

    fn workspace(&self) -> usize {
        match self {
            Method::FewPixelsOfSingles(few) | Method::FewPixels(few) => few.workspace(),
            Method::Winograd(winograd) => winograd.workspace(),
            Method::Direct(direct) => direct.workspace(),
        }
    }

    fn scratch(&self) -> usize {
        match self {
            Method::FewPixelsOfSingles(few) | Method::FewPixels(few) => few.scratch(),
            Method::Winograd(winograd) => winograd.scratch(),
            Method::Direct(direct) => direct.scratch(),
        }
    }
}

/// A tensor that a product reads: with `rounds`, in the numbers of bf16.
fn operand<'a, T: Real>(context: &'a Context<'_, T>, tensor: Tensor, rounds: bool) -> Operand<'a, T> {
    match context.operand(tensor) {
        Operand::F32(view) if rounds => Operand::Rounded(view),
        operand => operand,
    }
}

/// True if the operands of the products between these two tensors are rounded to bf16: if one of the tensors is bf16.
fn rounds(tensors: [Tensor; 2]) -> bool {
    tensors.iter().any(|tensor| tensor.dtype() == DType::Bf16)
}

/// The tensors that a forward pass or an input gradient reads.
#[derive(Clone, Copy)]
struct Operands<'a, T: Real> {
    source: Operand<'a, T>,
    weight: Operand<'a, T>,
}

impl Correlation {
    /// The most of `elements` for any instruction set and any way in which products of bf16 are made.
    fn most<T: Real>(self, elements: impl Fn(&Method) -> usize) -> usize {
        most_of_all_sets(|set| {
            let methods = [
                Method::new::<T, T>(self, set),
                Method::new::<T, T::Pair<DOT>>(self, set),
                Method::new::<T, T::Pair<DOT_MODEL>>(self, set),
                Method::new::<T, T::Pair<TILES>>(self, set),
            ];
            methods.iter().map(&elements).max().unwrap_or(0)
        })
    }

    /// Computes `target` from `source`, with the bias and the epilogue of a step.
    fn run<T: Real>(
        self,
        context: &Context<'_, T>,
        tensors: [Tensor; 2],
        bias: Option<Tensor>,
        target: Destination,
        epilogue: Epilogue,
    ) {
        let rounds = rounds([tensors[0], target.tensor]);
        let operands = tensors.map(|tensor| operand(context, tensor, rounds));
        let bias = bias.map(|bias| context.read(bias).data);
        let epilogue = epilogue.by_pixel(context, bias, target);
        match context.bf16_products() {
            _ if !rounds => self.run_packed::<T, T>(context, operands, &epilogue),
            Bf16Products::Widened => self.run_packed::<T, T>(context, operands, &epilogue),
            Bf16Products::Dot => self.run_packed::<T, T::Pair<DOT>>(context, operands, &epilogue),
            Bf16Products::DotModel => self.run_packed::<T, T::Pair<DOT_MODEL>>(context, operands, &epilogue),
            Bf16Products::Tiles => self.run_packed::<T, T::Pair<TILES>>(context, operands, &epilogue),
            Bf16Products::TilesModel => self.run_packed::<T, T::Pair<TILES_MODEL>>(context, operands, &epilogue),
        }
    }

    fn run_packed<T: Real, P: Packed<T>>(
        self,
        context: &Context<'_, T>,
        [source, weight]: [Operand<'_, T>; 2],
        epilogue: &PixelEpilogue<'_, T>,
    ) {
        let (set, operands) = (context.set(), Operands { source, weight });
        let method = Method::new::<T, P>(self, set);
        let workspace = context.workspace(method.workspace());
        match method {
            // Products of f32 weights, which rounding would only make less accurate.
            Method::FewPixelsOfSingles(few) => {
                let weight = match weight {
                    Operand::Rounded(view) => Operand::F32(view),
                    weight => weight,
                };
                few.run::<T, T>(set, Operands { weight, ..operands }, workspace, epilogue);
            }
            Method::FewPixels(few) => few.run::<T, P>(set, operands, workspace, epilogue),
            Method::Winograd(winograd) => winograd.run::<T, P>(set, operands, workspace, epilogue),
            Method::Direct(direct) => direct.run::<T, P>(set, operands, workspace, epilogue),
        }
    }
}

impl Fprop {
    fn correlation(&self) -> Correlation {
        let Fprop { x, y, geometry, .. } = *self;
        Correlation { source: x.shape, target: y.tensor.shape, geometry, direction: Direction::Fprop }
    }
}

impl<T: Real> CpuKernel<T> for Fprop {
    fn workspace(&self) -> usize {
        self.correlation().most::<T>(Method::workspace)
    }

    fn task_scratch(&self) -> usize {
        self.correlation().most::<T>(Method::scratch)
    }

    fn run(&self, context: &Context<'_, T>) {
        self.correlation().run(context, [self.x, self.weight], self.bias, self.y, self.epilogue);
    }
}

impl Dgrad {
    fn correlation(&self) -> Correlation {
        let Dgrad { dy, dx, geometry, .. } = *self;
        Correlation { source: dy.shape, target: dx.tensor.shape, geometry, direction: Direction::Dgrad }
    }
}

impl<T: Real> CpuKernel<T> for Dgrad {
    fn workspace(&self) -> usize {
        self.correlation().most::<T>(Method::workspace)
    }

    fn task_scratch(&self) -> usize {
        self.correlation().most::<T>(Method::scratch)
    }

    fn run(&self, context: &Context<'_, T>) {
        self.correlation().run(context, [self.dy, self.weight], self.bias, self.dx, self.epilogue);
    }
}

impl<T: Real> CpuKernel<T> for Wgrad {
    fn workspace(&self) -> usize {
        weight_gradient_workspace::<T>(self.x, self.dy, self.geometry)
    }

    fn task_scratch(&self) -> usize {
        weight_gradient_scratch::<T>(self.x, self.dy, self.geometry)
    }

    fn run(&self, context: &Context<'_, T>) {
        let dw = SharedMut::new(context.write(self.dw.access()).data);
        let (row, accumulates) = (self.geometry.taps() * self.x.channels(), self.dw.accumulates());
        for_each_weight_gradient(context, self.x, self.dy, self.geometry, |filter, columns, gradient| {
            // SAFETY: each range of a filter is handed out once.
            let dw = unsafe { dw.slice(filter * row + columns.start..filter * row + columns.end) };
            if accumulates {
                dw.iter_mut().zip(gradient).for_each(|(dw, &gradient)| *dw += gradient);
            } else {
                dw.copy_from_slice(gradient);
            }
        });
    }
}

/// The most of `elements` for any instruction set and any way in which products of bf16 are made.
fn most_of_weight_products<T: Real>(
    x: Tensor,
    dy: Tensor,
    geometry: Geometry,
    elements: impl Fn(&WeightProducts) -> usize,
) -> usize {
    most_of_all_sets(|set| {
        let products = [
            WeightProducts::new::<T, T>(x.shape, dy.shape, geometry, set),
            WeightProducts::new::<T, T::Pair<DOT>>(x.shape, dy.shape, geometry, set),
            WeightProducts::new::<T, T::Pair<DOT_MODEL>>(x.shape, dy.shape, geometry, set),
            WeightProducts::new::<T, T::Pair<TILES>>(x.shape, dy.shape, geometry, set),
        ];
        products.iter().map(&elements).max().unwrap_or(0)
    })
}

/// Elements of scratch memory of [`for_each_weight_gradient`].
pub(super) fn weight_gradient_workspace<T: Real>(x: Tensor, dy: Tensor, geometry: Geometry) -> usize {
    most_of_weight_products::<T>(x, dy, geometry, WeightProducts::workspace)
}

/// Elements of scratch memory of a task of [`for_each_weight_gradient`].
pub(super) fn weight_gradient_scratch<T: Real>(x: Tensor, dy: Tensor, geometry: Geometry) -> usize {
    most_of_weight_products::<T>(x, dy, geometry, WeightProducts::scratch)
}

/// The weight gradient of a convolution from `x` and `dy`, as [`Wgrad`] computes it, row by row: calls `emit` with
/// every filter, a range of its elements (tap, channel), and the gradient there, in parallel.
pub(super) fn for_each_weight_gradient<T: Real>(
    context: &Context<'_, T>,
    x: Tensor,
    dy: Tensor,
    geometry: Geometry,
    emit: impl Fn(usize, Range<usize>, &[T]) + Sync,
) {
    let rounds = rounds([x, dy]);
    let operands = [x, dy].map(|tensor| operand(context, tensor, rounds));
    match context.bf16_products() {
        _ if !rounds => weight_gradient::<T, T>(context, operands, geometry, emit),
        Bf16Products::Widened => weight_gradient::<T, T>(context, operands, geometry, emit),
        Bf16Products::Dot => weight_gradient::<T, T::Pair<DOT>>(context, operands, geometry, emit),
        Bf16Products::DotModel => weight_gradient::<T, T::Pair<DOT_MODEL>>(context, operands, geometry, emit),
        Bf16Products::Tiles => weight_gradient::<T, T::Pair<TILES>>(context, operands, geometry, emit),
        Bf16Products::TilesModel => weight_gradient::<T, T::Pair<TILES_MODEL>>(context, operands, geometry, emit),
    }
}

fn weight_gradient<T: Real, P: Packed<T>>(
    context: &Context<'_, T>,
    [x, dy]: [Operand<'_, T>; 2],
    geometry: Geometry,
    emit: impl Fn(usize, Range<usize>, &[T]) + Sync,
) {
    let products = WeightProducts::new::<T, P>(x.shape(), dy.shape(), geometry, context.set());
    let workspace = context.workspace(products.workspace());
    products.run::<T, P>(context.set(), x, dy, workspace, emit);
}

/// Pixels of a partial sum of a bias gradient. Long sums are added up from these, which keeps their rounding error
/// small.
const BLOCK: usize = 256;

impl<T: Real> CpuKernel<T> for BiasGrad {
    fn workspace(&self) -> usize {
        self.dy.pixels().div_ceil(BLOCK) * self.dy.channels()
    }

    fn run(&self, context: &Context<'_, T>) {
        self.compute(context, context.workspace(CpuKernel::<T>::workspace(self)));
    }
}

impl BiasGrad {
    /// Computes the gradient; `sums` is scratch memory, as long as the workspace or longer.
    pub(super) fn compute<T: Real>(&self, context: &Context<'_, T>, sums: &mut [T]) {
        let dy = context.operand(self.dy);
        let dbias = context.write(self.dbias.access()).data;
        let channels = dy.channels();
        let sums = &mut sums[..CpuKernel::<T>::workspace(self)];
        sums.par_chunks_mut(channels).enumerate().for_each(|(block, sums)| {
            sums.fill(T::zero());
            for p in block * BLOCK..((block + 1) * BLOCK).min(dy.pixels()) {
                dy.zip(p, 0..channels, &mut *sums, |sum, x| *sum += x);
            }
        });
        if !self.dbias.accumulates() {
            dbias.fill(T::zero());
        }
        for sums in sums.chunks(channels) {
            dbias.iter_mut().zip(sums).for_each(|(dbias, &sum)| *dbias += sum);
        }
    }
}
