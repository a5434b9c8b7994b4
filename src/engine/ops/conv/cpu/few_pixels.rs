//! Forward pass where the output has few pixels, as in the deep levels of a U-Net: products of the weights as they lie,
//! a filter for each row, and the pixels.
//!
//! There the weights are most of what is read, and each is used for a few pixels only, so packing them would cost more
//! than the products. The pixels are packed instead, once for all tasks: panels of as many pixels as a tile has
//! columns, for every element (tap, channel) of a filter. A task reads its filters once, from start to end.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::super::epilogue::PixelEpilogue;
use super::Operands;
use super::phases::{Correlation, Direction};
use super::shape::{TileShape, TiledWork};
use crate::engine::kernel::cpu::{Operand, Packed, Real, Run, SharedMut, Target, as_packed, with_scratch};
use crate::engine::simd::InstructionSet;

/// The most pixels of an image.
const PIXELS: usize = 96;

/// The least elements of a filter.
const LEAST_ELEMENTS: usize = 1024;

/// Steps of a sum in registers; longer sums are added up in memory from these.
const SEGMENT: usize = 256;

/// Filters of a task.
const FILTERS: usize = 24;

/// A forward pass with few output pixels, with its cut into tasks.
#[derive(Clone, Copy)]
pub(super) struct FewPixels {
    correlation: Correlation,
    shape: TileShape,
    /// Pixels of a panel.
    width: usize,
    /// Numbers of an element that is packed.
    steps: usize,
}

impl FewPixels {
    /// The forward pass with operands that are packed as `P`, if it has few pixels and large filters.
    pub fn new<T: Real, P: Packed<T>>(correlation: Correlation, set: InstructionSet) -> Option<FewPixels> {
        let Correlation { source, target: [images, height, width, _], geometry, direction } = correlation;
        let pixels = height * width;
        if direction != Direction::Fprop || pixels > PIXELS || geometry.taps() * source[3] < LEAST_ELEMENTS {
            return None;
        }
        let shape = TileShape::of::<T, P>(set, images * pixels);
        Some(FewPixels { correlation, shape, width: shape.vectors() * T::LANES, steps: P::STEPS })
    }

    fn pixels(&self) -> usize {
        let [images, height, width, _] = self.correlation.target;
        images * height * width
    }

    fn panels(&self) -> usize {
        self.pixels().div_ceil(self.width)
    }

    /// Packed channels of the source.
    fn channels(&self) -> usize {
        self.correlation.source[3].div_ceil(self.steps)
    }

    /// Packed elements (tap, channel) of a filter.
    fn elements(&self) -> usize {
        self.correlation.geometry.taps() * self.channels()
    }

    /// Elements of the packed pixels: `[panel][tap][channel][width]`.
    pub fn workspace(&self) -> usize {
        self.panels() * self.elements() * self.width
    }

    /// Elements of scratch memory of a task: its sums, a run of each of its filters that is packed, and a pixel.
    pub fn scratch(&self) -> usize {
        FILTERS * (self.panels() * self.width + SEGMENT + 1)
    }

    /// Computes the target, with operands that are packed as `P`.
    pub fn run<T: Real, P: Packed<T>>(
        &self,
        set: InstructionSet,
        operands: Operands<'_, T>,
        workspace: &mut [T],
        epilogue: &PixelEpilogue<'_, T>,
    ) {
        let taps = self.correlation.geometry.taps();
        let block = self.channels() * self.width;
        let workspace = &mut as_packed::<T, P>(workspace)[..self.workspace()];
        workspace.par_chunks_mut(block).enumerate().for_each(|(index, packed)| {
            if self.is_live(index % taps) {
                self.pack(&operands.source, index / taps, index % taps, packed);
            }
        });
        let (packed, filters) = (&*workspace, self.correlation.target[3]);
        (0..filters.div_ceil(FILTERS)).into_par_iter().with_max_len(1).for_each(|index| {
            let filters = index * FILTERS..filters.min((index + 1) * FILTERS);
            with_scratch(self.scratch(), |scratch| {
                let weight = operands.weight;
                let task = Task { few: self, weight, packed, filters, epilogue, scratch };
                self.shape.run::<T, P>(set, task);
            });
        });
    }

