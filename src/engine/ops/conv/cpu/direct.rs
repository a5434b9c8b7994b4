//! Direct convolution: forward pass and input gradient as products of patches of the source and packed weights.
//!
//! A task computes a block of target pixels for some channels. It copies the pixels of the source that the block reads,
//! some channels at a time, to a patch with zeros for the padding, in which a kernel row is one contiguous run. The
//! weights are packed in panels of as many columns as a tile has. A panel's run stays in the L1 cache while all pixels
//! of the block meet it, and the patch in L2.

use std::ops::Range;

use pulp::Simd;
use rayon::prelude::*;

use super::super::epilogue::PixelEpilogue;
use super::Operands;
use super::patch::Patch;
use super::phases::{Correlation, Direction, Runs, split_segment};
use super::shape::{TileShape, TiledWork};
use crate::engine::kernel::cpu::{Operand, Packed, Real, SharedMut, Target, as_packed, with_scratch};
use crate::engine::simd::InstructionSet;

/// The most pixels of a block, in each phase.
const PIXELS: usize = 192;

/// The most columns of a block.
const BLOCK_COLUMNS: usize = 32;

/// Steps of a sum in registers, unless one run is longer. Longer sums are added up in memory from these, which keeps
/// their rounding error small; and 256 steps of 16 columns of f32 are half of an L1 cache.
const SEGMENT: usize = 256;

/// Tasks that a convolution of small images is cut into, by its channels and phases.
const TASKS: usize = 16;

/// A direct convolution with its cut into blocks.
#[derive(Clone, Copy)]
pub(super) struct Direct {
    correlation: Correlation,
    shape: TileShape,
    /// Columns of a panel.
    width: usize,
    /// Numbers of an element that is packed.
    steps: usize,
    /// Channels of the source in a patch: packed elements of a pixel.
    channels: usize,
    /// Images, rows and columns of a block, in pixels of a phase.
    block: [usize; 3],
    /// Blocks along images, rows and columns.
    blocks: [usize; 3],
    /// Panels and phases of a task.
    panels: usize,
    phases: usize,
    patch: Patch,
}

impl Direct {
    /// The convolution with operands that are packed as `P`.
    pub fn new<T: Real, P: Packed<T>>(correlation: Correlation, set: InstructionSet) -> Direct {
        let [images, _, _, columns] = correlation.target;
        let shape = TileShape::of::<T, P>(set, columns);
        let width = shape.vectors() * T::LANES;
        let longest = correlation.longest_run().max(1);
        let channels = match (SEGMENT / longest).next_multiple_of(16) {
            most if most * longest > 2 * SEGMENT => SEGMENT / longest,
            most => most,
        };
        let grid = [0, 1].map(|axis| correlation.grid(axis, 0).max(1));
        let even = |size: usize, most: usize| size.div_ceil(size.div_ceil(most));
        let block = match PIXELS / (grid[0] * grid[1]) {
            0 | 1 => {
                let columns = even(grid[1], BLOCK_COLUMNS);
                [1, even(grid[0], (PIXELS / columns).max(1)), columns]
            }
            whole => [even(images.max(1), whole), grid[0], grid[1]],
        };
        let blocks = [images.div_ceil(block[0]), grid[0].div_ceil(block[1]), grid[1].div_ceil(block[2])];
        let all = columns.div_ceil(width);
        let (blocks_of_all, phases) = (blocks.iter().product::<usize>().max(1), correlation.phases());
        let phases_at_once = if blocks_of_all > 1 { phases } else { 1 };
        let cuts = TASKS.div_ceil(blocks_of_all * phases / phases_at_once).min(all).max(1);
        Direct {
            correlation,
            shape,
            width,
            steps: P::STEPS,
            channels: channels.clamp(1, correlation.source[3].div_ceil(P::STEPS).max(1)),
            block,
            blocks,
            panels: all.div_ceil(cuts),
            phases: phases_at_once,
            patch: Patch::new(&correlation, block),
        }
    }

    /// True if several blocks of pixels use the weights, which are then packed once for all of them.
    fn packs_once(&self) -> bool {
        self.blocks.iter().product::<usize>() > 1
    }

    /// Elements of all packed weights; 0 if each task packs its own.
    pub fn workspace(&self) -> usize {
        match self.packs_once() {
            true => self.packed_before(self.correlation.phases(), 0),
            false => 0,
        }
    }

    fn all_panels(&self) -> usize {
        self.correlation.target[3].div_ceil(self.width)
    }

