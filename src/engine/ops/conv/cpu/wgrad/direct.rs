//! Weight gradient of a convolution as its definition has it.
//!
//! Both operands are packed first, for all tasks: the output in panels of as many filters as a tile has rows, the input
//! with zeros for the padding, in panels of as many channels as a tile has columns, so that neighbouring output pixels
//! of a row meet neighbours. Where there are fewer channels than that, all columns of a kernel row are one panel
//! instead, a window of the padded input. A task computes the gradient of some filters for a range of (tap, channel),
//! and hands on its rows while they are in the cache.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::super::super::Geometry;
use super::super::shape::{TileShape, TiledWork};
use super::{FILTERS, SEGMENT};
use crate::engine::kernel::cpu::{Operand, Packed, Real, Run, SharedMut, Target, as_packed, with_scratch};
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::Shape;

/// Input channels below which the columns of a kernel row are one panel.
const FEW_CHANNELS: usize = 16;

/// Elements (tap, channel) of a task.
const COLUMNS: usize = 1024;

/// Output pixels that are packed at a time.
const PACKED_PIXELS: usize = 64;

/// The most rows of a tile.
const MOST_ROWS: usize = 32;

/// The products of a weight gradient, with their cut into tasks.
#[derive(Clone, Copy)]
pub(in crate::engine::ops::conv::cpu) struct DirectWgrad {
    input: Shape,
    output: Shape,
    geometry: Geometry,
    shape: TileShape,
    /// Rows and columns of a tile.
    rows: usize,
    width: usize,
    /// True if the columns of a kernel row are one panel.
    merges: bool,
    /// Numbers of an element that is packed: output pixels of a row that are neighbours.
    steps: usize,
    /// True if the pixels of a filter are packed side by side, and not the filters of a pixel.
    in_tiles: bool,
}

/// A panel of the gradient's columns: those of a tap, or of a kernel row.
#[derive(Clone, Copy)]
struct Panel {
    /// Its first column of the gradient `[k, (tap, c)]`.
    first: usize,
    columns: usize,
    /// Index of the first output pixel's values in the packed input.
    start: usize,
}

impl DirectWgrad {
    /// The products with operands that are packed as `P`, if they can be.
    pub fn new<T: Real, P: Packed<T>>(
        input: Shape,
        output: Shape,
        geometry: Geometry,
        set: InstructionSet,
    ) -> Option<DirectWgrad> {
        let single =
            DirectWgrad::with_shape(input, output, geometry, |columns| TileShape::of::<T, P>(set, columns), T::LANES);
        // Windows over a kernel row have no pairs of pixels.
        (P::STEPS == 1 || !single.merges).then_some(DirectWgrad { steps: P::STEPS, in_tiles: P::IN_TILES, ..single })
    }

    /// The products with operands of single numbers.
    pub fn single<T: Real>(input: Shape, output: Shape, geometry: Geometry, set: InstructionSet) -> DirectWgrad {
        DirectWgrad::with_shape(input, output, geometry, |columns| TileShape::new::<T>(set, columns), T::LANES)
    }

    fn with_shape(
        input: Shape,
        output: Shape,
        geometry: Geometry,
        shape: impl Fn(usize) -> TileShape,
        lanes: usize,
    ) -> DirectWgrad {
        let merges = input[3] < FEW_CHANNELS && geometry.dilation == 1;
        let columns = if merges { geometry.kernel[1] * input[3] } else { input[3] };
        let shape = shape(columns);
        let width = shape.vectors() * lanes;
        DirectWgrad { input, output, geometry, shape, rows: shape.rows(), width, merges, steps: 1, in_tiles: false }
    }

    fn groups(&self) -> usize {
        self.output[3].div_ceil(self.rows)
    }

    /// Packed elements of a row of output pixels.
    fn row_of_output(&self) -> usize {
        self.output[2].div_ceil(self.steps)
    }

    /// Packed elements of all output pixels.
    fn pixels(&self) -> usize {
        self.output[0] * self.output[1] * self.row_of_output()
    }

