//! Weight gradient of a convolution by F(2x2, 2x2): the gradient of 2x2 taps is a filter of 2x2 pixels of the output's
//! gradient over 3x3 pixels of the input, so it takes the same nine products as the forward pass, summed over tiles.
//!
//! Both operands are transformed and packed once for all tasks: the output's gradient in panels of as many filters as a
//! tile has rows, the input, for each pair of pairs of taps, in panels of as many channels as it has columns.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::super::Geometry;
use super::super::phases::{Correlation, Direction};
use super::super::shape::{TileShape, TiledWork};
use super::super::winograd::{KINDS, LEAST_CHANNELS, LEAST_TILES, Pairs};
use super::{FILTERS, SEGMENT};
use crate::engine::kernel::cpu::{Operand, Real, Run, SharedMut, Target, tile, with_scratch};
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::Shape;

/// The least filters: with fewer, the transformed operands take more time than the products save.
const LEAST_FILTERS: usize = 256;

/// Tasks that a gradient of few filters is cut into, by its channels.
const TASKS: usize = 16;

/// Elements that are transformed at once.
const LANES: usize = 8;

/// A weight gradient by F(2x2, 2x2), with its cut into tasks.
#[derive(Clone, Copy)]
pub(in crate::engine::ops::conv::cpu) struct WinogradWgrad {
    input: Shape,
    output: Shape,
    geometry: Geometry,
    shape: TileShape,
    /// Pairs of taps along rows and columns.
    pairs: [Pairs; 2],
    /// Rows and columns of a tile of the product.
    rows: usize,
    width: usize,
    /// Rows and columns of tiles of an image.
    tiles: [usize; 2],
}

impl WinogradWgrad {
    /// The gradient, if this method computes it and pays.
    pub fn new<T: Real>(input: Shape, output: Shape, geometry: Geometry, set: InstructionSet) -> Option<WinogradWgrad> {
        let tiles = [output[1].div_ceil(2), output[2].div_ceil(2)];
        if input[3] < LEAST_CHANNELS || output[3] < LEAST_FILTERS || tiles[0] * tiles[1] < LEAST_TILES {
            return None;
        }
        let forward = Correlation { source: input, target: output, geometry, direction: Direction::Fprop };
        let [rows, columns] = forward.taps(0).map(|taps| Pairs::new(&taps, forward.step()));
        let shape = TileShape::new::<T>(set, input[3]);
        let (pairs, width) = ([rows?, columns?], shape.vectors() * T::LANES);
        Some(WinogradWgrad { input, output, geometry, shape, pairs, rows: shape.rows(), width, tiles })
    }

    fn groups(&self) -> usize {
        self.output[3].div_ceil(self.rows)
    }

    fn panels(&self) -> usize {
        self.input[3].div_ceil(self.width)
    }

    fn all_tiles(&self) -> usize {
        self.output[0] * self.tiles[0] * self.tiles[1]
    }

    /// Pairs of pairs of taps.
    fn quads(&self) -> usize {
        self.pairs.iter().map(|pairs| pairs.as_slice().len()).product()
    }

    /// Elements of the transformed output, `[kind][group][tile][rows]`.
    fn packed_output(&self) -> usize {
        KINDS * self.groups() * self.all_tiles() * self.rows
    }

    /// Elements of the transformed input, `[panel][quad][kind][tile][width]`.
    fn packed_input(&self) -> usize {
        self.panels() * self.quads() * KINDS * self.all_tiles() * self.width
    }

    /// Elements of the packed operands.
    pub fn workspace(&self) -> usize {
        self.packed_output() + self.packed_input()
    }

    /// Groups of filters and panels of a task.
    fn of_task(&self) -> [usize; 2] {
        let groups = FILTERS.div_ceil(self.rows);
        let blocks = self.groups().div_ceil(groups);
        [groups, self.panels().div_ceil(TASKS.div_ceil(blocks).min(self.panels()))]
    }