    /// Elements of the packed weights in front of a panel of a phase.
    fn packed_before(&self, phase: usize, panel: usize) -> usize {
        let size = |phase: usize| self.packed(phase, self.all_channels());
        let behind = if panel > 0 { panel * size(phase) } else { 0 };
        (0..phase).map(size).sum::<usize>() * self.all_panels() + behind
    }

    /// Packed elements of a pixel of the source.
    fn all_channels(&self) -> usize {
        self.correlation.source[3].div_ceil(self.steps)
    }

    /// The channels of a range of packed elements.
    fn unpacked(&self, channels: &Range<usize>) -> Range<usize> {
        channels.start * self.steps..self.correlation.source[3].min(channels.end * self.steps)
    }

    /// Computes the target, with operands that are packed as `P`.
    pub fn run<T: Real, P: Packed<T>>(
        &self,
        set: InstructionSet,
        operands: Operands<'_, T>,
        workspace: &mut [T],
        epilogue: &PixelEpilogue<'_, T>,
    ) {
        let workspace = as_packed::<T, P>(workspace);
        if self.packs_once() {
            let packed = SharedMut::new(&mut *workspace);
            let panels = self.all_panels();
            (0..self.correlation.phases() * panels).into_par_iter().for_each(|index| {
                let (phase, panel) = (index / panels, index % panels);
                let (start, end) = (self.packed_before(phase, panel), self.packed_before(phase, panel + 1));
                // SAFETY: each panel is one task's.
                let packed = unsafe { packed.slice(start..end) };
                let mut rest = packed;
                for channels in self.chunks() {
                    let (made, behind) = std::mem::take(&mut rest).split_at_mut(self.packed(phase, channels.len()));
                    self.pack(phase, panel..panel + 1, channels, operands.weight, made);
                    rest = behind;
                }
            });
        }
        let workspace = &*workspace;
        let cuts = [self.all_panels().div_ceil(self.panels), self.correlation.phases() / self.phases];
        let tasks = self.blocks.iter().product::<usize>() * cuts[0] * cuts[1];
        (0..tasks).into_par_iter().with_max_len(1).for_each(|index| {
            let [panel, phase] = [index % cuts[0] * self.panels, index / cuts[0] % cuts[1] * self.phases];
            let panels = panel..self.all_panels().min(panel + self.panels);
            let (block, phases) = (index / cuts[0] / cuts[1], phase..phase + self.phases);
            with_scratch(self.scratch(), |scratch| {
                let task = Task { direct: self, block, phases, panels, operands, workspace, epilogue, scratch };
                self.shape.run::<T, P>(set, task);
            });
        });
    }

    /// Elements of a patch.
    fn patch_elements(&self) -> usize {
        self.patch.pixels() * self.channels
    }

    /// Elements of a packed panel of a phase for `channels` channels of the source.
    fn packed(&self, phase: usize, channels: usize) -> usize {
        let [rows, columns] = self.correlation.taps(phase);
        rows.as_slice().len() * columns.as_slice().len() * channels * self.width
    }

    /// Elements of the packed panels of a task that packs its own.
    fn own_panels(&self) -> usize {
        let panel = (0..self.correlation.phases()).map(|phase| self.packed(phase, self.channels)).max().unwrap_or(0);
        if self.packs_once() { 0 } else { self.panels * panel }
    }

    /// Pixels of a block in a phase.
    fn pixels(&self) -> usize {
        self.block.iter().product()
    }

    /// Elements of scratch memory of a task: a patch, the packed panels if each task packs its own, and the sums.
    pub fn scratch(&self) -> usize {
        self.patch_elements() + self.own_panels() + self.phases * self.pixels() * self.panels * self.width
    }

