//! Forward pass and input gradient where the target has few pixels, as in the deep levels of a U-Net.
//!
//! There the weights are most of what is read, and each meets a few pixels only: a task reads its own once, from start
//! to end, and takes single numbers as they lie in memory. The source is copied once for all tasks, to a patch with
//! zeros for the padding.

mod dgrad;
mod fprop;

use rayon::prelude::*;

use super::super::epilogue::PixelEpilogue;
use super::Operands;
use super::patch::{FillRow, Patch};
use super::phases::{Correlation, Direction};
use super::shape::TileShape;
use crate::engine::kernel::cpu::{Packed, Real, as_packed, with_scratch};
use crate::engine::simd::InstructionSet;

/// The least elements of a filter.
const LEAST_ELEMENTS: usize = 1024;

/// Filters of a task of a forward pass.
const FILTERS: usize = 24;

/// The most channels of the target of a task of an input gradient.
const COLUMNS: usize = 256;

/// The most pixels of an image of the target, in a phase.
const PIXELS: usize = 96;

/// The most of them for which pairs of numbers are not worth packing.
const PIXELS_OF_SINGLES: usize = 16;

/// Pixels of all images that meet the weights at a time.
const PIXELS_AT_ONCE: usize = 256;

/// A forward pass or an input gradient with few target pixels.
#[derive(Clone, Copy)]
pub(super) struct FewPixels {
    correlation: Correlation,
    /// The tiles of an input gradient.
    shape: TileShape,
    /// Channels of a panel of an input gradient.
    width: usize,
    /// Packed elements of a pixel of the source.
    channels: usize,
    patch: Patch,
}

impl FewPixels {
    /// The pass with operands that are packed as `P`, if an image of its target has few pixels, and it has large
    /// filters and channels that vectors divide.
    pub fn new<T: Real, P: Packed<T>>(correlation: Correlation, set: InstructionSet) -> Option<FewPixels> {
        let Correlation { source, target, geometry, direction } = correlation;
        let grid = [0, 1].map(|axis| correlation.grid(axis, 0));
        let pixels = grid[0] * grid[1];
        let wide = TileShape::of::<T, P>(set, target[3]);
        let is_wide = target[3] % (wide.vectors() * T::LANES) == 0;
        let shape = if is_wide { wide } else { TileShape::of::<T, P>(set, T::LANES) };
        let width = shape.vectors() * T::LANES;
        // The same for all instruction sets, so that these take the same method.
        let (inner, outer, vector) = match direction {
            Direction::Fprop => (source[3], target[3], T::LANES * P::STEPS),
            Direction::Dgrad => (target[3], source[3], T::LANES),
        };
        let is_few = if P::STEPS == 1 { pixels <= PIXELS } else { pixels > PIXELS_OF_SINGLES && pixels <= PIXELS };
        let is_large = geometry.taps() * inner >= LEAST_ELEMENTS && inner % vector == 0 && outer > 0;
        let patch = Patch::new(&correlation, [source[0], grid[0], grid[1]]);
        let channels = source[3].div_ceil(P::STEPS);
        (is_few && is_large && !P::IN_TILES).then_some(FewPixels { correlation, shape, width, channels, patch })
    }

    /// The pass with operands of single numbers, where pairs are not worth packing.
    pub fn of_singles<T: Real>(correlation: Correlation, set: InstructionSet) -> Option<FewPixels> {
        let few = FewPixels::new::<T, T>(correlation, set)?;
        (0..2).map(|axis| correlation.grid(axis, 0)).product::<usize>().le(&PIXELS_OF_SINGLES).then_some(few)
    }

    /// Elements of the patch.
    pub fn workspace(&self) -> usize {
        self.patch.pixels() * self.channels
    }

    /// Elements of scratch memory of a task: its sums, and weights that it packs.
    pub fn scratch(&self) -> usize {
        match self.correlation.direction {
            Direction::Fprop => fprop::scratch(self),
            Direction::Dgrad => dgrad::scratch(self),
        }
    }

