//! The transformed source: its pixels, and their differences of neighbours.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::patch::{Patch, PatchAt};
use crate::engine::kernel::cpu::{Operand, Real, SharedMut};

/// The planes of a block of the source in memory: the pixels, then their differences to the next pixel below, to the
/// right, and the differences to the right of those below.
pub(super) struct Planes<'a, T: Real> {
    pub source: &'a Operand<'a, T>,
    pub shape: Patch,
    pub patch: PatchAt,
    pub planes: SharedMut<'a, T>,
    pub channels: Range<usize>,
    /// Source pixels between neighbours.
    pub step: usize,
}

impl<T: Real> Planes<'_, T> {
    pub fn rows(&self) -> usize {
        self.shape.images * self.shape.rows
    }

    fn row(&self, plane: usize, row: usize) -> Range<usize> {
        let length = self.shape.columns * self.channels.len();
        let start = (plane * self.rows() + row) * length;
        start..start + length
    }

    /// Writes a row of the plane of pixels.
    ///
    /// # Safety
    /// Nobody else accesses the row.
    #[inline(always)]
    pub unsafe fn copy_row(&self, row: usize) {
        // SAFETY: the caller's promise.
        let to = unsafe { self.planes.slice(self.row(0, row)) };
        self.patch.fill_row(self.source, row, &self.channels, to);
    }

    /// Writes a row of each plane of differences. Those to pixels behind the last row or column are arbitrary, and read
    /// by no tile.
    ///
    /// # Safety
    /// Nobody writes the plane of pixels, and nobody else accesses the row of the other planes.
    #[inline(always)]
    pub unsafe fn difference_row(&self, row: usize) {
        let below = if row + self.step < self.rows() { row + self.step } else { row };
        // SAFETY: the caller's promise.
        let [here, below] = [row, below].map(|row| unsafe { &*self.planes.slice(self.row(0, row)) });
        // SAFETY: as above.
        let [down, right, both] = [1, 2, 3].map(|plane| unsafe { self.planes.slice(self.row(plane, row)) });
        let beside = self.step * self.channels.len();
        for ((down, &below), &here) in down.iter_mut().zip(below).zip(here) {
            *down = below - here;
        }
        for ((right, &beside), &here) in right.iter_mut().zip(&here[beside.min(here.len())..]).zip(here) {
            *right = beside - here;
        }
        for ((both, &beside), &here) in both.iter_mut().zip(&down[beside.min(down.len())..]).zip(&*down) {
            *both = beside - here;
        }
    }
}

/// A row of the plane of pixels.
pub(super) struct PixelRow<'a, T: Real> {
    pub planes: &'a Planes<'a, T>,
    pub row: usize,
}

impl<T: Real> WithSimd for PixelRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // SAFETY: `Winograd::run` has each row written by one task.
        unsafe { self.planes.copy_row(self.row) }
    }
}

/// A row of the planes of differences.
pub(super) struct DifferenceRow<'a, T: Real> {
    pub planes: &'a Planes<'a, T>,
    pub row: usize,
}

impl<T: Real> WithSimd for DifferenceRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // SAFETY: `Winograd::run` has each row written by one task, when the plane of pixels is complete.
        unsafe { self.planes.difference_row(self.row) }
    }
}
