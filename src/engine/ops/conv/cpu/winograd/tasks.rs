//! The tasks: products of planes and transformed weights, and the additions behind them.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::super::epilogue::PixelEpilogue;
use super::super::shape::{FEW_ROWS, TiledWork, takes_few_rows};
use super::weights::Weights;
use super::{KINDS, MOST_TILES, Runs, Winograd, chunks};
use crate::engine::kernel::cpu::{Operand, Packed, Real, Run, SharedMut, Target};

/// One execution.
pub(super) struct Call<'a, T: Real> {
    pub winograd: &'a Winograd,
    pub weight: Operand<'a, T>,
    pub epilogue: &'a PixelEpilogue<'a, T>,
}

/// All tiles of a phase, for one panel of weights.
pub(super) struct OnePanel<'a, T: Real, P> {
    pub call: &'a Call<'a, T>,
    pub block: usize,
    pub phase: usize,
    pub panel: usize,
    pub planes: &'a [P],
    pub quads: &'a mut [T],
    pub weights: &'a mut [P],
    pub products: &'a mut [T],
}

/// A block of tiles, for all phases and panels.
pub(super) struct OneBlock<'a, T: Real, P> {
    pub call: &'a Call<'a, T>,
    pub source: Operand<'a, T>,
    pub block: usize,
    pub planes: &'a mut [P],
    pub weights: &'a [P],
    pub products: &'a mut [T],
}

impl<T: Real, P: Packed<T>> TiledWork for OnePanel<'_, T, P> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let OnePanel { call, block, phase, panel, planes, quads, weights, products } = self;
        let winograd = call.winograd;
        let all = winograd.all_channels();
        let tiles = call.tiles(all);
        for channels in chunks(all, winograd.channels) {
            let (quads, made) = (&mut *quads, &mut *weights);
            let weight = call.weight;
            Weights { winograd, weight, phase, panel, channels: channels.clone(), quads, made }.with_simd(simd);
            let runs = winograd.runs(phase, &channels);
            let to = Products { values: SharedMut::new(products), pitch: winograd.width, adds: channels.start > 0 };
            call.multiply::<S, P, M, N>(simd, &runs, &tiles, planes, weights, to);
        }
        let first = panel * winograd.width;
        let columns = first..winograd.correlation.target[3].min(first + winograd.width);
        call.join(phase, block, products, winograd.width, columns);
    }
}

impl<T: Real, P: Packed<T>> TiledWork for OneBlock<'_, T, P> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let OneBlock { call, source, block, planes, weights, products } = self;
        let winograd = call.winograd;
        let (all, panels) = (winograd.all_channels(), winograd.panels());
        let pitch = panels * winograd.width;
        let of_phase = KINDS * winograd.tiles() * pitch;
        for channels in chunks(all, winograd.channels) {
            let made = winograd.planes(&source, SharedMut::new(planes), block, channels.clone());
            for row in 0..made.rows() {
                // SAFETY: the planes are this task's.
                unsafe { made.copy_row(row) };
            }
            for row in 0..made.rows() {
                // SAFETY: as above.
                unsafe { made.difference_row(row) };
            }
            let tiles = call.tiles(channels.len());
            for phase in 0..winograd.correlation.phases() {
                let runs = winograd.runs(phase, &channels);
                for panel in 0..panels {
                    let start = (phase * panels + panel) * winograd.weights(all) + winograd.weights(channels.start);
                    let weights = &weights[start..start + winograd.weights(channels.len())];
                    let values = &mut products[phase * of_phase + panel * winograd.width..];
                    let to = Products { values: SharedMut::new(values), pitch, adds: channels.start > 0 };
                    call.multiply::<S, P, M, N>(simd, &runs, &tiles, planes, weights, to);
                }
            }
        }
        for phase in 0..winograd.correlation.phases() {
            let columns = 0..winograd.correlation.target[3];
            call.join(phase, block, &mut products[phase * of_phase..(phase + 1) * of_phase], pitch, columns);
        }
    }
}

/// The products of tiles: `[kind][tile][pitch]`.
struct Products<'a, T> {
    values: SharedMut<'a, T>,
    pitch: usize,
    adds: bool,
}

/// One of the nine kinds of products: its runs, and the first of its tiles among the products.
struct Kind<'a> {
    runs: &'a [Run],
    first: usize,
}

/// The starts of the tiles of a block in the planes.
struct Tiles {
    windows: [usize; MOST_TILES],
    count: usize,
}