    /// The packed channels of the source, as many at a time as a patch has.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let (all, channels) = (self.all_channels(), self.channels);
        (0..all).step_by(channels).map(move |first| first..all.min(first + channels))
    }

    /// Packs the weights of some panels for some channels of the source, each in the order of [`Runs`]; columns behind
    /// the last one are zero.
    fn pack<T: Real, P: Packed<T>>(
        &self,
        phase: usize,
        panels: Range<usize>,
        channels: Range<usize>,
        weight: Operand<'_, T>,
        packed: &mut [P],
    ) {
        let Correlation { geometry, direction, target, .. } = self.correlation;
        let [rows, columns] = self.correlation.taps(phase);
        let (first, length) = (panels.start * self.width, self.packed(phase, channels.len()));
        if length == 0 {
            return;
        }
        let all = first..target[3].min(panels.end * self.width);
        let taps = rows.as_slice().iter().flat_map(|&(row, _)| columns.as_slice().iter().map(move |&(c, _)| (row, c)));
        for (index, (row, column)) in taps.enumerate() {
            let start = index * channels.len() * self.width;
            let tap_of = |k: usize| (k * geometry.kernel[0] + row) * geometry.kernel[1] + column;
            match direction {
                Direction::Fprop => {
                    for (nth, block) in packed.chunks_exact_mut(length).enumerate() {
                        let block = &mut block[start..start + channels.len() * self.width];
                        let filters = first + nth * self.width..all.end.min(first + (nth + 1) * self.width);
                        if filters.len() < self.width {
                            block.fill(P::ZERO);
                        }
                        for (j, filter) in filters.enumerate() {
                            let to = block[j..].iter_mut().step_by(self.width);
                            P::pack_channels(&weight, tap_of(filter), self.unpacked(&channels), to);
                        }
                    }
                }
                // A row of the weights is read once, from start to end, for all panels.
                Direction::Dgrad => {
                    for (i, k) in channels.clone().enumerate() {
                        let ks = [0, 1].map(|step| k * self.steps + step);
                        let rows = ks.map(|k| (k < self.correlation.source[3]).then(|| tap_of(k)));
                        let columns = all.clone().step_by(self.width).map(|c| c..all.end.min(c + self.width));
                        for (block, columns) in packed.chunks_exact_mut(length).zip(columns) {
                            let to = &mut block[start + i * self.width..][..self.width];
                            to[columns.len()..].fill(P::ZERO);
                            P::pack_pixels(&weight, &rows[..self.steps], columns, to);
                        }
                    }
                }
            }
        }
    }
}

/// A block of pixels in some phases, for a range of panels.
struct Task<'a, T: Real, P> {
    direct: &'a Direct,
    block: usize,
    phases: Range<usize>,
    panels: Range<usize>,
    operands: Operands<'a, T>,
    /// All packed weights; empty if the task packs its own.
    workspace: &'a [P],
    epilogue: &'a PixelEpilogue<'a, T>,
    scratch: &'a mut [T],
}

/// The pixels of the block in one phase: for each the start of its window in the patch, and its index in the target.
struct Pixels {
    windows: [usize; PIXELS],
    targets: [usize; PIXELS],
    count: usize,
}

/// The scratch memory of a task: the patch, packed weights, and the sums `[phase][pixel][panel][width]`.
struct Scratch<'a, T, P> {
    patch: &'a mut [P],
    packed: &'a mut [P],
    sums: &'a mut [T],
}

impl<T: Real, P: Packed<T>> TiledWork for Task<'_, T, P> {
    const IN_TILES: bool = P::IN_TILES;

    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(mut self, simd: S) {
        let scratch = std::mem::take(&mut self.scratch);
        let (patch, scratch) = scratch.split_at_mut(self.direct.patch_elements());
        let (packed, sums) = scratch.split_at_mut(self.direct.own_panels());
        let mut scratch = Scratch { patch: as_packed(patch), packed: as_packed(packed), sums };
        for channels in self.direct.chunks() {
            self.fill(scratch.patch, &channels);
            for phase in self.phases.clone() {
                self.phase::<S, M, N>(simd, phase, &channels, &mut scratch);
            }
        }
        for phase in self.phases.clone() {
            self.write(phase, &mut scratch);
        }
    }
}