    /// True if a tap meets a pixel of the source. On a map of one pixel, most taps meet padding alone.
    fn is_live(&self, tap: usize) -> bool {
        let Correlation { source, target, geometry, .. } = self.correlation;
        let taps = [tap / geometry.kernel[1], tap % geometry.kernel[1]];
        (0..2)
            .all(|axis| (0..target[1 + axis]).any(|q| geometry.input(axis, q, taps[axis], source[1 + axis]).is_some()))
    }

    /// Packs the source pixels that a tap reads for the target pixels of a panel: `[channel][width]`.
    fn pack<T: Real, P: Packed<T>>(&self, source: &Operand<'_, T>, panel: usize, tap: usize, packed: &mut [P]) {
        let Correlation { source: [_, source_height, source_width, channels], target, geometry, .. } = self.correlation;
        let [_, height, width, _] = target;
        for j in 0..self.width {
            let p = panel * self.width + j;
            let (n, y, x) = (p / (height * width), p / width % height, p % width);
            let row = geometry.input(0, y, tap / geometry.kernel[1], source_height);
            let column = geometry.input(1, x, tap % geometry.kernel[1], source_width);
            let to = packed[j..].iter_mut().step_by(self.width);
            match (row, column) {
                (Some(row), Some(column)) if p < self.pixels() => {
                    P::pack_channels(source, (n * source_height + row) * source_width + column, 0..channels, to);
                }
                _ => to.for_each(|to| *to = P::ZERO),
            }
        }
    }
}

/// Some filters, for all pixels.
struct Task<'a, T: Real, P> {
    few: &'a FewPixels,
    weight: Operand<'a, T>,
    packed: &'a [P],
    filters: Range<usize>,
    epilogue: &'a PixelEpilogue<'a, T>,
    scratch: &'a mut [T],
}

impl<T: Real, P: Packed<T>> TiledWork for Task<'_, T, P> {
    const IN_TILES: bool = P::IN_TILES;

    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Task { few, filters, scratch, .. } = self;
        let pitch = few.panels() * few.width;
        let (sums, rest) = scratch.split_at_mut(FILTERS * pitch);
        let (run, pixel) = rest.split_at_mut(FILTERS * SEGMENT);
        let run = as_packed::<T, P>(run);
        let (channels, elements) = (few.channels(), few.elements());
        let mut adds = false;
        let all = SharedMut::new(&mut *sums);
        for tap in 0..few.correlation.geometry.taps() {
            if !few.is_live(tap) {
                continue;
            }
            for first in (0..channels).step_by(SEGMENT) {
                let count = SEGMENT.min(channels - first);
                let start = tap * channels + first;
                // The run of each filter, where it lies in the weights or packed.
                let (weights, first_row, weight_pitch) = match P::as_they_lie(&self.weight) {
                    Some(weights) => (weights, filters.start * elements + start, elements),
                    None => {
                        let taps = few.correlation.geometry.taps();
                        let numbers = first * few.steps..few.correlation.source[3].min((first + count) * few.steps);
                        for (filter, to) in filters.clone().zip(run.chunks_exact_mut(SEGMENT)) {
                            P::pack_channels(&self.weight, filter * taps + tap, numbers.clone(), to);
                        }
                        (&*run, 0, SEGMENT)
                    }
                };
                let runs = [Run { a: 0, b: start * few.width, count }];
                for group in (0..filters.len()).step_by(M) {
                    let rows = M.min(filters.len() - group);
                    for panel in 0..few.panels() {
                        let (mut a, mut to) = ([weights.as_ptr(); M], [std::ptr::null_mut(); M]);
                        for r in 0..M {
                            let filter = group + r.min(rows - 1);
                            a[r] = weights[first_row + filter * weight_pitch..][..count].as_ptr();
                            to[r] = all.at(filter * pitch + panel * few.width);
                        }
                        let b = self.packed[panel * elements * few.width..].as_ptr();
                        let target = Target { start: to, rows, columns: few.width, adds };
                        // SAFETY: the run of a filter has `count` elements, and a panel a row of `width` pixels for
                        // each. The sums are this task's.
                        unsafe { P::tile::<S, M, N>(simd, &a, b, [1, few.width], &runs, target) };
                    }
                }
                adds = true;
            }
        }
        if !adds {
            sums.fill(T::zero());
        }
        let pixel = &mut pixel[..filters.len()];
        for p in 0..few.pixels() {
            pixel.iter_mut().zip(sums[p..].iter().step_by(pitch)).for_each(|(x, &sum)| *x = sum);
            // SAFETY: each range of filters is one task's.
            unsafe { self.epilogue.write(p, filters.clone(), pixel) };
        }
    }
}