    /// Elements of scratch memory of a task: its gradient, and the sums of a panel.
    pub fn scratch(&self) -> usize {
        let [groups, panels] = self.of_task();
        groups * self.rows * self.width * (self.geometry.taps() * panels + KINDS)
    }

    /// Calls `emit` with every filter, a range of its elements (tap, channel), and the gradient there, in parallel.
    pub fn run<T: Real>(
        &self,
        set: InstructionSet,
        x: Operand<'_, T>,
        dy: Operand<'_, T>,
        workspace: &mut [T],
        emit: impl Fn(usize, Range<usize>, &[T]) + Sync,
    ) {
        let (output, input) = workspace.split_at_mut(self.packed_output());
        let (to_output, to_input) = (SharedMut::new(output), SharedMut::new(input));
        let rows = self.output[0] * self.tiles[0];
        (0..rows).into_par_iter().for_each(|row| set.run(Pack { wgrad: self, x, dy, row, to_output, to_input }));
        let (output, input) = (&*output, &*input);
        let [groups_at_once, panels_at_once] = self.of_task();
        let blocks = self.groups().div_ceil(groups_at_once);
        let cuts = self.panels().div_ceil(panels_at_once);
        let taps = self.geometry.taps();
        (0..blocks * cuts).into_par_iter().with_max_len(1).for_each(|index| {
            let (first, panel) = (index / cuts * groups_at_once, index % cuts * panels_at_once);
            let groups = first..self.groups().min(first + groups_at_once);
            let panels = panel..self.panels().min(panel + panels_at_once);
            let filters = groups.start * self.rows..self.output[3].min(groups.end * self.rows);
            let channels = panels.start * self.width..self.input[3].min(panels.end * self.width);
            let gradient = filters.len() * taps * channels.len();
            with_scratch(gradient + KINDS * groups.len() * self.rows * self.width, |scratch| {
                let (gradient, sums) = scratch.split_at_mut(gradient);
                let (filters_of_task, channels_of_task) = (&filters, &channels);
                let task = Task {
                    wgrad: self,
                    groups,
                    panels,
                    filters: filters_of_task,
                    channels: channels_of_task,
                    output,
                    input,
                    gradient: &mut *gradient,
                    sums,
                };
                self.shape.run::<T, T>(set, task);
                let all = self.input[3];
                for (filter, row) in filters.clone().zip(gradient.chunks_exact(taps * channels.len())) {
                    if channels.len() == all {
                        emit(filter, 0..taps * all, row);
                        continue;
                    }
                    for (tap, row) in row.chunks_exact(channels.len()).enumerate() {
                        emit(filter, tap * all + channels.start..tap * all + channels.end, row);
                    }
                }
            });
        });
    }
}

/// Transforms and packs both operands of a row of tiles.
struct Pack<'a, T: Real> {
    wgrad: &'a WinogradWgrad,
    x: Operand<'a, T>,
    dy: Operand<'a, T>,
    /// Index of the row of tiles in all images.
    row: usize,
    to_output: SharedMut<'a, T>,
    to_input: SharedMut<'a, T>,
}

impl<T: Real> WithSimd for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [rows, columns] = self.wgrad.tiles;
        for column in 0..columns {
            self.pack_output(self.row / rows, self.row % rows, column);
            self.pack_input(self.row / rows, self.row % rows, column);
        }
    }
}