impl<T: Real> Call<'_, T> {
    #[inline(always)]
    fn tiles(&self, channels: usize) -> Tiles {
        let Winograd { block: [images, rows, columns], patch, correlation, .. } = *self.winograd;
        let mut tiles = Tiles { windows: [0; MOST_TILES], count: images * rows * columns };
        for (index, window) in tiles.windows[..tiles.count].iter_mut().enumerate() {
            let [image, row, column] = [index / (rows * columns), index / columns % rows, index % columns];
            let step = 2 * correlation.step();
            *window = patch.pixel(image, row * step, column * step) * channels;
        }
        tiles
    }

    /// Adds the products of all kinds over some channels for one panel of weights.
    #[inline(always)]
    fn multiply<S: Simd, P: Packed<T>, const M: usize, const N: usize>(
        &self,
        simd: S,
        runs: &Runs,
        tiles: &Tiles,
        planes: &[P],
        weights: &[P],
        products: Products<'_, T>,
    ) {
        for (kind, (runs, count)) in runs.iter().enumerate() {
            let kind = Kind { runs: &runs[..*count], first: kind * tiles.count };
            let mut group = 0;
            while group < tiles.count {
                if takes_few_rows::<M>(tiles.count - group) {
                    self.multiply_rows::<S, P, FEW_ROWS, N>(simd, &kind, tiles, group, planes, weights, &products);
                    group += FEW_ROWS;
                } else {
                    self.multiply_rows::<S, P, M, N>(simd, &kind, tiles, group, planes, weights, &products);
                    group += M;
                }
            }
        }
    }

    /// Adds the products of one kind for up to `M` tiles from `group` on.
    #[expect(clippy::too_many_arguments, reason = "a part of a loop, which is there for two numbers of rows")]
    #[inline(always)]
    fn multiply_rows<S: Simd, P: Packed<T>, const M: usize, const N: usize>(
        &self,
        simd: S,
        kind: &Kind<'_>,
        tiles: &Tiles,
        group: usize,
        planes: &[P],
        weights: &[P],
        products: &Products<'_, T>,
    ) {
        let rows = M.min(tiles.count - group);
        let (mut a, mut start) = ([planes.as_ptr(); M], [std::ptr::null_mut(); M]);
        for r in 0..M {
            let index = group + r.min(rows - 1);
            a[r] = planes[tiles.windows[index]..].as_ptr();
            start[r] = products.values.at((kind.first + index) * products.pitch);
        }
        let target = Target { start, rows, columns: N * T::LANES, adds: products.adds };
        // SAFETY: windows of tiles lie in the planes with all of their runs, and the weights have all steps of all
        // kinds. The products are this task's.
        unsafe { P::tile::<S, M, N>(simd, &a, weights.as_ptr(), [1, N * T::LANES], kind.runs, target) };
    }

    /// Adds up the products of each tile of a block to its pixels in a phase, for the channels `columns`. The products
    /// are gone afterwards.
    #[inline(always)]
    fn join(&self, phase: usize, block: usize, products: &mut [T], pitch: usize, columns: Range<usize>) {
        let Winograd { correlation, block: [images, rows, tile_columns], .. } = *self.winograd;
        let first_tile = self.winograd.first_tile(block);
        let (first, spacing, [all_images, height, width, _]) =
            (correlation.first(phase), correlation.spacing(), correlation.target);
        let count = columns.len();
        let tiles = images * rows * tile_columns;
        for index in 0..tiles {
            let n = first_tile[0] + index / (rows * tile_columns);
            let row = first_tile[1] + index / tile_columns % rows;
            let column = first_tile[2] + index % tile_columns;
            for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let (y_target, x_target) = ((2 * row + y) * spacing + first[0], (2 * column + x) * spacing + first[1]);
                if n >= all_images || y_target >= height || x_target >= width {
                    continue;
                }
                let p = (n * height + y_target) * width + x_target;
                // The four products of a pixel; the sum takes the place of the first, which no later pixel needs.
                let [a, b, c, d] =
                    [y * 3 + x, y * 3 + x + 1, y * 3 + 3 + x, y * 3 + 4 + x].map(|kind| (kind * tiles + index) * pitch);
                let (sums, behind) = products[a..].split_at_mut(count);
                let [b, c, d] = [b, c, d].map(|start| &behind[start - a - count..][..count]);
                for (((a, &b), &c), &d) in sums.iter_mut().zip(b).zip(c).zip(d) {
                    *a = (*a + b) + (c + d);
                }
                // SAFETY: the pixels of a block in a phase, or the channels of a panel, are one task's.
                unsafe { self.epilogue.write(p, columns.clone(), sums) };
            }
        }
    }
}
