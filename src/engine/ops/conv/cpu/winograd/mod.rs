//! Winograd's minimal filtering F(2x2, 2x2) for forward pass and input gradient (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2016): 9 products in the place of 16, for every 2x2 pixels and 2x2 taps.
//!
//! Along an axis, two taps g0 and g1 over three source pixels d0, d1 and d2 give two sums of three products, y0 = m0 +
//! m1 and y1 = m1 + m2:
//!
//! | | source | weight |
//! |---|---|---|
//! | m0 | d1 - d0 | -g0 |
//! | m1 | d1 | g0 + g1 |
//! | m2 | d2 - d1 | g1 |
//!
//! A 4x4 kernel is four such pairs of pairs, whose products are summed before the additions. The transformed source is
//! the source itself and its differences of neighbours, down, to the right, and both: four planes, from which all tiles
//! and phases read.
//!
//! If an image of the target has few tiles, a task computes them for one panel of weights, which it transforms itself,
//! and the planes are made once for all tasks. If it has many, a task makes the planes of a block of them, and the
//! weights are transformed once.

mod planes;
mod tasks;
mod weights;

use std::ops::Range;

use rayon::prelude::*;

use super::super::epilogue::PixelEpilogue;
use super::Operands;
use super::patch::Patch;
use super::phases::{Correlation, Taps};
use super::shape::TileShape;
use crate::engine::kernel::cpu::{Operand, Packed, Real, Run, SharedMut, as_packed, with_scratch};
use crate::engine::simd::InstructionSet;
use planes::{PlaneRow, Planes};
use tasks::{Call, OneBlock, OnePanel};
use weights::Weights;

/// Products for 2x2 pixels and 2x2 taps.
pub(super) const KINDS: usize = 9;

/// The planes of a transformed source.
const PLANES: usize = 4;

/// The most tiles of an image for which the planes are made once for all tasks, and of the images that a task then has.
const FEW_TILES: usize = 64;
const MOST_TILES: usize = 256;

/// The least tiles for which the transformed weights are worth it.
pub(super) const LEAST_TILES: usize = 48;

/// The least channels of source and target.
pub(super) const LEAST_CHANNELS: usize = 16;

/// Elements of the products of a block of tiles where the target has many, and the most tiles of it.
const PRODUCTS: usize = 96 << 10;
const MANY_TILES: [usize; 2] = [12, 32];

/// Channels of the source at a time, over all pairs of taps.
const STEPS: usize = 256;
/// The same where a task makes its planes.
const STEPS_OF_OWN_PLANES: usize = 128;

/// Pairs of taps along an axis: for each the kernel rows or columns, and the offset of the first one.
#[derive(Clone, Copy, Default)]
pub(super) struct Pairs {
    list: [([usize; 2], isize); 8],
    count: usize,
}

impl Pairs {
    /// The pairs of `taps` that lie `step` source pixels apart; `None` if a tap is left over.
    pub fn new(taps: &Taps, step: usize) -> Option<Pairs> {
        let (taps, mut used, mut pairs) = (taps.as_slice(), [false; 16], Pairs::default());
        for (i, &(first, offset)) in taps.iter().enumerate() {
            if used[i] {
                continue;
            }
            let partner = taps.iter().position(|&(_, other)| other == offset + step as isize)?;
            used[partner] = true;
            pairs.list[pairs.count] = ([first, taps[partner].0], offset);
            pairs.count += 1;
        }
        Some(pairs)
    }

    pub fn as_slice(&self) -> &[([usize; 2], isize)] {
        &self.list[..self.count]
    }
}

/// A convolution by F(2x2, 2x2), with its cut into blocks.
#[derive(Clone, Copy)]
pub(super) struct Winograd {
    correlation: Correlation,
    shape: TileShape,
    /// Columns of a panel.
    width: usize,
    /// Numbers of an element that is packed.
    steps: usize,
    /// Pairs of pairs of taps, the same number in every phase.
    pairs: usize,
    /// Channels of the source at a time: packed elements of a pixel.
    channels: usize,
    /// True if the planes are made once for all tasks.
    shares_planes: bool,
    /// Images, and rows and columns of tiles of a block.
    block: [usize; 3],
    /// Blocks along images, rows and columns.
    blocks: [usize; 3],
    patch: Patch,
}

