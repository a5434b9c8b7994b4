//! Weight gradient of a convolution as its definition has it.
//!
//! Both operands are packed first, for all tasks ([`packing`](super::packing)): the output with all filters of a pixel
//! side by side, the input with zeros for the padding, in panels of as many channels as a tile has columns, so that
//! neighbouring output pixels of a row meet neighbours. Where there are fewer channels than that, all columns of a
//! kernel row are one panel instead: a window of the padded input, or, where elements are pairs of output pixels, a
//! copy of their windows. A task computes the gradient of some filters for a range of (tap, channel), and hands on its
//! rows while they are in the cache.

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

/// The most rows of a tile.
pub(super) const MOST_ROWS: usize = 32;

/// The products of a weight gradient, with their cut into tasks.
#[derive(Clone, Copy)]
pub(in crate::engine::ops::conv::cpu) struct DirectWgrad {
    pub(super) input: Shape,
    pub(super) output: Shape,
    pub(super) geometry: Geometry,
    shape: TileShape,
    /// Rows and columns of a tile.
    rows: usize,
    pub(super) width: usize,
    /// True if the columns of a kernel row are one panel.
    pub(super) merges: bool,
    /// Numbers of an element that is packed: output pixels of a row that are neighbours.
    pub(super) steps: usize,
    /// True if the pixels of a filter are packed side by side, and not the filters of a pixel.
    pub(super) in_tiles: bool,
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
    /// The products with operands that are packed as `P`.
    pub fn new<T: Real, P: Packed<T>>(
        input: Shape,
        output: Shape,
        geometry: Geometry,
        set: InstructionSet,
    ) -> DirectWgrad {
        let merges = input[3] < FEW_CHANNELS && geometry.dilation == 1;
        let columns = if merges { geometry.kernel[1] * input[3] } else { input[3] };
        let shape = TileShape::of::<T, P>(set, columns);
        let (rows, width) = (shape.rows(), shape.vectors() * T::LANES);
        let (steps, in_tiles) = (P::STEPS, P::IN_TILES);
        DirectWgrad { input, output, geometry, shape, rows, width, merges, steps, in_tiles }
    }

    fn groups(&self) -> usize {
        self.output[3].div_ceil(self.rows)
    }

    /// Packed elements of a row of output pixels.
    pub(super) fn row_of_output(&self) -> usize {
        self.output[2].div_ceil(self.steps)
    }

    /// Packed elements of all output pixels.
    pub(super) fn pixels(&self) -> usize {
        self.output[0] * self.output[1] * self.row_of_output()
    }

    /// Elements from one filter, and from one pixel, to the next in the packed output: `[pixel][filter]`, or for tiles
    /// `[filter][pixel]`.
    pub(super) fn output_steps(&self) -> [usize; 2] {
        if self.in_tiles { [self.pixels(), 1] } else { [1, self.filters()] }
    }

    /// Filters in the packed output, some of which are behind the last one. Many are no power of two: those of all
    /// pixels would meet in a few sets of the L1 cache.
    pub(super) fn filters(&self) -> usize {
        let all = self.groups() * self.rows;
        if self.in_tiles || all < 64 { all } else { all + 16 }
    }

    /// Elements of the packed output.
    pub(super) fn packed_output(&self) -> usize {
        self.filters() * self.pixels()
    }

    /// Rows (`axis` 0) or columns (`axis` 1) of the padded input that the output meets.
    pub(super) fn padded(&self, axis: usize) -> usize {
        let Geometry { kernel, stride, dilation, .. } = self.geometry;
        (self.output[1 + axis].max(1) - 1) * stride + (kernel[axis] - 1) * dilation + 1
    }

    /// Panels of a tap, or of a kernel row.
    pub(super) fn panels(&self) -> usize {
        let columns = if self.merges { self.geometry.kernel[1] * self.input[3] } else { self.input[3] };
        columns.div_ceil(self.width)
    }

    /// True if windows are packed as they lie in the padded input: those of single pixels, of a merged panel.
    pub(super) fn packs_rows(&self) -> bool {
        self.merges && self.steps == 1
    }

    /// Elements of a row of the padded input in one panel. Unless panels are merged, its columns are sorted by their
    /// remainder by the stride: `[remainder][column / stride][width]`. Windows of pairs are `[pair][width]`.
    pub(super) fn row(&self) -> usize {
        let stride = self.geometry.stride;
        match (self.merges, self.steps) {
            (true, 1) => self.padded(1) * self.input[3],
            (true, _) => self.row_of_output() * self.width,
            (false, _) => stride * self.padded(1).div_ceil(stride) * self.width,
        }
    }

    /// Elements of the packed input: `[panel][image][row]`, or `[image][row]` of merged panels that are packed as they
    /// lie, and what the last windows read behind it.
    pub(super) fn packed_input(&self) -> usize {
        let rows = self.input[0] * self.padded(0) * self.row();
        if self.packs_rows() { rows + self.width } else { rows * self.panels() }
    }