impl<T: Real, P: Packed<T>> Task<'_, T, P> {
    /// Elements of the sums of a pixel.
    fn pitch(&self) -> usize {
        self.panels.len() * self.direct.width
    }

    /// The first element of the sums of a phase.
    fn sums_of(&self, phase: usize) -> usize {
        (phase - self.phases.start) * self.direct.pixels() * self.pitch()
    }

    /// Computes the sums over some channels of the source for the pixels of a phase, and adds them to those over the
    /// channels before.
    #[inline(always)]
    fn phase<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        phase: usize,
        channels: &Range<usize>,
        scratch: &mut Scratch<'_, T, P>,
    ) {
        let Direct { correlation, width, patch: shape, .. } = *self.direct;
        let pixels = self.pixels(phase, channels.len());
        let taps = correlation.taps(phase);
        let pitch = shape.columns * channels.len();
        let runs = Runs::new(&taps[0], &taps[1], shape.first, pitch, channels.len(), width);
        let steps = taps.iter().map(|taps| taps.as_slice().len()).product::<usize>();
        let length = steps * channels.len() * width;
        if self.workspace.is_empty() {
            let packed = &mut scratch.packed[..self.panels.len() * length];
            self.direct.pack(phase, self.panels.clone(), channels.clone(), self.operands.weight, packed);
        }
        let (patch, sums) = (&*scratch.patch, SharedMut::new(&mut *scratch.sums));
        for panel in self.panels.clone() {
            let nth = panel - self.panels.start;
            let b = match self.workspace.is_empty() {
                true => &scratch.packed[nth * length..][..length],
                false => {
                    let start = self.direct.packed_before(phase, panel) + steps * channels.start * width;
                    &self.workspace[start..][..length]
                }
            };
            let first_sum = self.sums_of(phase) + nth * width;
            let mut adds = channels.start > 0;
            let mut rest = runs.as_slice();
            loop {
                let segment;
                (segment, rest) = split_segment(rest, SEGMENT);
                for group in (0..pixels.count).step_by(M) {
                    let rows = M.min(pixels.count - group);
                    let row = |r: usize| group + r.min(rows - 1);
                    let mut a = [patch.as_ptr(); M];
                    let mut start = [std::ptr::null_mut(); M];
                    for r in 0..M {
                        a[r] = patch[pixels.windows[row(r)]..].as_ptr();
                        start[r] = sums.at(first_sum + row(r) * self.pitch());
                    }
                    let target = Target { start, rows, columns: width, adds };
                    // SAFETY: windows of pixels lie in the patch with all of their runs, and the panel has all steps.
                    // Each pixel has `width` sums for each of the task's panels.
                    unsafe { P::tile::<S, M, N>(simd, &a, b.as_ptr(), [1, width], segment, target) };
                }
                adds = true;
                // A phase that meets no tap is a sum of nothing: one empty segment.
                if rest.is_empty() {
                    break;
                }
            }
        }
    }

    /// Writes the pixels of a phase from their sums.
    #[inline(always)]
    fn write(&self, phase: usize, scratch: &mut Scratch<'_, T, P>) {
        let Direct { correlation, width, .. } = *self.direct;
        let channels = self.panels.start * width..correlation.target[3].min(self.panels.end * width);
        let pixels = self.pixels(phase, 0);
        let sums = scratch.sums[self.sums_of(phase)..].chunks_exact_mut(self.pitch());
        for (&p, sums) in pixels.targets[..pixels.count].iter().zip(sums) {
            // SAFETY: the pixels of the block and the channels of the panels are this task's.
            unsafe { self.epilogue.write(p, channels.clone(), &mut sums[..channels.len()]) };
        }
    }

    /// The ranges of the block along images, rows and columns, in pixels of a phase.
    fn ranges(&self) -> [Range<usize>; 3] {
        let Direct { block, blocks, .. } = *self.direct;
        let index = [self.block / (blocks[1] * blocks[2]), self.block / blocks[2] % blocks[1], self.block % blocks[2]];
        std::array::from_fn(|axis| index[axis] * block[axis]..(index[axis] + 1) * block[axis])
    }

    /// The pixels of the block in a phase, with windows of `channels` channels; those behind the ends of the target are
    /// left out.
    fn pixels(&self, phase: usize, channels: usize) -> Pixels {
        let Direct { correlation, patch: source, .. } = *self.direct;
        let (spacing, step, [images, height, width, _]) =
            (correlation.spacing(), correlation.step(), correlation.target);
        let first = correlation.first(phase);
        let [image_range, rows, columns] = self.ranges();
        let mut pixels = Pixels { windows: [0; PIXELS], targets: [0; PIXELS], count: 0 };
        for (i, n) in (image_range.start..image_range.end.min(images)).enumerate() {
            for (y, row) in (rows.start..rows.end.min(correlation.grid(0, first[0]))).enumerate() {
                for (x, column) in (columns.start..columns.end.min(correlation.grid(1, first[1]))).enumerate() {
                    let window = source.pixel(i, y * step, x * step);
                    let target = (n * height + row * spacing + first[0]) * width + column * spacing + first[1];
                    pixels.windows[pixels.count] = window * channels;
                    pixels.targets[pixels.count] = target;
                    pixels.count += 1;
                }
            }
        }
        pixels
    }

    /// Copies the source pixels that the block reads to the patch: some of their channels.
    #[inline(always)]
    fn fill(&self, patch: &mut [P], channels: &Range<usize>) {
        let Direct { patch: shape, correlation, .. } = *self.direct;
        let [images, rows, columns] = self.ranges().map(|range| range.start);
        let block = shape.at(&correlation, [images, rows, columns]);
        let row = shape.columns * channels.len();
        for (index, to) in patch[..shape.rows * shape.images * row].chunks_exact_mut(row).enumerate() {
            block.fill_row(&self.operands.source, index, &self.direct.unpacked(channels), to);
        }
    }
}
