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
use crate::engine::kernel::cpu::{Bf16Products, Context, CpuKernel, Operand, Packed, PackedWork, Real, SharedMut};
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::{DType, Tensor};
use direct::Direct;
use few_pixels::FewPixels;
use phases::{Correlation, Direction};
use wgrad::WeightProducts;
use winograd::Winograd;

/// The most elements of scratch memory that `elements` counts for any instruction set and any way in which products of
/// bf16 are made, so that a program takes the same memory on every machine.
fn most<T: Real, W: PackedWork<T, Output = usize>>(elements: impl Fn(InstructionSet) -> W) -> usize {
    let of_set = |set| Bf16Products::ALL.map(|products| products.run(elements(set))).into_iter().max();
    InstructionSet::ALL.into_iter().filter_map(of_set).max().unwrap_or(0)
}

/// Scratch memory of a task, or that of all tasks.
#[derive(Clone, Copy)]
enum Memory {
    Task,
    Workspace,
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

    /// Elements of scratch memory.
    fn elements(&self, memory: Memory) -> usize {
        match (self, memory) {
            (Method::FewPixelsOfSingles(few) | Method::FewPixels(few), Memory::Workspace) => few.workspace(),
            (Method::FewPixelsOfSingles(few) | Method::FewPixels(few), Memory::Task) => few.scratch(),
            (Method::Winograd(winograd), Memory::Workspace) => winograd.workspace(),
            (Method::Winograd(winograd), Memory::Task) => winograd.scratch(),
            (Method::Direct(direct), Memory::Workspace) => direct.workspace(),
            (Method::Direct(direct), Memory::Task) => direct.scratch(),
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

/// The way in which products are made, of numbers of bf16 with `rounds`.
fn products<T: Real>(context: &Context<'_, T>, rounds: bool) -> Bf16Products {
    if rounds { context.bf16_products() } else { Bf16Products::Widened }
}

/// The tensors that a forward pass or an input gradient reads.
#[derive(Clone, Copy)]
struct Operands<'a, T: Real> {
    source: Operand<'a, T>,
    weight: Operand<'a, T>,
}

/// Elements of scratch memory of a forward pass or an input gradient.
struct CorrelationMemory(Correlation, InstructionSet, Memory);

impl<T: Real> PackedWork<T> for CorrelationMemory {
    type Output = usize;

    fn run<P: Packed<T>>(self) -> usize {
        let CorrelationMemory(correlation, set, memory) = self;
        Method::new::<T, P>(correlation, set).elements(memory)
    }
}

impl Correlation {
    fn elements<T: Real>(self, memory: Memory) -> usize {
        most::<T, _>(|set| CorrelationMemory(self, set, memory))
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
        let [source, weight] = tensors.map(|tensor| operand(context, tensor, rounds));
        let bias = bias.map(|bias| context.read(bias).data);
        let epilogue = &epilogue.by_pixel(context, bias, target);
        let operands = Operands { source, weight };
        products(context, rounds).run(Correlate { correlation: self, context, operands, epilogue });
    }
}

/// A forward pass or an input gradient.
struct Correlate<'a, T: Real> {
    correlation: Correlation,
    context: &'a Context<'a, T>,
    operands: Operands<'a, T>,
    epilogue: &'a PixelEpilogue<'a, T>,
}

impl<T: Real> PackedWork<T> for Correlate<'_, T> {
    type Output = ();