    /// Elements of a row of the padded input as numbers.
    pub(super) fn padded_row(&self) -> usize {
        self.padded(1) * self.input[3]
    }

    /// Elements of the packed operands.
    pub fn workspace(&self) -> usize {
        self.packed_output() + self.packed_input()
    }

    /// Groups of filters and panels of a task.
    fn of_task(&self) -> [usize; 2] {
        [FILTERS.div_ceil(self.rows), (COLUMNS / self.width).max(1)]
    }

    /// Elements of scratch memory of a task: its gradient, or a row of the input.
    pub fn scratch(&self) -> usize {
        let [groups, panels] = self.of_task();
        (groups * self.rows * panels * self.width).max(self.padded_row())
    }

    /// Elements from one packed output pixel to the next in the packed input.
    fn input_step(&self) -> usize {
        match (self.merges, self.steps) {
            (true, 1) => self.geometry.stride * self.input[3],
            (true, _) => self.width,
            // Pairs begin at each pixel, since each tap of a row meets them at other pixels.
            (false, steps) => steps * self.width,
        }
    }

    /// Calls `emit` with every filter, a range of its elements (tap, channel), and the gradient there, in parallel, and
    /// `ahead` with parts of these ranges some time before, so that memory can be asked for. The operands are packed as
    /// `P`.
    pub fn run<T: Real, P: Packed<T>>(
        &self,
        set: InstructionSet,
        x: Operand<'_, T>,
        dy: Operand<'_, T>,
        workspace: &mut [T],
        ahead: impl Fn(usize, Range<usize>) + Sync,
        emit: impl Fn(usize, Range<usize>, &[T]) + Sync,
    ) {
        let (output, input) = as_packed::<T, P>(workspace).split_at_mut(self.packed_output());
        self.pack(set, x, dy, SharedMut::new(output), SharedMut::new(input));
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
                    ahead: &ahead,
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
            let start = match self.packs_rows() {
                true => tap * self.row() + inside,
                false => (panel * self.input[0] * self.padded(0) + tap) * self.row(),
            };
            return Panel { first: tap * all + inside, columns: self.width.min(all - inside), start };
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
}

/// The gradient of some groups of filters for a range of panels.
struct Task<'a, T, P, A> {
    products: &'a DirectWgrad,
    groups: Range<usize>,
    panels: Range<usize>,
    output: &'a [P],
    input: &'a [P],
    gradient: SharedMut<'a, T>,
    /// The filters of the groups, and the columns of the panels.
    filters: &'a Range<usize>,
    columns: &'a Range<usize>,
    ahead: &'a A,
}

impl<T: Real, P: Packed<T>, A: Fn(usize, Range<usize>)> TiledWork for Task<'_, T, P, A> {
    const IN_TILES: bool = P::IN_TILES;

    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Task { gradient, filters, columns, ahead, .. } = self;
        let products = self.products;
        let [images, height, width, _] = products.output;
        let rows = images * height;
        // Rows of pixels of a segment, and columns of them where a row is longer than a segment.
        let (rows_at_once, columns_at_once) = ((SEGMENT / width.max(1)).max(1), width.clamp(1, SEGMENT));
        let padded = products.padded(0);
        let (step, in_pair) = (products.input_step(), products.steps);
        let [filter, pixel] = products.output_steps();
        let steps = [pixel, step];
        let mut adds = false;
        for first in (0..rows).step_by(rows_at_once) {
            for column in (0..width).step_by(columns_at_once) {
                let mut runs = [Run::default(); SEGMENT];
                let count = rows_at_once.min(rows - first);
                for (run, row) in runs.iter_mut().zip(first..first + count) {
                    let input = row / height * padded + row % height * products.geometry.stride;
                    *run = Run {
                        a: (row * products.row_of_output() + column / in_pair) * pixel,
                        b: input * products.row() + column / in_pair * step,
                        count: columns_at_once.min(width - column).div_ceil(in_pair),
                    };
                }
                for panel in self.panels.clone() {
                    let panel = products.panel(panel);
                    let b = self.input[panel.start..].as_ptr();
                    for group in self.groups.clone() {
                        let valid = M.min(filters.end - group * M);
                        if !adds {
                            for filter in group * M..group * M + valid {
                                ahead(filter, panel.first..panel.first + panel.columns);
                            }
                        }
                        let (mut a, mut to) = ([self.output.as_ptr(); M], [std::ptr::null_mut(); M]);
                        for r in 0..M {
                            let row = group * M - filters.start + r.min(valid - 1);
                            a[r] = self.output[(group * M + r) * filter..].as_ptr();
                            to[r] = gradient.at(row * columns.len() + panel.first - columns.start);
                        }
                        let target = Target { start: to, rows: valid, columns: panel.columns, adds };
                        // SAFETY: the packed output has as many filters as `M` rows reach, and the padded input the
                        // window of each pixel; the gradient is this task's.
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
