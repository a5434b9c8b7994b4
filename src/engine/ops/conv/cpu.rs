//! Convolutions on the CPU: a matrix product on one side of a movement between the grids.
//!
//! Either grid can be the one whose taps are gathered. Gathering the big grid costs `small pixels * taps * big channels`,
//! gathering the small one `big pixels * taps * small channels`; the cheaper is taken. Strided layers gather the big grid;
//! heads, which have few channels on a grid as large as their input's, gather the small one.

use rayon::prelude::*;

use super::columns::{gather_big, gather_small, sum_into_big, sum_into_small};
use super::{BiasGrad, Down, Geometry, Up, Wgrad};
use crate::engine::kernel::cpu::{Context, CpuKernel, Matrix, Real, View, ViewMut, matmul};
use crate::engine::tensor::Shape;

/// Elements of a column matrix that are worked on at once, in whole images: 16 MB of f32.
const COLUMNS: usize = 1 << 22;

/// Up to this many pixels an image, a convolution is a stream of weights. Its product is then computed with the pixels as
/// columns: `gemm` would otherwise copy the weights into an order of its own, which costs more than using them.
const FEW_PIXELS: usize = 64;

/// How one of the three steps cuts its work.
#[derive(Clone, Copy)]
struct Shapes {
    small: Shape,
    big: Shape,
    geometry: Geometry,
    /// Whether the result is pixels. A head's products are so small that `gemm` sums the smallest of them in another order: made
    /// for one image at a time, its judgement of a picture does not depend on what else is in the batch.
    has_pixels_out: bool,
}

impl Shapes {
    /// Whether the big grid is the one to gather.
    fn gathers_big(&self) -> bool {
        self.small_pixels() * self.big[3] <= self.big_pixels() * self.small[3]
    }

    /// Pixels of one image.
    fn small_pixels(&self) -> usize {
        self.small[1] * self.small[2]
    }

    fn big_pixels(&self) -> usize {
        self.big[1] * self.big[2]
    }

    /// Elements of the column matrix of one image.
    fn columns(&self) -> usize {
        let pixels =
            if self.gathers_big() { self.small_pixels() * self.big[3] } else { self.big_pixels() * self.small[3] };
        pixels * self.geometry.taps()
    }

    /// Images whose columns are worked on at once.
    fn images(&self) -> usize {
        if self.has_pixels_out && !self.gathers_big() {
            return 1;
        }
        (COLUMNS / self.columns().max(1)).clamp(1, self.small[0].max(1))
    }

    fn workspace(&self) -> usize {
        self.images() * self.columns()
    }

    /// Elements of a product with the pixels as columns, where one is made.
    fn turned(&self) -> usize {
        let pixels = self.small_pixels();
        if pixels <= FEW_PIXELS && self.gathers_big() { self.images() * pixels * self.small[3] } else { 0 }
    }

    /// Calls `work(first image, images)` for as many images at a time as the workspace holds.
    fn for_each_group(&self, mut work: impl FnMut(usize, usize)) {
        for first in (0..self.small[0]).step_by(self.images()) {
            work(first, self.images().min(self.small[0] - first));
        }
    }

    fn small_grid(&self) -> [usize; 2] {
        [self.small[1], self.small[2]]
    }

    fn big_grid(&self) -> [usize; 2] {
        [self.big[1], self.big[2]]
    }

    /// The weight as `[s, (tap, b)]`.
    fn wide<'a, T>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        let columns = self.geometry.taps() * self.big[3];
        Matrix::new(weight, self.small[3], columns, columns)
    }

    /// The weight as `[(s, tap), b]`.
    fn tall<'a, T>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(weight, self.small[3] * self.geometry.taps(), self.big[3], self.big[3])
    }
}

/// Pixels as the rows of a matrix.
fn pixels<'a, T>(view: &View<'a, T>) -> Matrix<'a, T> {
    Matrix::new(view.data, view.pixels(), view.channels(), view.stride)
}

impl Down {
    fn shapes(&self) -> Shapes {
        Shapes { small: self.small.tensor.shape, big: self.big.shape, geometry: self.geometry, has_pixels_out: true }
    }
}

impl<T: Real> CpuKernel<T> for Down {
    fn workspace(&self) -> usize {
        let shapes = self.shapes();
        shapes.workspace() + shapes.turned()
    }

    fn run(&self, context: &Context<'_, T>) {
        let shapes = self.shapes();
        let (big, weight) = (context.read(self.big), context.read(self.weight).data);
        let bias = self.bias.map(|bias| context.read(bias).data);
        let mut small = context.write(self.small.access());
        let (columns, turned) = context.workspace(CpuKernel::<T>::workspace(self)).split_at_mut(shapes.workspace());
        let accumulate = self.small.accumulates();
        shapes.for_each_group(|first, count| {
            let (big, mut small) = (big.images(first, count), small.images(first, count));
            let columns = &mut columns[..count * shapes.columns()];
            if shapes.gathers_big() {
                gather_big(columns, big, shapes.small_grid(), self.geometry);
                if let Some(bias) = bias {
                    add_bias(&mut small, bias, accumulate);
                }
                let wide = shapes.wide(weight);
                let columns = Matrix::new(columns, small.pixels(), wide.columns, wide.columns);
                let accumulate = accumulate || bias.is_some();
                if shapes.turned() > 0 {
                    let turned = &mut turned[..small.pixels() * small.channels()];
                    matmul(turned, small.pixels(), false, wide, columns.transposed());
                    turn_into(&mut small, turned, accumulate);
                } else {
                    matmul(small.data, small.stride, accumulate, columns, wide.transposed());
                }
            } else {
                let tall = shapes.tall(weight);
                matmul(columns, tall.rows, false, pixels(&big), tall.transposed());
                sum_into_small(&mut small, columns, shapes.big_grid(), self.geometry, bias, accumulate);
            }
        });
    }
}

