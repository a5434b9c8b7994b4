//! Patches: the source pixels that a block of target pixels reads, with zeros for those outside of the source.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::phases::Correlation;
use crate::engine::kernel::cpu::{Operand, Packed, Real};

/// The size of a patch, and where it lies relative to its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch {
    pub images: usize,
    pub rows: usize,
    pub columns: usize,
    /// The offsets of its first pixel: the least ones of any tap.
    pub first: [isize; 2],
}

/// A patch of one block.
pub(super) struct PatchAt {
    patch: Patch,
    image: usize,
    /// Row and column of the first pixel in the source.
    top: isize,
    left: isize,
}

impl Patch {
    /// The patch of a block of images, rows and columns of pixels of a phase.
    pub fn new(correlation: &Correlation, block: [usize; 3]) -> Patch {
        let offsets = [0, 1].map(|axis| correlation.offsets(axis));
        let side = |axis: usize| (block[1 + axis].max(1) - 1) * correlation.step() + offsets[axis].len().max(1);
        let (rows, columns) = (side(0), side(1));
        Patch { images: block[0], rows, columns, first: offsets.map(|offsets| offsets.start) }
    }

    pub fn pixels(&self) -> usize {
        self.images * self.rows * self.columns
    }

    /// The index of a pixel.
    pub fn pixel(&self, image: usize, row: usize, column: usize) -> usize {
        (image * self.rows + row) * self.columns + column
    }

    /// The patch of the block whose first pixel of a phase is `block`: image, row and column.
    pub fn at(&self, correlation: &Correlation, block: [usize; 3]) -> PatchAt {
        let start = |axis: usize| (block[1 + axis] * correlation.step()) as isize + self.first[axis];
        PatchAt { patch: *self, image: block[0], top: start(0), left: start(1) }
    }
}

impl PatchAt {
    /// Sets `to` to some channels, packed, of row `index` of the patch, which counts through its images.
    #[inline(always)]
    pub fn fill_row<T: Real, P: Packed<T>>(
        &self,
        source: &Operand<'_, T>,
        index: usize,
        channels: &Range<usize>,
        to: &mut [P],
    ) {
        let [images, height, width, _] = source.shape();
        let columns = self.patch.columns as isize;
        let (n, y) = (self.image + index / self.patch.rows, self.top + (index % self.patch.rows) as isize);
        // The columns of the patch that lie inside of the source.
        let (start, end) = ((-self.left).clamp(0, columns), (width as isize - self.left).clamp(0, columns));
        if n >= images || y < 0 || y >= height as isize || start >= end {
            to.fill(P::ZERO);
            return;
        }
        let (start, end, count) = (start as usize, end as usize, channels.len().div_ceil(P::STEPS));
        to[..start * count].fill(P::ZERO);
        to[end * count..].fill(P::ZERO);
        let first = (n * height + y as usize) * width + (start as isize + self.left) as usize;
        for (i, pixel) in to[start * count..end * count].chunks_exact_mut(count).enumerate() {
            P::pack_row(source, first + i, channels.clone(), pixel);
        }
    }
}

/// A row of a patch to be filled, as [`PatchAt::fill_row`] does.
pub(super) struct FillRow<'a, T: Real, P> {
    pub patch: &'a PatchAt,
    pub source: &'a Operand<'a, T>,
    pub index: usize,
    pub channels: Range<usize>,
    pub to: &'a mut [P],
}

impl<T: Real, P: Packed<T>> WithSimd for FillRow<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let FillRow { patch, source, index, channels, to } = self;
        patch.fill_row(source, index, &channels, to);
    }
}
