//! Convolutions on the CPU, as a matrix product and a column matrix of either the input or the output.
//!
//! Gathering the input costs `output pixels * taps * input channels`, gathering the output
//! `input pixels * taps * output channels`; the cheaper is taken. Strided layers gather the input; last layers, which
//! have few channels at the size of their input, gather the output.

use std::ops::Range;

use rayon::prelude::*;

use super::columns::{gather_input, gather_output, sum_into_input, sum_into_output};
use super::{BiasGrad, Dgrad, Fprop, Geometry, Wgrad};
use crate::engine::kernel::cpu::{Context, CpuKernel, Matrix, Real, View, ViewMut, matmul};
use crate::engine::tensor::Shape;

/// Elements of a column matrix that are in memory at once, in whole images: 16 MB of f32.
const COLUMNS: usize = 1 << 22;

/// Pixels of an image up to which reading the weights dominates. The product is then computed with the pixels as
/// columns: `gemm` would otherwise pack the weights, which costs more than the product.
const FEW_PIXELS: usize = 64;

/// The shapes of a convolution, also where its transpose is computed, and the division of the batch into groups of
/// images, for which the forward pass or a gradient is computed one after the other.
#[derive(Clone, Copy)]
pub(super) struct Shapes {
    pub input: Shape,
    pub output: Shape,
    pub geometry: Geometry,
    /// True if the result is pixels, not a weight gradient. The products of a last layer are so small that the order of
    /// `gemm`'s sums depends on their size. They are computed for one image at a time, so that the output for a picture
    /// does not depend on the batch that it is in.
    pub writes_pixels: bool,
}

impl Shapes {
    /// True if the column matrix is gathered from the input of the convolution, false if from the output: whichever
    /// matrix is smaller.
    pub fn gathers_input(&self) -> bool {
        self.output_pixels() * self.input[3] <= self.input_pixels() * self.output[3]
    }

    /// Output pixels of one image.
    fn output_pixels(&self) -> usize {
        self.output[1] * self.output[2]
    }

    fn input_pixels(&self) -> usize {
        self.input[1] * self.input[2]
    }

    /// Number of elements of the column matrix of one image.
    pub fn column_elements(&self) -> usize {
        let gathered = match self.gathers_input() {
            true => self.output_pixels() * self.input[3],
            false => self.input_pixels() * self.output[3],
        };
        gathered * self.geometry.taps()
    }

    /// Number of images in one of these groups, for which one column matrix (im2col) is computed.
    pub fn images_per_group(&self) -> usize {
        if self.writes_pixels && !self.gathers_input() {
            return 1;
        }
        (COLUMNS / self.column_elements().max(1)).clamp(1, self.output[0].max(1))
    }

    /// Number of elements of the column matrix (im2col) of one of these groups of images: the scratch memory of the
    /// convolution, which all groups use in turn.
    pub fn workspace_elements(&self) -> usize {
        self.images_per_group() * self.column_elements()
    }

    /// Elements of the transposed product `[k, pixels]` of a group; 0 if the product is computed with pixels as rows.
    fn transposed(&self) -> usize {
        let pixels = self.output_pixels();
        if pixels <= FEW_PIXELS && self.gathers_input() { self.images_per_group() * pixels * self.output[3] } else { 0 }
    }

    /// Calls `work(first, count)` for each group of images in turn: images `first..first + count` of the batch, of
    /// which the last group may have fewer than the others.
    pub fn for_each_group(self, mut work: impl FnMut(usize, usize)) {
        for first in (0..self.output[0]).step_by(self.images_per_group()) {
            work(first, self.images_per_group().min(self.output[0] - first));
        }
    }

    pub fn output_size(&self) -> [usize; 2] {
        [self.output[1], self.output[2]]
    }

    pub fn input_size(&self) -> [usize; 2] {
        [self.input[1], self.input[2]]
    }

    /// The weight as `[k, (tap, c)]`.
    fn filter_rows<'a, T>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        let columns = self.geometry.taps() * self.input[3];
        Matrix::new(weight, self.output[3], columns, columns)
    }

    /// The weight as `[(k, tap), c]`.
    fn tap_rows<'a, T>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(weight, self.output[3] * self.geometry.taps(), self.input[3], self.input[3])
    }
}