    /// Elements of the packed output, `[group][pixel][rows]`, or `[group][row][pixel]` for tiles.
    fn packed_output(&self) -> usize {
        self.groups() * self.pixels() * self.rows
    }

    /// Rows (`axis` 0) or columns (`axis` 1) of the padded input that the output meets.
    fn padded(&self, axis: usize) -> usize {
        let Geometry { kernel, stride, dilation, .. } = self.geometry;
        (self.output[1 + axis].max(1) - 1) * stride + (kernel[axis] - 1) * dilation + 1
    }

    /// Panels of a tap, or of a kernel row.
    fn panels(&self) -> usize {
        let columns = if self.merges { self.geometry.kernel[1] * self.input[3] } else { self.input[3] };
        columns.div_ceil(self.width)
    }

    /// Elements of a row of the padded input in one panel. Unless panels are merged, its columns are sorted by their
    /// remainder by the stride: `[remainder][column / stride][width]`.
    fn row(&self) -> usize {
        let stride = self.geometry.stride;
        match self.merges {
            true => self.padded(1) * self.input[3],
            false => stride * self.padded(1).div_ceil(stride) * self.width,
        }
    }

    /// Elements of the packed input: `[panel][image][row]`, or `[image][row]` of merged panels and what the last
    /// windows read behind it.
    fn packed_input(&self) -> usize {
        let rows = self.input[0] * self.padded(0) * self.row();
        if self.merges { rows + self.width } else { rows * self.panels() }
    }

    /// Elements of the packed operands.
    pub fn workspace(&self) -> usize {
        self.packed_output() + self.packed_input()
    }

    /// Groups of filters and panels of a task.
    fn of_task(&self) -> [usize; 2] {
        [FILTERS.div_ceil(self.rows), (COLUMNS / self.width).max(1)]
    }

    /// Elements of scratch memory of a task: its gradient.
    pub fn scratch(&self) -> usize {
        let [groups, panels] = self.of_task();
        groups * self.rows * panels * self.width
    }

    /// Elements from one output pixel to the next in the packed input.
    fn input_step(&self) -> usize {
        if self.merges { self.geometry.stride * self.input[3] } else { self.width }
    }

    /// Calls `emit` with every filter, a range of its elements (tap, channel), and the gradient there, in parallel. The
    /// operands are packed as `P`.
    pub fn run<T: Real, P: Packed<T>>(
        &self,
        set: InstructionSet,
        x: Operand<'_, T>,
        dy: Operand<'_, T>,
        workspace: &mut [T],
        emit: impl Fn(usize, Range<usize>, &[T]) + Sync,
    ) {
        let (output, input) = as_packed::<T, P>(workspace).split_at_mut(self.packed_output());
        self.pack_output(dy, SharedMut::new(output));
        self.pack_input(x, SharedMut::new(input));
        let (output, input) = (&*output, &*input);
        let panels = self.all_panels();
        let [groups, at_once] = self.of_task();
        let columns = panels.div_ceil(at_once);
        let tasks = self.groups().div_ceil(groups) * columns;
        (0..tasks).into_par_iter().with_max_len(1).for_each(|index| {
            let (first, panel) = (index / columns * groups, index % columns * at_once);
            let groups = first..self.groups().min(first + groups);
            let panels = panel..panels.min(panel + at_once);
            let filters = groups.start * self.rows..self.output[3].min(groups.end * self.rows);
            let end = self.panel(panels.end - 1);
            let columns = self.panel(panels.start).first..end.first + end.columns;
            with_scratch(filters.len() * columns.len(), |gradient| {
                let task = Task {
                    products: self,
                    groups,
                    panels,
                    output,
                    input,
                    gradient: SharedMut::new(gradient),
                    filters: &filters,
                    columns: &columns,
                };
                self.shape.run::<T, P>(set, task);
                for (filter, row) in filters.clone().zip(gradient.chunks_exact(columns.len().max(1))) {
                    emit(filter, columns.clone(), row);
                }
            });
        });
    }

