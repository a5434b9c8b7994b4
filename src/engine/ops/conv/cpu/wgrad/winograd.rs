//! Weight gradient of a convolution by F(2x2, 2x2): the gradient of 2x2 taps is a filter of 2x2 pixels of the output's
//! gradient over 3x3 pixels of the input, so it takes the same nine products as the forward pass, summed over tiles.
//!
//! Both operands are transformed and packed once for all tasks: the output's gradient with all filters of a tile side
//! by side, the input, for each pair of pairs of taps, in panels of as many channels as a product has columns.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::super::Geometry;
use super::super::patch::Patch;
use super::super::phases::{Correlation, Direction};
use super::super::shape::{TileShape, TiledWork};
use super::super::winograd::{KINDS, LEAST_CHANNELS, LEAST_TILES, Pairs};
use super::{FILTERS, SEGMENT};
use crate::engine::kernel::cpu::{Operand, Packed, Real, Run, SharedMut, Target, as_packed, with_scratch};
use crate::engine::simd::InstructionSet;
use crate::engine::tensor::Shape;

/// The least filters: with fewer, the transformed operands take more time than the products save.
const LEAST_FILTERS: usize = 128;

/// Elements that a vector of the last pixel's channels reaches behind them.
const SLACK: usize = 16;

/// Tasks that a gradient of few filters is cut into, by its channels.
const TASKS: usize = 16;

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
    /// Rows of tiles of an image, and packed elements of a row: tiles, or pairs of neighbours.
    tiles: [usize; 2],
    /// Filters of a tile in the transformed output, some of which are behind the last one.
    filters: usize,
    /// The input pixels that a row of tiles meets.
    patch: Patch,
    /// Pixels of the output along a row of tiles.
    pixels: usize,
}

/// The forward pass.
fn forward(source: Shape, target: Shape, geometry: Geometry) -> Correlation {
    Correlation { source, target, geometry, direction: Direction::Fprop }
}

impl WinogradWgrad {
    /// The gradient with operands that are packed as `P`, if this method computes it and pays.
    pub fn new<T: Real, P: Packed<T>>(
        input: Shape,
        output: Shape,
        geometry: Geometry,
        set: InstructionSet,
    ) -> Option<WinogradWgrad> {
        let tiles = [output[1].div_ceil(2), output[2].div_ceil(2)];
        if P::IN_TILES || input[3] < LEAST_CHANNELS || output[3] < LEAST_FILTERS || tiles[0] * tiles[1] < LEAST_TILES {
            return None;
        }
        let forward = forward(input, output, geometry);
        let [rows, columns] = forward.taps(0).map(|taps| Pairs::new(&taps, forward.step()));
        let shape = TileShape::of::<T, P>(set, input[3]);
        let tiles = [tiles[0], tiles[1].div_ceil(P::STEPS)];
        let pixels = 2 * tiles[1] * P::STEPS;
        let patch = Patch::new(&forward, [1, 2, pixels]);
        // Not a power of two: the filters of all tiles would meet in a few sets of the L1 cache.
        let filters = output[3].next_multiple_of(T::LANES) + T::LANES;
        let (pairs, width) = ([rows?, columns?], shape.vectors() * T::LANES);
        Some(WinogradWgrad {
            input,
            output,
            geometry,
            shape,
            pairs,
            rows: shape.rows(),
            width,
            tiles,
            filters,
            patch,
            pixels,
        })
    }

    fn forward(&self) -> Correlation {
        forward(self.input, self.output, self.geometry)
    }

    fn groups(&self) -> usize {
        self.output[3].div_ceil(self.rows)
    }

    fn panels(&self) -> usize {
        self.input[3].div_ceil(self.width)
    }

    /// Packed elements of the tiles of all images.
    fn all_tiles(&self) -> usize {
        self.output[0] * self.tiles[0] * self.tiles[1]
    }

    /// Pairs of pairs of taps.
    fn quads(&self) -> usize {
        self.pairs.iter().map(|pairs| pairs.as_slice().len()).product()
    }

    /// Elements of the transformed output, `[kind][tile][filter]`.
    fn packed_output(&self) -> usize {
        KINDS * self.all_tiles() * self.filters
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
        let products = groups * self.rows * self.width * (self.geometry.taps() * panels + KINDS);
        products.max(self.source_pixels() + self.output_pixels())
    }

    /// Elements of the input pixels that a row of tiles meets, and what the last vector reads behind them.
    fn source_pixels(&self) -> usize {
        self.patch.pixels() * self.input[3] + SLACK
    }

    /// Elements of the output pixels of a row of tiles, and what the last vector reads behind them.
    fn output_pixels(&self) -> usize {
        2 * self.pixels * self.output[3] + SLACK
    }