/// The matrix `[pixels, channels]` of a view.
fn pixels<'a, T>(view: &View<'a, T>) -> Matrix<'a, T> {
    Matrix::new(view.data, view.pixels(), view.channels(), view.stride)
}

impl Fprop {
    fn shapes(&self) -> Shapes {
        Shapes { input: self.x.shape, output: self.y.tensor.shape, geometry: self.geometry, writes_pixels: true }
    }
}

impl<T: Real> CpuKernel<T> for Fprop {
    fn workspace(&self) -> usize {
        let shapes = self.shapes();
        shapes.workspace_elements() + shapes.transposed()
    }

    fn run(&self, context: &Context<'_, T>) {
        let shapes = self.shapes();
        let (x, weight) = (context.read(self.x), context.read(self.weight).data);
        let bias = self.bias.map(|bias| context.read(bias).data);
        let mut y = context.write(self.y.access());
        let (columns, transposed) =
            context.workspace(CpuKernel::<T>::workspace(self)).split_at_mut(shapes.workspace_elements());
        let accumulate = self.epilogue.begin(context, &mut y) || self.y.accumulates();
        shapes.for_each_group(|first, count| {
            let (x, mut y) = (x.images(first, count), y.images(first, count));
            let columns = &mut columns[..count * shapes.column_elements()];
            if shapes.gathers_input() {
                gather_input(columns, x, shapes.output_size(), self.geometry);
                if let Some(bias) = bias {
                    add_bias(&mut y, bias, accumulate);
                }
                let filters = shapes.filter_rows(weight);
                let columns = Matrix::new(columns, y.pixels(), filters.columns, filters.columns);
                let accumulate = accumulate || bias.is_some();
                if shapes.transposed() > 0 {
                    let transposed = &mut transposed[..y.pixels() * y.channels()];
                    matmul(transposed, y.pixels(), false, filters, columns.transposed());
                    write_transposed(&mut y, transposed, accumulate);
                } else {
                    matmul(y.data, y.stride, accumulate, columns, filters.transposed());
                }
            } else {
                let taps = shapes.tap_rows(weight);
                matmul(columns, taps.rows, false, pixels(&x), taps.transposed());
                sum_into_output(&mut y, columns, shapes.input_size(), self.geometry, bias, accumulate);
            }
        });
        self.epilogue.finish(context, &mut y);
    }
}

/// Writes `transposed`, which is `[channels, pixels]`, to the pixels of `out`, or adds it if `accumulate`.
fn write_transposed<T: Real>(out: &mut ViewMut<'_, T>, transposed: &[T], accumulate: bool) {
    let pixels = out.pixels();
    for p in 0..pixels {
        for (x, &value) in out.pixel(p).iter_mut().zip(transposed[p..].iter().step_by(pixels)) {
            *x = if accumulate { *x + value } else { value };
        }
    }
}

/// Sets every pixel to `bias`, or adds `bias` if `accumulate`, before a product is added.
fn add_bias<T: Real>(out: &mut ViewMut<'_, T>, bias: &[T], accumulate: bool) {
    let (channels, stride) = (out.channels(), out.stride);
    for pixel in out.data.chunks_mut(stride) {
        if accumulate {
            pixel[..channels].iter_mut().zip(bias).for_each(|(x, &b)| *x += b);
        } else {
            pixel[..channels].copy_from_slice(bias);
        }
    }
}

impl Dgrad {
    fn shapes(&self) -> Shapes {
        Shapes { input: self.dx.tensor.shape, output: self.dy.shape, geometry: self.geometry, writes_pixels: true }
    }

    /// Elements of a copy of the weight without gaps; 0 if it has none.
    fn packed_weight(&self) -> usize {
        if self.weight.stride == self.weight.channels() { 0 } else { self.weight.count() }
    }
}

impl<T: Real> CpuKernel<T> for Dgrad {
    fn workspace(&self) -> usize {
        self.shapes().workspace_elements() + self.packed_weight()
    }