impl<T: Real> Pack<'_, T> {
    /// Index of a tile in all images.
    fn tile(&self, image: usize, row: usize, column: usize) -> usize {
        let [rows, columns] = self.wgrad.tiles;
        (image * rows + row) * columns + column
    }

    /// The nine sums of the 2x2 pixels of a tile: along an axis, those of -y0, y0 + y1 and y1.
    #[inline(always)]
    fn pack_output(&self, image: usize, row: usize, column: usize) {
        let wgrad = self.wgrad;
        let [_, height, width, filters] = wgrad.output;
        let pixel = |y: usize, x: usize| {
            let (y, x) = (2 * row + y, 2 * column + x);
            (y < height && x < width).then_some((image * height + y) * width + x)
        };
        let quad = [pixel(0, 0), pixel(0, 1), pixel(1, 0), pixel(1, 1)];
        let (tile, tiles, groups) = (self.tile(image, row, column), wgrad.all_tiles(), wgrad.groups());
        for group in 0..groups {
            let first = group * wgrad.rows;
            let count = wgrad.rows.min(filters - first);
            let mut values = [[T::zero(); MOST_ROWS]; 4];
            for (values, pixel) in values.iter_mut().zip(quad) {
                if let Some(p) = pixel {
                    self.dy.copy(p, first..first + count, &mut values[..count]);
                }
            }
            let mut kinds = [[T::zero(); MOST_ROWS]; KINDS];
            for r in 0..MOST_ROWS {
                let three = |y0: T, y1: T| [-y0, y0 + y1, y1];
                let [upper, lower] = [three(values[0][r], values[1][r]), three(values[2][r], values[3][r])];
                for j in 0..3 {
                    let column = three(upper[j], lower[j]);
                    for i in 0..3 {
                        kinds[i * 3 + j][r] = column[i];
                    }
                }
            }
            for (kind, values) in kinds.iter().enumerate() {
                let start = ((kind * groups + group) * tiles + tile) * wgrad.rows;
                // SAFETY: each tile is one task's.
                unsafe { self.to_output.slice(start..start + wgrad.rows) }.copy_from_slice(&values[..wgrad.rows]);
            }
        }
    }

    /// The nine differences of the 3x3 pixels that each quad of taps meets: along an axis, d1 - d0, d1 and d2 - d1.
    #[inline(always)]
    fn pack_input(&self, image: usize, row: usize, column: usize) {
        let wgrad = self.wgrad;
        let [_, height, width, channels] = wgrad.input;
        let stride = wgrad.geometry.stride as isize;
        let [rows, columns] = &wgrad.pairs;
        let (tile, tiles) = (self.tile(image, row, column), wgrad.all_tiles());
        let mut quad = 0;
        for &(_, down) in rows.as_slice() {
            for &(_, right) in columns.as_slice() {
                let pixel = |y: usize, x: usize| {
                    let y = (2 * row + y) as isize * stride + down;
                    let x = (2 * column + x) as isize * stride + right;
                    let inside = y >= 0 && x >= 0 && y < height as isize && x < width as isize;
                    inside.then_some((image * height + y as usize) * width + x as usize)
                };
                let mut window = [None; 9];
                for (index, pixel_of) in window.iter_mut().enumerate() {
                    *pixel_of = pixel(index / 3, index % 3);
                }
                for panel in 0..wgrad.panels() {
                    let start = ((panel * wgrad.quads() + quad) * KINDS * tiles + tile) * wgrad.width;
                    for lane in (0..wgrad.width).step_by(LANES) {
                        let first = panel * wgrad.width + lane;
                        let count = LANES.min(channels.saturating_sub(first));
                        let mut values = [[T::zero(); LANES]; 9];
                        for (values, pixel) in values.iter_mut().zip(window) {
                            match pixel {
                                Some(p) if count == LANES => self.x.copy(p, first..first + LANES, values),
                                Some(p) if count > 0 => self.x.copy(p, first..first + count, &mut values[..count]),
                                _ => {}
                            }
                        }
                        for kind in 0..KINDS {
                            let [i, j] = [kind / 3, kind % 3];
                            let along = |row: usize| difference(&values[row * 3..row * 3 + 3], j);
                            let lanes = match i {
                                0 => minus(along(1), along(0)),
                                1 => along(1),
                                _ => minus(along(2), along(1)),
                            };
                            let to = start + kind * tiles * wgrad.width + lane;
                            // SAFETY: each tile is one task's.
                            unsafe { self.to_input.slice(to..to + LANES) }.copy_from_slice(&lanes);
                        }
                    }
                }
                quad += 1;
            }
        }
    }
}