impl Winograd {
    /// The convolution with operands that are packed as `P`, if this method computes it and pays.
    pub fn new<T: Real, P: Packed<T>>(correlation: Correlation, set: InstructionSet) -> Option<Winograd> {
        let ([images, _, _, columns], source) = (correlation.target, correlation.source[3]);
        if P::IN_TILES || source < LEAST_CHANNELS || columns < LEAST_CHANNELS {
            return None;
        }
        let mut pairs = 0;
        for phase in 0..correlation.phases() {
            let [rows, columns] = correlation.taps(phase).map(|taps| Pairs::new(&taps, correlation.step()));
            let count = rows?.count * columns?.count;
            if count == 0 || (phase > 0 && count != pairs) {
                return None;
            }
            pairs = count;
        }
        // By the size of an image, not of the batch, so that the bits of a picture do not depend on the batch it is in.
        let tiles = [0, 1].map(|axis| correlation.grid(axis, 0).div_ceil(2));
        let of_image = tiles[0] * tiles[1];
        if of_image < LEAST_TILES {
            return None;
        }
        let shape = TileShape::of::<T, P>(set, columns);
        let width = shape.vectors() * T::LANES;
        let shares_planes = of_image <= FEW_TILES;
        let even = |size: usize, most: usize| size.div_ceil(size.div_ceil(most.max(1)));
        let block = match shares_planes {
            true => [even(images, MOST_TILES / of_image), tiles[0], tiles[1]],
            false => {
                let elements = correlation.phases() * KINDS * columns.next_multiple_of(width);
                let most = (PRODUCTS / elements).clamp(MANY_TILES[0], MANY_TILES[1]);
                let columns = even(tiles[1], 8);
                [1, even(tiles[0], most / columns), columns]
            }
        };
        let steps = if shares_planes { STEPS } else { STEPS_OF_OWN_PLANES };
        Some(Winograd {
            correlation,
            shape,
            width,
            pairs,
            steps: P::STEPS,
            channels: (steps / pairs).min(source.div_ceil(P::STEPS)),
            shares_planes,
            block,
            blocks: [images.div_ceil(block[0]), tiles[0].div_ceil(block[1]), tiles[1].div_ceil(block[2])],
            patch: Patch::new(&correlation, [block[0], 2 * block[1], 2 * block[2]]),
        })
    }

    /// Packed elements of a pixel of the source.
    fn all_channels(&self) -> usize {
        self.correlation.source[3].div_ceil(self.steps)
    }

    /// The channels of a range of packed elements.
    fn numbers(&self, channels: &Range<usize>) -> Range<usize> {
        channels.start * self.steps..self.correlation.source[3].min(channels.end * self.steps)
    }

    fn panels(&self) -> usize {
        self.correlation.target[3].div_ceil(self.width)
    }

    fn tiles(&self) -> usize {
        self.block.iter().product()
    }

    /// Channels of a pixel of the planes.
    fn plane_channels(&self) -> usize {
        if self.shares_planes { self.all_channels() } else { self.channels }
    }

    /// Elements of one plane.
    fn plane(&self) -> usize {
        self.patch.pixels() * self.plane_channels()
    }

    /// Elements of the transformed weights of a panel for `channels` channels of the source.
    fn weights(&self, channels: usize) -> usize {
        KINDS * self.pairs * channels * self.width
    }

    /// Elements of the planes, or of the transformed weights: of what is made once for all tasks.
    pub fn workspace(&self) -> usize {
        match self.shares_planes {
            true => self.blocks[0] * PLANES * self.plane(),
            false => self.correlation.phases() * self.panels() * self.weights(self.all_channels()),
        }
    }

