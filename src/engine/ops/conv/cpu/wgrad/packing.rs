//! The packed operands of a direct weight gradient.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::direct::{DirectWgrad, MOST_ROWS};
use crate::engine::kernel::cpu::{Operand, Packed, Real, SharedMut, with_scratch};
use crate::engine::simd::InstructionSet;

/// Packed pixels of the output of a task.
const PIXELS: usize = 64;

impl DirectWgrad {
    /// Copies both operands to their packed forms.
    pub(super) fn pack<T: Real, P: Packed<T>>(
        &self,
        set: InstructionSet,
        x: Operand<'_, T>,
        dy: Operand<'_, T>,
        output: SharedMut<'_, P>,
        input: SharedMut<'_, P>,
    ) {
        let pixels = self.pixels();
        (0..pixels.div_ceil(PIXELS)).into_par_iter().for_each(|chunk| {
            let range = chunk * PIXELS..pixels.min((chunk + 1) * PIXELS);
            P::run(set, OutputPixels { products: self, dy: &dy, range, packed: output });
        });
        let rows = self.input[0] * self.padded(0);
        if self.packs_rows() {
            // SAFETY: nobody else writes yet.
            unsafe { input.slice(rows * self.row()..self.packed_input()) }.fill(P::ZERO);
        }
        (0..rows).into_par_iter().with_min_len(2).for_each(|row| {
            P::run(set, InputRow { products: self, x: &x, row, packed: input });
        });
    }
}

/// Packs some pixels of the output. Filters behind the last one are arbitrary, unless products are made by tiles.
struct OutputPixels<'a, T: Real, P> {
    products: &'a DirectWgrad,
    dy: &'a Operand<'a, T>,
    range: Range<usize>,
    packed: SharedMut<'a, P>,
}

impl<T: Real, P: Packed<T>> WithSimd for OutputPixels<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let OutputPixels { products, dy, range, packed } = self;
        let (row, width, filters) = (products.row_of_output(), products.output[2], products.output[3]);
        let [filter, pixel] = products.output_steps();
        for index in range {
            let column = index % row * products.steps;
            let at = |step: usize| (column + step < width).then_some(index / row * width + column + step);
            let pixels = [at(0), at(1)];
            if filter == 1 {
                // SAFETY: each pixel is one task's.
                let to = unsafe { packed.slice(index * pixel..index * pixel + filters) };
                P::pack_pixels(dy, &pixels[..products.steps], 0..filters, to);
                continue;
            }
            for first in (0..products.filters()).step_by(MOST_ROWS / 2) {
                let mut values = [P::ZERO; MOST_ROWS / 2];
                let of_block = first.min(filters)..filters.min(first + MOST_ROWS / 2);
                P::pack_pixels(dy, &pixels[..products.steps], of_block, &mut values);
                for (r, &value) in values.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { *packed.at((first + r) * filter + index * pixel) = value };
                }
            }
        }
    }
}

/// Packs a row of the padded input, with zeros for the padding and for channels behind the last.
struct InputRow<'a, T: Real, P> {
    products: &'a DirectWgrad,
    x: &'a Operand<'a, T>,
    /// Index of the row in all images.
    row: usize,
    packed: SharedMut<'a, P>,
}

impl<T: Real, P: Packed<T>> WithSimd for InputRow<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if self.products.packs_rows() {
            self.pack_as_it_lies();
        } else if self.products.merges {
            self.pack_windows();
        } else {
            self.pack_panels();
        }
    }
}

impl<'a, T: Real, P: Packed<T>> InputRow<'a, T, P> {
    /// The pixel of the input that a column of the row is, if it is one.
    #[inline(always)]
    fn pixel(&self, column: usize) -> Option<usize> {
        let [_, height, width, _] = self.products.input;
        let (rows, pad) = (self.products.padded(0), self.products.geometry.pad);
        let row = (self.row % rows).checked_sub(pad[0]).filter(|&row| row < height)?;
        let column = column.checked_sub(pad[1]).filter(|&column| column < width)?;
        Some((self.row / rows * height + row) * width + column)
    }

    /// The row in a panel.
    ///
    /// # Safety
    /// Nobody else accesses it.
    #[inline(always)]
    unsafe fn of_panel(&self, panel: usize) -> &'a mut [P] {
        let products = self.products;
        let start = (panel * products.input[0] * products.padded(0) + self.row) * products.row();
        // SAFETY: the caller's promise.
        unsafe { self.packed.slice(start..start + products.row()) }
    }

    #[inline(always)]
    fn pack_as_it_lies(&self) {
        let channels = self.products.input[3];
        // SAFETY: each row is one task's.
        let packed = unsafe { self.of_panel(0) };
        for (column, to) in packed.chunks_exact_mut(channels).enumerate() {
            P::pack_pixels(self.x, &[self.pixel(column)], 0..channels, to);
        }
    }

    /// Packs the windows of pairs of output pixels.
    #[inline(always)]
    fn pack_windows(&self) {
        let products = self.products;
        let (channels, stride, width) = (products.input[3], products.geometry.stride, products.width);
        let all = products.geometry.kernel[1] * channels;
        with_scratch(products.padded_row(), |numbers| {
            for (column, to) in numbers.chunks_exact_mut(channels).enumerate() {
                match self.pixel(column) {
                    Some(p) => self.x.copy(p, 0..channels, to),
                    None => to.fill(T::ZERO),
                }
            }
            for panel in 0..products.panels() {
                let inside = panel * width..all.min((panel + 1) * width);
                // SAFETY: each row of a panel is one task's.
                let packed = unsafe { self.of_panel(panel) };
                for (pair, to) in packed.chunks_exact_mut(width).enumerate() {
                    let window = |pixel: usize| &numbers[pixel * stride * channels..][inside.clone()];
                    let (to, behind) = to.split_at_mut(inside.len());
                    let first = window(2 * pair);
                    match 2 * pair + 1 < products.output[2] {
                        true => {
                            let halves = first.iter().zip(window(2 * pair + 1));
                            to.iter_mut().zip(halves).for_each(|(to, (&a, &b))| *to = P::pack([a, b]));
                        }
                        false => to.iter_mut().zip(first).for_each(|(to, &a)| *to = P::pack([a, T::ZERO])),
                    }
                    behind.fill(P::ZERO);
                }
            }
        });
    }

    /// Packs panels of channels, of which the columns are sorted by their remainder by the stride.
    #[inline(always)]
    fn pack_panels(&self) {
        let products = self.products;
        let (channels, stride, width) = (products.input[3], products.geometry.stride, products.width);
        let plane = products.padded(1).div_ceil(stride);
        for panel in 0..products.panels() {
            let range = panel * width..channels.min((panel + 1) * width);
            // SAFETY: each row of a panel is one task's.
            let packed = unsafe { self.of_panel(panel) };
            for (i, to) in packed.chunks_exact_mut(width).enumerate() {
                // A pair is for neighbouring output pixels, which meet pixels a stride apart.
                let position = |step: usize| {
                    let index = i % plane + step;
                    if index < plane { self.pixel(index * stride + i / plane) } else { None }
                };
                P::pack_pixels(self.x, &[position(0), position(1)][..products.steps], range.clone(), &mut *to);
                to[range.len()..].fill(P::ZERO);
            }
        }
    }
}
