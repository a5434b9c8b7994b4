//! Forward pass and input gradient of a convolution as one thing: each target pixel is a sum of source pixels at fixed
//! offsets, times the weights of the taps that they meet.
//!
//! In the forward pass the target is the output, and all of its pixels meet the same taps. In the input gradient, which
//! is the forward pass of the transposed convolution as well, the target is the input. A convolution of stride s then
//! falls apart into s x s phases, the input pixels of one remainder of row and column by s: each is a convolution of
//! stride 1 with the taps that this remainder meets (the sub-pixel form of Shi et al., 2016).

use std::ops::Range;

use super::super::Geometry;
use crate::engine::kernel::cpu::Run;
use crate::engine::tensor::Shape;

/// The most rows or columns of a kernel.
pub(in crate::engine::ops::conv) const MAX_KERNEL: usize = 16;

/// The pass that a [`Correlation`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Fprop,
    Dgrad,
}

/// The shapes of a forward pass or an input gradient. The source is the tensor that it reads, the target the one that
/// it writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlation {
    pub source: Shape,
    pub target: Shape,
    pub geometry: Geometry,
    pub direction: Direction,
}

/// The taps that the target pixels of one phase meet along an axis, by rising offset.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taps {
    /// Kernel row or column, and the offset of the source pixel that it reads.
    list: [(usize, isize); MAX_KERNEL],
    count: usize,
}

impl Taps {
    pub fn as_slice(&self) -> &[(usize, isize)] {
        &self.list[..self.count]
    }

    /// Positions in the list where a gap of offsets begins, as ranges without gaps.
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut first = 0;
        std::iter::from_fn(move || {
            let taps = self.as_slice();
            let start = first;
            if start == taps.len() {
                return None;
            }
            first += 1;
            while first < taps.len() && taps[first].1 == taps[first - 1].1 + 1 {
                first += 1;
            }
            Some(start..first)
        })
    }
}

impl Correlation {
    /// Source pixels from one pixel of a phase to the next.
    pub fn step(&self) -> usize {
        match self.direction {
            Direction::Fprop => self.geometry.stride,
            Direction::Dgrad => 1,
        }
    }

    /// Number of phases.
    pub fn phases(&self) -> usize {
        self.spacing().pow(2)
    }

    /// The first row and column of a phase in the target.
    pub fn first(&self, phase: usize) -> [usize; 2] {
        [phase / self.spacing(), phase % self.spacing()]
    }

    /// The taps that the pixels of a phase meet along rows and columns, but for those that meet padding alone.
    pub fn taps(&self, phase: usize) -> [Taps; 2] {
        let [row, column] = self.first(phase);
        [self.taps_along(0, row), self.taps_along(1, column)]
    }

    /// Target pixels from one pixel of a phase to the next.
    pub fn spacing(&self) -> usize {
        match self.direction {
            Direction::Fprop => 1,
            Direction::Dgrad => self.geometry.stride,
        }
    }

    /// Rows (`axis` 0) or columns (`axis` 1) of a phase whose first one is `first`.
    pub fn grid(&self, axis: usize, first: usize) -> usize {
        self.target[1 + axis].saturating_sub(first).div_ceil(self.spacing())
    }

    /// The taps of the phase whose first row or column is `first`.
    fn taps_along(&self, axis: usize, first: usize) -> Taps {
        let Geometry { kernel, stride, dilation, pad } = self.geometry;
        let (kernel, pad) = (kernel[axis], pad[axis] as isize);
        let mut taps = Taps::default();
        for index in 0..kernel {
            let (tap, offset) = match self.direction {
                Direction::Fprop => (index, (index * dilation) as isize - pad),
                Direction::Dgrad => {
                    // Falling taps are rising offsets.
                    let tap = kernel - 1 - index;
                    let distance = first as isize + pad - (tap * dilation) as isize;
                    if distance.rem_euclid(stride as isize) != 0 {
                        continue;
                    }
                    (tap, distance.div_euclid(stride as isize))
                }
            };
            // On a map of one or two pixels, some taps meet padding alone.
            let last = (self.grid(axis, first).max(1) - 1) * self.step();
            if offset >= self.source[1 + axis] as isize || offset + (last as isize) < 0 {
                continue;
            }
            taps.list[taps.count] = (tap, offset);
            taps.count += 1;
        }
        taps
    }

    /// The offsets that any phase meets along an axis; empty if there are none.
    pub fn offsets(&self, axis: usize) -> Range<isize> {
        let taps = (0..self.spacing()).map(|first| self.taps_along(axis, first));
        taps.fold(0..0, |all: Range<isize>, taps| match taps.as_slice() {
            [] => all,
            [(_, low), .., (_, high)] | [(_, low @ high)] if all.is_empty() => *low..*high + 1,
            [(_, low), .., (_, high)] | [(_, low @ high)] => all.start.min(*low)..all.end.max(*high + 1),
        })
    }

    /// The most neighbouring columns of the source that one kernel row meets.
    pub fn longest_run(&self) -> usize {
        let taps = (0..self.spacing()).map(|first| self.taps_along(1, first));
        taps.flat_map(|taps| taps.runs().map(|run| run.len()).max()).max().unwrap_or(1)
    }
}

/// The runs of a phase over a patch of the source: one for each kernel row and each of its ranges of neighbouring
/// columns.
pub(super) struct Runs {
    list: [Run; MAX_KERNEL * MAX_KERNEL],
    count: usize,
}

impl Runs {
    /// The runs over a patch whose rows begin `pitch` elements apart and whose pixels have `channels` elements. Its
    /// first pixel has the offsets `first`. The right operand is packed in the order of the runs, `width` elements for
    /// each step.
    pub fn new(rows: &Taps, columns: &Taps, first: [isize; 2], pitch: usize, channels: usize, width: usize) -> Runs {
        let mut runs = Runs { list: [Run::default(); MAX_KERNEL * MAX_KERNEL], count: 0 };
        let mut b = 0;
        for (_, row) in rows.as_slice() {
            for range in columns.runs() {
                let column = columns.as_slice()[range.start].1;
                let a = (row - first[0]) as usize * pitch + (column - first[1]) as usize * channels;
                let count = range.len() * channels;
                runs.list[runs.count] = Run { a, b, count };
                runs.count += 1;
                b += count * width;
            }
        }
        runs
    }

    pub fn as_slice(&self) -> &[Run] {
        &self.list[..self.count]
    }
}

/// The first of `runs`, and as many of the next ones as have up to `longest` steps with it; then the rest.
#[inline(always)]
pub(super) fn split_segment(runs: &[Run], longest: usize) -> (&[Run], &[Run]) {
    let (mut taken, mut steps) = (0, 0);
    while taken < runs.len() && (taken == 0 || steps + runs[taken].count <= longest) {
        steps += runs[taken].count;
        taken += 1;
    }
    runs.split_at(taken)
}