    fn run<P: Packed<T>>(self) {
        let Correlate { correlation, context, operands, epilogue } = self;
        let set = context.set();
        let method = Method::new::<T, P>(correlation, set);
        let workspace = context.workspace(method.elements(Memory::Workspace));
        match method {
            // Products of f32 weights, which rounding would only make less accurate.
            Method::FewPixelsOfSingles(few) => {
                let operands = Operands { weight: operands.weight.unrounded(), ..operands };
                few.run::<T, T>(set, operands, workspace, epilogue);
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
        self.correlation().elements::<T>(Memory::Workspace)
    }

    fn task_scratch(&self) -> usize {
        self.correlation().elements::<T>(Memory::Task)
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
        self.correlation().elements::<T>(Memory::Workspace)
    }

    fn task_scratch(&self) -> usize {
        self.correlation().elements::<T>(Memory::Task)
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
        for_each_weight_gradient(
            context,
            self.x,
            self.dy,
            self.geometry,
            |_, _| {},
            |filter, columns, gradient| {
                // SAFETY: each range of a filter is handed out once.
                let dw = unsafe { dw.slice(filter * row + columns.start..filter * row + columns.end) };
                if accumulates {
                    dw.iter_mut().zip(gradient).for_each(|(dw, &gradient)| *dw += gradient);
                } else {
                    dw.copy_from_slice(gradient);
                }
            },
        );
    }
}

/// Elements of scratch memory of a weight gradient.
struct WeightGradientMemory(Tensor, Tensor, Geometry, InstructionSet, Memory);

impl<T: Real> PackedWork<T> for WeightGradientMemory {
    type Output = usize;

    fn run<P: Packed<T>>(self) -> usize {
        let WeightGradientMemory(x, dy, geometry, set, memory) = self;
        let products = WeightProducts::new::<T, P>(x.shape, dy.shape, geometry, set);
        match memory {
            Memory::Task => products.scratch(),
            Memory::Workspace => products.workspace(),
        }
    }
}

/// Elements of scratch memory of [`for_each_weight_gradient`].
pub(super) fn weight_gradient_workspace<T: Real>(x: Tensor, dy: Tensor, geometry: Geometry) -> usize {
    most::<T, _>(|set| WeightGradientMemory(x, dy, geometry, set, Memory::Workspace))
}

/// Elements of scratch memory of a task of [`for_each_weight_gradient`].
pub(super) fn weight_gradient_scratch<T: Real>(x: Tensor, dy: Tensor, geometry: Geometry) -> usize {
    most::<T, _>(|set| WeightGradientMemory(x, dy, geometry, set, Memory::Task))
}

/// The weight gradient of a convolution from `x` and `dy`, as [`Wgrad`] computes it, row by row: calls `emit` with
/// every filter, a range of its elements (tap, channel), and the gradient there, in parallel. `ahead` is called with
/// filters and ranges some time before, so that memory can be asked for.
pub(super) fn for_each_weight_gradient<T: Real>(
    context: &Context<'_, T>,
    x: Tensor,
    dy: Tensor,
    geometry: Geometry,
    ahead: impl Fn(usize, Range<usize>) + Sync,
    emit: impl Fn(usize, Range<usize>, &[T]) + Sync,
) {
    let rounds = rounds([x, dy]);
    let [x, dy] = [x, dy].map(|tensor| operand(context, tensor, rounds));
    products(context, rounds).run(WeightGradient { context, x, dy, geometry, ahead, emit });
}

/// The weight gradient of a convolution.
struct WeightGradient<'a, T: Real, A, E> {
    context: &'a Context<'a, T>,
    x: Operand<'a, T>,
    dy: Operand<'a, T>,
    geometry: Geometry,
    ahead: A,
    emit: E,
}

impl<T: Real, A, E> PackedWork<T> for WeightGradient<'_, T, A, E>
where
    A: Fn(usize, Range<usize>) + Sync,
    E: Fn(usize, Range<usize>, &[T]) + Sync,
{
    type Output = ();

    fn run<P: Packed<T>>(self) {
        let WeightGradient { context, x, dy, geometry, ahead, emit } = self;
        let products = WeightProducts::new::<T, P>(x.shape(), dy.shape(), geometry, context.set());
        let workspace = context.workspace(products.workspace());
        products.run::<T, P>(context.set(), x, dy, workspace, ahead, emit);
    }
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