    /// Panels of all taps.
    fn all_panels(&self) -> usize {
        let [rows, columns] = self.geometry.kernel;
        if self.merges { rows * self.panels() } else { rows * columns * self.panels() }
    }

    fn panel(&self, index: usize) -> Panel {
        let Geometry { kernel, stride, dilation, .. } = self.geometry;
        let (tap, panel) = (index / self.panels(), index % self.panels());
        let (channels, inside) = (self.input[3], panel * self.width);
        if self.merges {
            let all = kernel[1] * channels;
            return Panel {
                first: tap * all + inside,
                columns: self.width.min(all - inside),
                start: tap * self.row() + inside,
            };
        }
        let [row, column] = [tap / kernel[1], tap % kernel[1]].map(|tap| tap * dilation);
        let plane = self.padded(1).div_ceil(stride);
        let row = panel * self.input[0] * self.padded(0) + row;
        Panel {
            first: tap * channels + inside,
            columns: self.width.min(channels - inside),
            start: row * self.row() + (column % stride * plane + column / stride) * self.width,
        }
    }

    /// Copies the output to its panels: `rows` filters of each pixel side by side, with zeros for those behind the
    /// last.
    fn pack_output<T: Real, P: Packed<T>>(&self, dy: Operand<'_, T>, packed: SharedMut<'_, P>) {
        let (pixels, rows, row, width) = (self.pixels(), self.rows, self.row_of_output(), self.output[2]);
        (0..pixels.div_ceil(PACKED_PIXELS)).into_par_iter().for_each(|chunk| {
            let range = chunk * PACKED_PIXELS..pixels.min((chunk + 1) * PACKED_PIXELS);
            for group in 0..self.groups() {
                let start = group * pixels;
                let filters = group * rows..self.output[3].min((group + 1) * rows);
                let pack = |index: usize, to: &mut [P]| {
                    let column = index % row * self.steps;
                    let pixel = |step: usize| (column + step < width).then_some(index / row * width + column + step);
                    P::pack_pixels(&dy, &[pixel(0), pixel(1)][..self.steps], filters.clone(), &mut *to);
                    to[filters.len()..].fill(P::ZERO);
                };
                if self.in_tiles {
                    for index in range.clone() {
                        let mut filters = [P::ZERO; MOST_ROWS];
                        pack(index, &mut filters[..rows]);
                        for (r, &value) in filters[..rows].iter().enumerate() {
                            // SAFETY: each pixel is one task's.
                            unsafe { *packed.at((group * rows + r) * pixels + index) = value };
                        }
                    }
                    continue;
                }
                // SAFETY: each range of pixels of a panel is one task's.
                let panel = unsafe { packed.slice((start + range.start) * rows..(start + range.end) * rows) };
                panel.chunks_exact_mut(rows).zip(range.clone()).for_each(|(to, index)| pack(index, to));
            }
        });
    }

    /// Copies the input to its panels, with zeros for the padding and for channels behind the last.
    fn pack_input<T: Real, P: Packed<T>>(&self, x: Operand<'_, T>, packed: SharedMut<'_, P>) {
        let [images, height, width, channels] = self.input;
        let Geometry { stride, pad, .. } = self.geometry;
        let (rows, columns) = (self.padded(0), self.padded(1));
        // A column of the padded input, if it is one of the input.
        let inside = |row: usize, column: usize| {
            let row = row.checked_sub(pad[0]).filter(|&row| row < height)?;
            let column = column.checked_sub(pad[1]).filter(|&column| column < width)?;
            Some(row * width + column)
        };
        if self.merges {
            // SAFETY: nobody else writes yet.
            unsafe { packed.slice(images * rows * self.row()..self.packed_input()) }.fill(P::ZERO);
        }
        (0..images * rows).into_par_iter().with_min_len(2).for_each(|index| {
            let (n, row) = (index / rows, index % rows);
            let pixel = |column: usize| inside(row, column).map(|p| n * height * width + p);
            if self.merges {
                // SAFETY: each row is one task's.
                let packed = unsafe { packed.slice(index * self.row()..(index + 1) * self.row()) };
                for (to, column) in packed.chunks_exact_mut(channels).zip(0..columns) {
                    P::pack_pixels(&x, &[pixel(column)], 0..channels, to);
                }
                return;
            }
            let plane = columns.div_ceil(stride);
            for panel in 0..self.panels() {
                let range = panel * self.width..channels.min((panel + 1) * self.width);
                let start = (panel * images * rows + index) * self.row();
                // SAFETY: each row of a panel is one task's.
                let packed = unsafe { packed.slice(start..start + self.row()) };
                for (i, to) in packed.chunks_exact_mut(self.width).enumerate() {
                    // A pair is for neighbouring output pixels, which meet pixels a stride apart.
                    let position = |step: usize| {
                        let index = i % plane + step;
                        if index < plane { pixel(index * stride + i / plane) } else { None }
                    };
                    P::pack_pixels(&x, &[position(0), position(1)][..self.steps], range.clone(), &mut *to);
                    to[range.len()..].fill(P::ZERO);
                }
            }
        });
    }
}