    /// Calls `emit` with every filter, a range of its elements (tap, channel), and the gradient there, in parallel.
    pub fn run<T: Real, P: Packed<T>>(
        &self,
        set: InstructionSet,
        x: Operand<'_, T>,
        dy: Operand<'_, T>,
        workspace: &mut [T],
        emit: impl Fn(usize, Range<usize>, &[T]) + Sync,
    ) {
        let (output, input) = as_packed::<T, P>(workspace).split_at_mut(self.packed_output());
        let (to_output, to_input) = (SharedMut::new(output), SharedMut::new(input));
        let rows = self.output[0] * self.tiles[0];
        (0..rows).into_par_iter().for_each(|row| {
            with_scratch(self.scratch(), |scratch| {
                let (source, output) = scratch.split_at_mut(self.source_pixels());
                P::run(set, Pack { wgrad: self, x, dy, row, source, output, to_output, to_input });
            });
        });
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
                self.shape.run::<T, P>(set, task);
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
struct Pack<'a, T: Real, P> {
    wgrad: &'a WinogradWgrad,
    x: Operand<'a, T>,
    dy: Operand<'a, T>,
    /// Index of the row of tiles in all images.
    row: usize,
    /// Scratch memory for the pixels of both.
    source: &'a mut [T],
    output: &'a mut [T],
    to_output: SharedMut<'a, P>,
    to_input: SharedMut<'a, P>,
}

impl<T: Real, P: Packed<T>> WithSimd for Pack<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        self.copy();
        for column in 0..self.wgrad.tiles[1] {
            self.pack_output(simd, column);
            self.pack_input(simd, column);
        }
    }
}

#[expect(clippy::needless_range_loop, reason = "loops over constants are unrolled, which keeps vectors in registers")]
impl<T: Real, P: Packed<T>> Pack<'_, T, P> {
    /// Copies the pixels of both operands, with zeros for those outside of them.
    #[inline(always)]
    fn copy(&mut self) {
        let wgrad = self.wgrad;
        let ([_, height, width, filters], rows) = (wgrad.output, wgrad.tiles[0]);
        let (image, row) = (self.row / rows, self.row % rows);
        let patch = wgrad.patch.at(&wgrad.forward(), [image, 2 * row, 0]);
        let (channels, length) = (wgrad.input[3], wgrad.patch.columns * wgrad.input[3]);
        for (index, to) in self.source.chunks_exact_mut(length).take(wgrad.patch.rows).enumerate() {
            patch.fill_row::<T, T>(&self.x, index, &(0..channels), to);
        }
        for (y, to) in self.output.chunks_exact_mut(wgrad.pixels * filters).take(2).enumerate() {
            let valid = if 2 * row + y < height { width } else { 0 };
            let (inside, behind) = to.split_at_mut(valid * filters);
            for (x, to) in inside.chunks_exact_mut(filters).enumerate() {
                self.dy.copy((image * height + 2 * row + y) * width + x, 0..filters, to);
            }
            behind.fill(T::ZERO);
        }
    }

    /// Index of the packed element of a tile in all images.
    fn tile(&self, column: usize) -> usize {
        self.row * self.wgrad.tiles[1] + column
    }

    /// The nine sums of the 2x2 pixels of each tile of an element: along an axis, those of -y0, y0 + y1 and y1.
    #[inline(always)]
    fn pack_output<S: Simd>(&self, simd: S, column: usize) {
        let wgrad = self.wgrad;
        let (filters, tiles, tile) = (wgrad.output[3], wgrad.all_tiles(), self.tile(column));
        let zero = T::splat(simd, T::ZERO);
        for first in (0..filters).step_by(T::LANES) {
            let mut kinds = [[zero; KINDS]; 2];
            for step in 0..P::STEPS {
                let pixel = 2 * (column * P::STEPS + step);
                let at = |y: usize, x: usize| {
                    vector::<T, S>(&self.output[(y * wgrad.pixels + pixel + x) * filters + first..])
                };
                let upper = sums::<T, S>(simd, at(0, 0), at(0, 1));
                let lower = sums::<T, S>(simd, at(1, 0), at(1, 1));
                for j in 0..3 {
                    let column = sums::<T, S>(simd, upper[j], lower[j]);
                    for i in 0..3 {
                        kinds[step][i * 3 + j] = column[i];
                    }
                }
            }
            for kind in 0..KINDS {
                let start = (kind * tiles + tile) * wgrad.filters + first;
                // SAFETY: each tile is one task's.
                let to = unsafe { self.to_output.slice(start..start + T::LANES) };
                store::<T, P, S>(to, P::pack_vectors(simd, [kinds[0][kind], kinds[P::STEPS - 1][kind]]));
            }
        }
    }

    /// The nine differences of the 3x3 pixels that each quad of taps meets, for each tile of an element: along an axis,
    /// d1 - d0, d1 and d2 - d1.
    #[inline(always)]
    fn pack_input<S: Simd>(&self, simd: S, column: usize) {
        let wgrad = self.wgrad;
        let (channels, step, patch) = (wgrad.input[3], wgrad.geometry.stride, wgrad.patch);
        let [rows, columns] = &wgrad.pairs;
        let (tile, tiles) = (self.tile(column), wgrad.all_tiles());
        let zero = T::splat(simd, T::ZERO);
        let mut quad = 0;
        for &(_, down) in rows.as_slice() {
            for &(_, right) in columns.as_slice() {
                let window = [down - patch.first[0], right - patch.first[1]].map(|offset| offset as usize);
                for first in (0..channels).step_by(T::LANES) {
                    let mut kinds = [[zero; KINDS]; 2];
                    for nth in 0..P::STEPS {
                        let left = window[1] + 2 * (column * P::STEPS + nth) * step;
                        let at = |y: usize, x: usize| {
                            let pixel = patch.pixel(0, window[0] + y * step, left + x * step);
                            vector::<T, S>(&self.source[pixel * channels + first..])
                        };
                        let mut along = [[zero; 3]; 3];
                        for y in 0..3 {
                            along[y] = differences::<T, S>(simd, [at(y, 0), at(y, 1), at(y, 2)]);
                        }
                        for j in 0..3 {
                            let column = differences::<T, S>(simd, [along[0][j], along[1][j], along[2][j]]);
                            for i in 0..3 {
                                kinds[nth][i * 3 + j] = column[i];
                            }
                        }
                    }
                    let (panel, lane) = (first / wgrad.width, first % wgrad.width);
                    let start = ((panel * wgrad.quads() + quad) * KINDS * tiles + tile) * wgrad.width + lane;
                    for kind in 0..KINDS {
                        let start = start + kind * tiles * wgrad.width;
                        // SAFETY: each tile is one task's.
                        let to = unsafe { self.to_input.slice(start..start + T::LANES) };
                        store::<T, P, S>(to, P::pack_vectors(simd, [kinds[0][kind], kinds[P::STEPS - 1][kind]]));
                    }
                }
                quad += 1;
            }
        }
    }
}