    /// Computes the target, with operands that are packed as `P`.
    pub fn run<T: Real, P: Packed<T>>(
        &self,
        set: InstructionSet,
        Operands { source, weight }: Operands<'_, T>,
        workspace: &mut [T],
        epilogue: &PixelEpilogue<'_, T>,
    ) {
        let patch = &mut as_packed::<T, P>(workspace)[..self.workspace()];
        let at = self.patch.at(&self.correlation, [0; 3]);
        let (row, all) = (self.patch.columns * self.channels, self.correlation.source[3]);
        patch.par_chunks_mut(row.max(1)).enumerate().for_each(|(index, to)| {
            P::run(set, FillRow { patch: &at, source: &source, index, channels: 0..all, to });
        });
        let patch = &*patch;
        match self.correlation.direction {
            Direction::Fprop => {
                let filters = self.correlation.target[3];
                (0..filters.div_ceil(FILTERS)).into_par_iter().with_max_len(1).for_each(|index| {
                    let filters = index * FILTERS..filters.min((index + 1) * FILTERS);
                    with_scratch(self.scratch(), |scratch| {
                        P::run(set, fprop::Task { few: self, weight, patch, filters, epilogue, scratch });
                    });
                });
            }
            Direction::Dgrad => {
                let (all, columns) = (self.correlation.target[3], self.columns());
                let cuts = all.div_ceil(columns);
                (0..self.correlation.phases() * cuts).into_par_iter().with_max_len(1).for_each(|index| {
                    let (phase, first) = (index / cuts, index % cuts * columns);
                    let columns = first..all.min(first + columns);
                    with_scratch(self.scratch(), |scratch| {
                        let task = dgrad::Task { few: self, weight, patch, phase, columns, epilogue, scratch };
                        self.shape.run::<T, P>(set, task);
                    });
                });
            }
        }
    }

    /// Channels of a task of an input gradient, whole panels.
    fn columns(&self) -> usize {
        COLUMNS.next_multiple_of(self.width)
    }

    /// Target pixels of a phase, in all images.
    fn pixels_of_phase(&self, phase: usize) -> usize {
        self.correlation.target[0] * self.grid(phase).iter().product::<usize>()
    }

    /// Rows and columns of a phase.
    fn grid(&self, phase: usize) -> [usize; 2] {
        let first = self.correlation.first(phase);
        [0, 1].map(|axis| self.correlation.grid(axis, first[axis]))
    }

    /// The pixels of a phase, some at a time: for each the element of the patch where its window begins. The first of
    /// them and their number stand beside.
    fn windows(&self, phase: usize) -> impl Iterator<Item = (usize, [usize; PIXELS_AT_ONCE], usize)> + '_ {
        let pixels = self.pixels_of_phase(phase);
        (0..pixels).step_by(PIXELS_AT_ONCE).map(move |first| {
            let count = PIXELS_AT_ONCE.min(pixels - first);
            let mut windows = [0; PIXELS_AT_ONCE];
            for (p, window) in windows[..count].iter_mut().enumerate() {
                *window = self.pixel(phase, first + p).0;
            }
            (first, windows, count)
        })
    }

    /// For a pixel of a phase, the element of the patch where its window begins, and its index in the target.
    #[inline(always)]
    fn pixel(&self, phase: usize, index: usize) -> (usize, usize) {
        let target = self.correlation.target;
        let ([rows, columns], first) = (self.grid(phase), self.correlation.first(phase));
        let [image, row, column] = [index / (rows * columns), index / columns % rows, index % columns];
        let (step, spacing) = (self.correlation.step(), self.correlation.spacing());
        let window = self.patch.pixel(image, row * step, column * step) * self.channels;
        let [row, column] = [row * spacing + first[0], column * spacing + first[1]];
        (window, (image * target[1] + row) * target[2] + column)
    }

    /// The element of a window that a tap with these offsets reads.
    #[inline(always)]
    fn offset(&self, [row, column]: [isize; 2]) -> usize {
        let [row, column] = [row - self.patch.first[0], column - self.patch.first[1]];
        (row as usize * self.patch.columns + column as usize) * self.channels
    }
}