    /// Elements of scratch memory of a task: its weights, or its planes, and its products.
    pub fn scratch(&self) -> usize {
        let products = KINDS * self.tiles() * self.width;
        match self.shares_planes {
            true => self.quads() + self.weights(self.channels) + products,
            false => self.quads().max(PLANES * self.plane() + self.correlation.phases() * self.panels() * products),
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
        // Sums of weights are rounded themselves.
        let weight = if P::STEPS > 1 { weight.unrounded() } else { weight };
        let call = Call { winograd: self, weight, epilogue };
        let (phases, panels, all) = (self.correlation.phases(), self.panels(), self.all_channels());
        let shared = SharedMut::new(as_packed::<T, P>(workspace));
        if self.shares_planes {
            let (blocks, length) = (self.blocks[0], PLANES * self.plane());
            for block in 0..blocks {
                // SAFETY: nobody else accesses the planes of this block yet.
                let planes = unsafe { shared.slice(block * length..(block + 1) * length) };
                let planes = self.planes(&source, SharedMut::new(planes), block, 0..all);
                for differences in [false, true] {
                    let rows = (0..planes.rows()).into_par_iter();
                    rows.for_each(|row| P::run(set, PlaneRow { planes: &planes, row, differences }));
                }
            }
            // SAFETY: all planes have been written.
            let planes = unsafe { shared.slice(0..self.workspace()) };
            (0..phases * panels * blocks).into_par_iter().with_max_len(1).for_each(|index| {
                let block = index % blocks;
                with_scratch(self.scratch(), |scratch| {
                    let (quads, scratch) = scratch.split_at_mut(self.quads());
                    let (weights, products) = scratch.split_at_mut(self.weights(self.channels));
                    let weights = as_packed(weights);
                    let [phase, panel] = [index / blocks / panels, index / blocks % panels];
                    let planes = &planes[block * length..(block + 1) * length];
                    let task = OnePanel { call: &call, block, phase, panel, planes, quads, weights, products };
                    self.shape.run::<T, P>(set, task);
                });
            });
        } else {
            (0..phases * panels).into_par_iter().for_each(|index| {
                // SAFETY: each panel is one task's.
                let mut rest = unsafe { shared.slice(index * self.weights(all)..(index + 1) * self.weights(all)) };
                for channels in chunks(all, self.channels) {
                    let (made, behind) = std::mem::take(&mut rest).split_at_mut(self.weights(channels.len()));
                    with_scratch(self.scratch(), |scratch| {
                        let [phase, panel] = [index / panels, index % panels];
                        let quads = &mut scratch[..self.quads()];
                        P::run(set, Weights { winograd: self, weight, phase, panel, channels, quads, made });
                    });
                    rest = behind;
                }
            });
            // SAFETY: all weights have been written.
            let weights = unsafe { shared.slice(0..self.workspace()) };
            (0..self.blocks.iter().product()).into_par_iter().with_max_len(1).for_each(|block| {
                with_scratch(self.scratch(), |scratch| {
                    let (planes, products) = scratch.split_at_mut(PLANES * self.plane());
                    let planes = as_packed(planes);
                    self.shape.run::<T, P>(set, OneBlock { call: &call, source, block, planes, weights, products });
                });
            });
        }
    }

    /// The planes of a block, for some channels of the source.
    fn planes<'a, T: Real, P>(
        &self,
        source: &'a Operand<'a, T>,
        planes: SharedMut<'a, P>,
        block: usize,
        channels: Range<usize>,
    ) -> Planes<'a, T, P> {
        let [image, row, column] = self.first_tile(block);
        let patch = self.patch.at(&self.correlation, [image, 2 * row, 2 * column]);
        let step = self.correlation.step();
        let (elements, channels) = (channels.len(), self.numbers(&channels));
        Planes { source, shape: self.patch, patch, planes, channels, elements, step }
    }

    /// The first image, row and column of tiles of a block.
    fn first_tile(&self, block: usize) -> [usize; 3] {
        let [_, rows, columns] = self.blocks;
        let index = [block / (rows * columns), block / columns % rows, block % columns];
        std::array::from_fn(|axis| index[axis] * self.block[axis])
    }

    fn axes(&self, phase: usize) -> [Pairs; 2] {
        let step = self.correlation.step();
        self.correlation.taps(phase).map(|taps| Pairs::new(&taps, step).expect("checked by `new`"))
    }

    /// The runs of each kind over the planes, for some channels of the source.
    fn runs(&self, phase: usize, channels: &Range<usize>) -> Runs {
        let [rows, columns] = self.axes(phase);
        let (pitch, step) = (self.patch.columns, self.correlation.step());
        let offset = if self.shares_planes { channels.start } else { 0 };
        let pixel_channels = if self.shares_planes { self.all_channels() } else { channels.len() };
        let plane = self.patch.pixels() * pixel_channels;
        let mut runs = [([Run::default(); MAX_PAIRS], 0); KINDS];
        for (kind, (runs, count)) in runs.iter_mut().enumerate() {
            let [i, j] = [kind / 3, kind % 3];
            let which = usize::from(i != 1) + 2 * usize::from(j != 1);
            let mut b = kind * self.pairs * channels.len() * self.width;
            for (_, row) in rows.as_slice() {
                for (_, column) in columns.as_slice() {
                    let row = (row - self.patch.first[0]) as usize + usize::from(i > 0) * step;
                    let column = (column - self.patch.first[1]) as usize + usize::from(j > 0) * step;
                    let a = which * plane + (row * pitch + column) * pixel_channels + offset;
                    match runs[..*count].last_mut() {
                        Some(last) if last.a + last.count == a => last.count += channels.len(),
                        _ => {
                            runs[*count] = Run { a, b, count: channels.len() };
                            *count += 1;
                        }
                    }
                    b += channels.len() * self.width;
                }
            }
        }
        runs
    }
}

/// The most pairs of pairs of taps of a phase.
const MAX_PAIRS: usize = 64;

/// The runs of each kind, and their number.
type Runs = [([Run; MAX_PAIRS], usize); KINDS];

/// Ranges of `at_once` of `all` channels.
fn chunks(all: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    (0..all).step_by(at_once).map(move |first| first..all.min(first + at_once))
}