/// Of two pixels along an axis, -y0, y0 + y1 and y1.
#[inline(always)]
fn sums<T: Real, S: Simd>(simd: S, y0: T::Vector<S>, y1: T::Vector<S>) -> [T::Vector<S>; 3] {
    [T::sub_vectors(simd, T::splat(simd, T::ZERO), y0), T::add_vectors(simd, y0, y1), y1]
}

/// Of three pixels along an axis, d1 - d0, d1 and d2 - d1.
#[inline(always)]
fn differences<T: Real, S: Simd>(simd: S, [d0, d1, d2]: [T::Vector<S>; 3]) -> [T::Vector<S>; 3] {
    [T::sub_vectors(simd, d1, d0), d1, T::sub_vectors(simd, d2, d1)]
}

/// The vector at the front of `numbers`.
#[inline(always)]
fn vector<T: Real, S: Simd>(numbers: &[T]) -> T::Vector<S> {
    assert!(numbers.len() >= T::LANES);
    // SAFETY: the line above; a vector is made of its lanes.
    unsafe { numbers.as_ptr().cast::<T::Vector<S>>().read_unaligned() }
}

/// Writes a vector to the front of `to`.
#[inline(always)]
fn store<T: Real, P: Packed<T>, S: Simd>(to: &mut [P], vector: P::Vector<S>) {
    assert!(to.len() >= T::LANES);
    // SAFETY: the line above; a vector is made of its lanes.
    unsafe { to.as_mut_ptr().cast::<P::Vector<S>>().write_unaligned(vector) }
}

/// The gradient of some groups of filters for some panels of channels.
struct Task<'a, T, P> {
    wgrad: &'a WinogradWgrad,
    groups: Range<usize>,
    panels: Range<usize>,
    filters: &'a Range<usize>,
    channels: &'a Range<usize>,
    output: &'a [P],
    input: &'a [P],
    /// `[filter][tap][channel]`.
    gradient: &'a mut [T],
    /// `[kind][filter][width]`.
    sums: &'a mut [T],
}

impl<T: Real, P: Packed<T>> TiledWork for Task<'_, T, P> {
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
                    let runs = [Run { a: tile_of_segment * wgrad.filters, b: tile_of_segment * width, count }];
                    for kind in 0..KINDS {
                        let b = input[(of_quad + kind) * tiles * width..].as_ptr();
                        for group in groups.clone() {
                            let start = kind * tiles * wgrad.filters + group * M;
                            let valid = M.min(wgrad.output[3] - group * M);
                            let (mut a, mut start_of) = ([output.as_ptr(); M], [std::ptr::null_mut(); M]);
                            for r in 0..M {
                                a[r] = output[start + r.min(valid - 1)..].as_ptr();
                                let row = kind * rows + (group - groups.start) * M + r;
                                start_of[r] = to.at(row * width);
                            }
                            let adds = tile_of_segment > 0;
                            let target = Target { start: start_of, rows: M, columns: width, adds };
                            // SAFETY: the output has all filters of each tile, a panel of the input `width` channels;
                            // the sums are this task's.
                            unsafe { P::tile::<S, M, N>(simd, &a, b, [wgrad.filters, width], &runs, target) };
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