/// The gradient of some groups of filters for a range of panels.
struct Task<'a, T, P> {
    products: &'a DirectWgrad,
    groups: Range<usize>,
    panels: Range<usize>,
    output: &'a [P],
    input: &'a [P],
    gradient: SharedMut<'a, T>,
    /// The filters of the groups, and the columns of the panels.
    filters: &'a Range<usize>,
    columns: &'a Range<usize>,
}

impl<T: Real, P: Packed<T>> TiledWork for Task<'_, T, P> {
    const IN_TILES: bool = P::IN_TILES;

    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Task { gradient, filters, columns, .. } = self;
        let products = self.products;
        let [images, height, width, _] = products.output;
        let (rows, pixels) = (images * height, products.pixels());
        // Rows of pixels of a segment, and columns of them where a row is longer than a segment.
        let (rows_at_once, columns_at_once) = ((SEGMENT / width.max(1)).max(1), width.clamp(1, SEGMENT));
        let padded = products.padded(0);
        let (step, in_pair) = (products.input_step(), products.steps);
        // Elements of the packed output from one pixel to the next, and from one filter to the next.
        let [pixel, filter] = if products.in_tiles { [1, pixels] } else { [M, 1] };
        let steps = [pixel, in_pair * step];
        let mut adds = false;
        for first in (0..rows).step_by(rows_at_once) {
            for column in (0..width).step_by(columns_at_once) {
                let mut runs = [Run::default(); SEGMENT];
                let count = rows_at_once.min(rows - first);
                for (run, row) in runs.iter_mut().zip(first..first + count) {
                    let input = row / height * padded + row % height * products.geometry.stride;
                    *run = Run {
                        a: (row * products.row_of_output() + column / in_pair) * pixel,
                        b: input * products.row() + column * step,
                        count: columns_at_once.min(width - column).div_ceil(in_pair),
                    };
                }
                for panel in self.panels.clone() {
                    let panel = products.panel(panel);
                    let b = self.input[panel.start..].as_ptr();
                    for group in self.groups.clone() {
                        let start = group * pixels * M;
                        let valid = M.min(filters.end - group * M);
                        let (mut a, mut to) = ([self.output.as_ptr(); M], [std::ptr::null_mut(); M]);
                        for r in 0..M {
                            let row = group * M - filters.start + r.min(valid - 1);
                            a[r] = self.output[start + r * filter..].as_ptr();
                            to[r] = gradient.at(row * columns.len() + panel.first - columns.start);
                        }
                        let target = Target { start: to, rows: valid, columns: panel.columns, adds };
                        // SAFETY: the panel of the output has M values for each pixel, and the padded input the window
                        // of each; the gradient is this task's.
                        unsafe { P::tile::<S, M, N>(simd, &a, b, steps, &runs[..count], target) };
                    }
                }
                adds = true;
            }
        }
        if !adds {
            // SAFETY: the gradient is this task's.
            unsafe { gradient.slice(0..filters.len() * columns.len()) }.fill(T::zero());
        }
    }
}