/// The most rows of a tile of the product.
const MOST_ROWS: usize = 12;

#[inline(always)]
fn minus<T: Real>(a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
    let mut difference = a;
    difference.iter_mut().zip(b).for_each(|(a, b)| *a -= b);
    difference
}

/// Of three pixels in a row, d1 - d0, d1 or d2 - d1.
#[inline(always)]
fn difference<T: Real>(pixels: &[[T; LANES]], which: usize) -> [T; LANES] {
    match which {
        0 => minus(pixels[1], pixels[0]),
        1 => pixels[1],
        _ => minus(pixels[2], pixels[1]),
    }
}

/// The gradient of some groups of filters for some panels of channels.
struct Task<'a, T> {
    wgrad: &'a WinogradWgrad,
    groups: Range<usize>,
    panels: Range<usize>,
    filters: &'a Range<usize>,
    channels: &'a Range<usize>,
    output: &'a [T],
    input: &'a [T],
    /// `[filter][tap][channel]`.
    gradient: &'a mut [T],
    /// `[kind][filter][width]`.
    sums: &'a mut [T],
}

impl<T: Real> TiledWork for Task<'_, T> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Task { wgrad, groups, panels, filters, channels, output, input, gradient, sums } = self;
        let (tiles, width, rows) = (wgrad.all_tiles(), N * T::LANES, groups.len() * M);
        let [row_pairs, column_pairs] = &wgrad.pairs;
        let to = SharedMut::new(&mut *sums);
        for panel in panels.clone() {
            let first = panel * width - channels.start;
            let valid = width.min(channels.len() - first);
            for quad in 0..wgrad.quads() {
                let of_quad = (panel * wgrad.quads() + quad) * KINDS;
                for tile_of_segment in (0..tiles).step_by(SEGMENT) {
                    let count = SEGMENT.min(tiles - tile_of_segment);
                    let runs = [Run { a: tile_of_segment * M, b: tile_of_segment * width, count }];
                    for kind in 0..KINDS {
                        let b = input[(of_quad + kind) * tiles * width..].as_ptr();
                        for group in groups.clone() {
                            let start = (kind * wgrad.groups() + group) * tiles * M;
                            let (mut a, mut start_of) = ([output.as_ptr(); M], [std::ptr::null_mut(); M]);
                            for r in 0..M {
                                a[r] = output[start + r..].as_ptr();
                                let row = kind * rows + (group - groups.start) * M + r;
                                start_of[r] = to.at(row * width);
                            }
                            let adds = tile_of_segment > 0;
                            let target = Target { start: start_of, rows: M, columns: width, adds };
                            // SAFETY: a panel of the output has M values for each tile, one of the input `width`; the
                            // sums are this task's.
                            unsafe { tile::<T, T, S, M, N>(simd, &a, b, [M, width], &runs, target) };
                        }
                    }
                }
                let pairs = column_pairs.as_slice().len();
                let taps_of = [row_pairs.as_slice()[quad / pairs].0, column_pairs.as_slice()[quad % pairs].0];
                // SAFETY: the products have been written, and nobody else accesses the sums.
                let sums = unsafe { to.slice(0..KINDS * rows * width) };
                for (index, _) in filters.clone().enumerate() {
                    for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        let tap = taps_of[0][y] * wgrad.geometry.kernel[1] + taps_of[1][x];
                        let row = |kind: usize| &sums[(kind * rows + index) * width..][..valid];
                        let [a, b, c, d] = [row(y * 3 + x), row(y * 3 + x + 1), row(y * 3 + 3 + x), row(y * 3 + 4 + x)];
                        let start = (index * wgrad.geometry.taps() + tap) * channels.len() + first;
                        let to = gradient[start..start + valid].iter_mut();
                        for (to, ((&a, &b), (&c, &d))) in to.zip(a.iter().zip(b).zip(c.iter().zip(d))) {
                            *to = (a + b) + (c + d);
                        }
                    }
                }
            }
        }
    }
}
