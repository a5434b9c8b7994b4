//! The transformed source: its pixels, and their differences of neighbours.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::patch::{Patch, PatchAt};
use crate::engine::kernel::cpu::{Operand, Packed, Real, SharedMut};

/// The planes of a block of the source in memory: the pixels, then their differences to the next pixel below, to the
/// right, and the differences to the right of those below.
pub(super) struct Planes<'a, T: Real, P> {
    pub source: &'a Operand<'a, T>,
    pub shape: Patch,
    pub patch: PatchAt,
    pub planes: SharedMut<'a, P>,
    /// Channels of the source, and packed elements of a pixel.
    pub channels: Range<usize>,
    pub elements: usize,
    /// Source pixels between neighbours.
    pub step: usize,
}

impl<T: Real, P: Packed<T>> Planes<'_, T, P> {
    pub fn rows(&self) -> usize {
        self.shape.images * self.shape.rows
    }

    fn row(&self, plane: usize, row: usize) -> Range<usize> {
        let length = self.shape.columns * self.elements;
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
        for ((to, &below), &here) in down.iter_mut().zip(below).zip(here) {
            *to = P::pack(minus(below.unpack(), here.unpack()));
        }
        let beside = (self.step * self.elements).min(here.len());
        for ((to, &beside), &here) in right.iter_mut().zip(&here[beside..]).zip(here) {
            *to = P::pack(minus(beside.unpack(), here.unpack()));
        }
        let pixels = here.iter().zip(below).zip(here[beside..].iter().zip(&below[beside..]));
        for (to, ((&here, &below), (&beside, &diagonal))) in both.iter_mut().zip(pixels) {
            let (left, right) = (minus(below.unpack(), here.unpack()), minus(diagonal.unpack(), beside.unpack()));
            *to = P::pack(minus(right, left));
        }
    }
}

#[inline(always)]
fn minus<T: Real>(a: [T; 2], b: [T; 2]) -> [T; 2] {
    [a[0] - b[0], a[1] - b[1]]
}

/// A row of the plane of pixels, or of the planes of their differences.
pub(super) struct PlaneRow<'a, T: Real, P> {
    pub planes: &'a Planes<'a, T, P>,
    pub row: usize,
    pub differences: bool,
}

impl<T: Real, P: Packed<T>> WithSimd for PlaneRow<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // SAFETY: `Winograd::run` has each row written by one task, those of differences when the plane of pixels is
        // complete.
        unsafe {
            match self.differences {
                false => self.planes.copy_row(self.row),
                true => self.planes.difference_row(self.row),
            }
        }
    }
}
