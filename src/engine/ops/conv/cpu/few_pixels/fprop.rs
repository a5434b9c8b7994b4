//! Forward pass: inner products of filters and windows of the patch.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::super::epilogue::PixelEpilogue;
use super::super::shape::HasManyRegisters;
use super::{FILTERS, FewPixels, PIXELS_AT_ONCE};
use crate::engine::kernel::cpu::{Operand, Packed, Real, SharedMut, as_packed, inner_products};

/// The most filters and pixels of a product in registers.
const MOST: [usize; 2] = [6, 4];

/// Steps of a sum in registers: as many elements of all filters of a product stay in the L1 cache while all pixels meet
/// them, and short sums keep the rounding error small.
const SEGMENT: usize = 512;

/// Some filters, for all pixels.
pub(super) struct Task<'a, T: Real, P> {
    pub few: &'a FewPixels,
    pub weight: Operand<'a, T>,
    pub patch: &'a [P],
    pub filters: Range<usize>,
    pub epilogue: &'a PixelEpilogue<'a, T>,
    pub scratch: &'a mut [T],
}

/// Elements of the sums of a task, `[pixel][filter]`.
fn sums(few: &FewPixels) -> usize {
    few.pixels_of_phase(0) * FILTERS
}

/// Elements of the totals of some filters and all pixels, each a vector whose lanes are not added up yet.
fn totals(few: &FewPixels) -> usize {
    few.pixels_of_phase(0).min(PIXELS_AT_ONCE).next_multiple_of(MOST[1]) * MOST[0] * LANES
}

/// The most elements of a vector.
const LANES: usize = 16;

/// Elements of scratch memory: the sums, the totals, and a segment of some filters.
pub(super) fn scratch(few: &FewPixels) -> usize {
    sums(few) + totals(few) + MOST[0] * SEGMENT
}

impl<T: Real, P: Packed<T>> WithSimd for Task<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if HasManyRegisters::<S>::VALUE {
            self.run::<S, 6, 4>(simd);
        } else {
            self.run::<S, 2, 2>(simd);
        }
    }
}

impl<T: Real, P: Packed<T>> Task<'_, T, P> {
    /// Computes the pixels, `M` filters and `N` pixels at a time.
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Task { few, weight, patch, filters, epilogue, scratch } = self;
        let correlation = few.correlation;
        let (taps, kernel) = (correlation.geometry.taps(), correlation.geometry.kernel[1]);
        let (sums, rest) = scratch.split_at_mut(sums(few));
        let (totals, packed) = rest.split_at_mut(totals(few));
        let packed = as_packed::<T, P>(packed);
        let totals = SharedMut::new(totals);
        let [rows, columns] = correlation.taps(0);
        for (first_pixel, windows, count) in few.windows(0) {
            let pixels = count;
            for k in (0..filters.len()).step_by(M) {
                let filter = |r: usize| (filters.start + k + r).min(filters.end - 1);
                let mut adds = false;
                for &(row, down) in rows.as_slice() {
                    for run in columns.runs() {
                        let (column, right) = columns.as_slice()[run.start];
                        let (all, offset) = (run.len() * few.channels, few.offset([down, right]));
                        for first in (0..all).step_by(SEGMENT) {
                            let count = SEGMENT.min(all - first);
                            let mut a = [patch.as_ptr(); M];
                            for (r, a) in a.iter_mut().enumerate() {
                                let start = (filter(r) * taps + row * kernel + column) * few.channels + first;
                                *a = match P::as_they_lie(&weight) {
                                    Some(weight) => weight[start..][..count].as_ptr(),
                                    None => {
                                        let packed = &mut packed[r * SEGMENT..][..count];
                                        self::pack(&weight, few.channels, start, packed);
                                        packed.as_ptr()
                                    }
                                };
                            }
                            for p in (0..pixels).step_by(N) {
                                let mut b = [patch.as_ptr(); N];
                                for (q, b) in b.iter_mut().enumerate() {
                                    let window = windows[(p + q).min(pixels - 1)] + offset + first;
                                    *b = patch[window..][..count].as_ptr();
                                }
                                // SAFETY: a filter has all of its taps, whole vectors, and a window lies in the patch
                                // with all of its runs. The totals are this task's, a vector for each product.
                                unsafe {
                                    let totals = totals.slice(p * M * T::LANES..(p + N) * M * T::LANES);
                                    inner_products::<T, P, S, M, N>(simd, &a, &b, count, totals, adds);
                                }
                            }
                            adds = true;
                        }
                    }
                }
                for p in 0..pixels {
                    for r in 0..M.min(filters.len() - k) {
                        let product = p / N * N * M + r * N + p % N;
                        // SAFETY: the products have been written.
                        let lanes = unsafe { totals.slice(product * T::LANES..(product + 1) * T::LANES) };
                        sums[(first_pixel + p) * FILTERS + k + r] = if adds { sum_of_lanes(lanes) } else { T::ZERO };
                    }
                }
            }
        }
        for (p, sums) in sums.chunks_exact_mut(FILTERS).enumerate() {
            // SAFETY: each range of filters is one task's.
            unsafe { epilogue.write(few.pixel(0, p).1, filters.clone(), &mut sums[..filters.len()]) };
        }
    }
}

/// Packs the elements of a filter from `start` on, which are counted through all weights.
#[inline(always)]
fn pack<T: Real, P: Packed<T>>(weight: &Operand<'_, T>, channels: usize, start: usize, mut to: &mut [P]) {
    let (mut tap, mut first) = (start / channels, start % channels);
    while !to.is_empty() {
        let count = to.len().min(channels - first);
        let (packed, rest) = to.split_at_mut(count);
        P::pack_row(weight, tap, first * P::STEPS..(first + count) * P::STEPS, packed);
        (tap, first, to) = (tap + 1, 0, rest);
    }
}

/// The sum of the lanes of a vector: halves are added until one is left.
#[inline(always)]
fn sum_of_lanes<T: Real>(lanes: &mut [T]) -> T {
    let mut half = lanes.len() / 2;
    while half > 0 {
        let (lower, upper) = lanes.split_at_mut(half);
        lower.iter_mut().zip(upper).for_each(|(a, b)| *a += *b);
        half /= 2;
    }
    lanes[0]
}