    fn run(&self, context: &Context<'_, T>) {
        let shapes = self.shapes();
        let (dy, slice) = (context.read(self.dy), context.read(self.weight));
        let bias = self.bias.map(|bias| context.read(bias).data);
        let mut dx = context.write(self.dx.access());
        let (columns, packed) =
            context.workspace(CpuKernel::<T>::workspace(self)).split_at_mut(shapes.workspace_elements());
        packed.chunks_exact_mut(slice.channels()).enumerate().for_each(|(p, row)| row.copy_from_slice(slice.pixel(p)));
        let weight = if packed.is_empty() { slice.data } else { &*packed };
        let accumulate = self.epilogue.begin(context, &mut dx) || self.dx.accumulates();
        shapes.for_each_group(|first, count| {
            let (dy, mut dx) = (dy.images(first, count), dx.images(first, count));
            let columns = &mut columns[..count * shapes.column_elements()];
            if shapes.gathers_input() {
                let filters = shapes.filter_rows(weight);
                matmul(columns, filters.columns, false, pixels(&dy), filters);
                sum_into_input(&mut dx, columns, shapes.output_size(), self.geometry, bias, accumulate);
            } else {
                gather_output(columns, dy, shapes.input_size(), self.geometry);
                if let Some(bias) = bias {
                    add_bias(&mut dx, bias, accumulate);
                }
                let taps = shapes.tap_rows(weight);
                let columns = Matrix::new(columns, dx.pixels(), taps.rows, taps.rows);
                matmul(dx.data, dx.stride, accumulate || bias.is_some(), columns, taps);
            }
        });
        self.epilogue.finish(context, &mut dx);
    }
}

impl Wgrad {
    fn shapes(&self) -> Shapes {
        Shapes { input: self.x.shape, output: self.dy.shape, geometry: self.geometry, writes_pixels: false }
    }
}

impl<T: Real> CpuKernel<T> for Wgrad {
    fn workspace(&self) -> usize {
        self.shapes().workspace_elements()
    }

    fn run(&self, context: &Context<'_, T>) {
        let shapes = self.shapes();
        let (x, dy) = (context.read(self.x), context.read(self.dy));
        let dw = context.write(self.dw.access()).data;
        let columns = context.workspace(shapes.workspace_elements());
        shapes.for_each_group(|first, count| {
            let (x, dy) = (x.images(first, count), dy.images(first, count));
            let columns = &mut columns[..count * shapes.column_elements()];
            wgrad(shapes, x, dy, 0..dy.channels(), columns, dw, self.dw.accumulates() || first > 0);
        });
    }
}

/// Rows `filters` of the weight gradient `[k, (tap, c)]` of a group of images, written or added to `dw`. Columns of the
/// input are gathered with the first rows and kept for the others; with columns of the output, all rows are computed at
/// once.
pub(super) fn wgrad<T: Real>(
    shapes: Shapes,
    x: View<'_, T>,
    dy: View<'_, T>,
    filters: Range<usize>,
    columns: &mut [T],
    dw: &mut [T],
    accumulate: bool,
) {
    if shapes.gathers_input() {
        let width = shapes.geometry.taps() * x.channels();
        if filters.start == 0 {
            gather_input(columns, x, shapes.output_size(), shapes.geometry);
        }
        let dy = Matrix::new(&dy.data[filters.start..], dy.pixels(), filters.len(), dy.stride);
        let columns = Matrix::new(columns, dy.rows, width, width);
        matmul(dw, width, accumulate, dy.transposed(), columns);
    } else {
        assert_eq!(filters, 0..dy.channels(), "filters of a gradient that is made at once");
        let rows = shapes.geometry.taps() * filters.len();
        gather_output(columns, dy, shapes.input_size(), shapes.geometry);
        let columns = Matrix::new(columns, x.pixels(), rows, rows);
        matmul(dw, x.channels(), accumulate, columns.transposed(), pixels(&x));
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
        let dy = context.read(self.dy);
        let dbias = context.write(self.dbias.access()).data;
        let channels = dy.channels();
        let sums = &mut sums[..CpuKernel::<T>::workspace(self)];
        sums.par_chunks_mut(channels).enumerate().for_each(|(block, sums)| {
            sums.fill(T::zero());
            for p in block * BLOCK..((block + 1) * BLOCK).min(dy.pixels()) {
                sums.iter_mut().zip(dy.pixel(p)).for_each(|(sum, &x)| *sum += x);
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