/// Writes `turned`, `[channels, pixels]`, to the pixels of `out`, or adds it.
fn turn_into<T: Real>(out: &mut ViewMut<'_, T>, turned: &[T], accumulate: bool) {
    let pixels = out.pixels();
    for p in 0..pixels {
        for (x, &value) in out.pixel(p).iter_mut().zip(turned[p..].iter().step_by(pixels)) {
            *x = if accumulate { *x + value } else { value };
        }
    }
}

/// Sets or raises every pixel by `bias`, for a product to add to.
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

impl Up {
    fn shapes(&self) -> Shapes {
        Shapes { small: self.small.shape, big: self.big.tensor.shape, geometry: self.geometry, has_pixels_out: true }
    }
}

impl<T: Real> CpuKernel<T> for Up {
    fn workspace(&self) -> usize {
        self.shapes().workspace()
    }

    fn run(&self, context: &Context<'_, T>) {
        let shapes = self.shapes();
        let (small, weight) = (context.read(self.small), context.read(self.weight).data);
        let bias = self.bias.map(|bias| context.read(bias).data);
        let mut big = context.write(self.big.access());
        let columns = context.workspace(shapes.workspace());
        let accumulate = self.big.accumulates();
        shapes.for_each_group(|first, count| {
            let (small, mut big) = (small.images(first, count), big.images(first, count));
            let columns = &mut columns[..count * shapes.columns()];
            if shapes.gathers_big() {
                let wide = shapes.wide(weight);
                matmul(columns, wide.columns, false, pixels(&small), wide);
                sum_into_big(&mut big, columns, shapes.small_grid(), self.geometry, bias, accumulate);
            } else {
                gather_small(columns, small, shapes.big_grid(), self.geometry);
                if let Some(bias) = bias {
                    add_bias(&mut big, bias, accumulate);
                }
                let tall = shapes.tall(weight);
                let columns = Matrix::new(columns, big.pixels(), tall.rows, tall.rows);
                matmul(big.data, big.stride, accumulate || bias.is_some(), columns, tall);
            }
        });
    }
}

impl Wgrad {
    fn shapes(&self) -> Shapes {
        Shapes { small: self.small.shape, big: self.big.shape, geometry: self.geometry, has_pixels_out: false }
    }
}

impl<T: Real> CpuKernel<T> for Wgrad {
    fn workspace(&self) -> usize {
        self.shapes().workspace()
    }

    fn run(&self, context: &Context<'_, T>) {
        let shapes = self.shapes();
        let (small, big) = (context.read(self.small), context.read(self.big));
        let weight = context.write(self.weight.access()).data;
        let columns = context.workspace(shapes.workspace());
        shapes.for_each_group(|first, count| {
            let (small, big) = (small.images(first, count), big.images(first, count));
            let columns = &mut columns[..count * shapes.columns()];
            let accumulate = self.weight.accumulates() || first > 0;
            if shapes.gathers_big() {
                let width = shapes.geometry.taps() * big.channels();
                gather_big(columns, big, shapes.small_grid(), self.geometry);
                let columns = Matrix::new(columns, small.pixels(), width, width);
                matmul(weight, width, accumulate, pixels(&small).transposed(), columns);
            } else {
                let width = shapes.geometry.taps() * small.channels();
                gather_small(columns, small, shapes.big_grid(), self.geometry);
                let columns = Matrix::new(columns, big.pixels(), width, width);
                matmul(weight, big.channels(), accumulate, columns.transposed(), pixels(&big));
            }
        });
    }
}

/// Pixels summed one after the other before their sum joins the others: keeps the rounding error of long sums small.
const BLOCK: usize = 256;

impl<T: Real> CpuKernel<T> for BiasGrad {
    fn workspace(&self) -> usize {
        self.gradient.pixels().div_ceil(BLOCK) * self.gradient.channels()
    }

    fn run(&self, context: &Context<'_, T>) {
        let gradient = context.read(self.gradient);
        let bias = context.write(self.bias.access()).data;
        let channels = gradient.channels();
        let sums = context.workspace(CpuKernel::<T>::workspace(self));
        sums.par_chunks_mut(channels).enumerate().for_each(|(block, sums)| {
            sums.fill(T::zero());
            for p in block * BLOCK..((block + 1) * BLOCK).min(gradient.pixels()) {
                sums.iter_mut().zip(gradient.pixel(p)).for_each(|(sum, &x)| *sum += x);
            }
        });
        if !self.bias.accumulates() {
            bias.fill(T::zero());
        }
        for sums in sums.chunks(channels) {
            bias.iter_mut().zip(sums).for_each(|(bias, &sum)| *bias += sum);
        }
    }
}
