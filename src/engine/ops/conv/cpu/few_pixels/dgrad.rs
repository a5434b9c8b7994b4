//! Input gradient: products of pixels of the patch and the weights of one tap, in which a filter is a row.

use std::ops::Range;

use pulp::Simd;

use super::super::super::epilogue::PixelEpilogue;
use super::super::phases::Correlation;
use super::super::shape::TiledWork;
use super::{COLUMNS, FewPixels, PIXELS_AT_ONCE};
use crate::engine::kernel::cpu::{Operand, Packed, Real, Run, SharedMut, Target, as_packed};

/// Packed elements of a sum in registers, where the weights are taken as they lie: rows that are read side by side.
const ROWS: usize = 16;

/// The same where they are packed.
const PACKED_ROWS: usize = 128;

/// Some channels of the target, for all pixels of a phase.
pub(super) struct Task<'a, T: Real, P> {
    pub few: &'a FewPixels,
    pub weight: Operand<'a, T>,
    pub patch: &'a [P],
    pub phase: usize,
    pub columns: Range<usize>,
    pub epilogue: &'a PixelEpilogue<'a, T>,
    pub scratch: &'a mut [T],
}

/// Some columns of one tap, of some filters.
#[derive(Clone, Copy)]
struct Block {
    tap: usize,
    /// Packed elements of filters, and the first of them.
    rows: usize,
    first: usize,
    /// The first column, of those of the task.
    column: usize,
    /// The element of a window of the patch that meets the first filter.
    source: usize,
    adds: bool,
}

/// Elements of scratch memory: the sums, `[pixel][column]`, and a packed block.
pub(super) fn scratch(few: &FewPixels) -> usize {
    few.pixels_of_phase(0) * COLUMNS.max(few.width) + PACKED_ROWS * few.width
}

impl<T: Real, P: Packed<T>> TiledWork for Task<'_, T, P> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Task { few, weight, patch, phase, columns, epilogue, scratch } = self;
        let Correlation { source: [.., filters], target: [.., channels], geometry, .. } = few.correlation;
        let (pixels, pitch, width) = (few.pixels_of_phase(phase), columns.len(), few.width);
        let (sums, packed) = scratch.split_at_mut(pixels * pitch);
        let packed = as_packed::<T, P>(packed);
        let to = SharedMut::new(&mut *sums);
        let as_they_lie = P::as_they_lie(&weight);
        let rows = if as_they_lie.is_some() { ROWS } else { PACKED_ROWS };
        // Each group of pixels asks for some rows of the next block.
        let groups = pixels.min(PIXELS_AT_ONCE).div_ceil(M);
        let ahead = (rows * P::STEPS).div_ceil(groups.max(1));
        for (first, windows, count) in few.windows(phase) {
            let mut blocks = blocks(few, phase, rows, &columns).peekable();
            if blocks.peek().is_none() {
                // SAFETY: nobody else accesses the sums.
                unsafe { to.slice(0..pixels * pitch) }.fill(T::ZERO);
            }
            while let Some(block) = blocks.next() {
                let columns_of_block = columns.start + block.column..columns.start + block.column + width;
                let (b, step) = match as_they_lie {
                    Some(weights) => {
                        let start = (block.first * geometry.taps() + block.tap) * channels + columns_of_block.start;
                        let step = geometry.taps() * channels;
                        (weights[start..][..(block.rows - 1) * step + width].as_ptr(), step)
                    }
                    None => {
                        for (row, to) in packed.chunks_exact_mut(width).take(block.rows).enumerate() {
                            let numbers = [0, 1].map(|step| (block.first + row) * P::STEPS + step);
                            let rows = numbers.map(|k| (k < filters).then_some(k * geometry.taps() + block.tap));
                            P::pack_pixels(&weight, &rows[..P::STEPS], columns_of_block.clone(), to);
                        }
                        (packed.as_ptr(), width)
                    }
                };
                let runs = [Run { a: block.source, b: 0, count: block.rows }];
                let next = blocks.peek();
                for group in (0..count).step_by(M) {
                    if let Some(next) = next {
                        let first = next.first * P::STEPS + group / M * ahead;
                        let columns = columns.start + next.column..columns.start + next.column + width;
                        for filter in first..filters.min(first + ahead) {
                            weight.prefetch(filter * geometry.taps() + next.tap, columns.clone());
                        }
                    }
                    let rows = M.min(count - group);
                    let (mut a, mut start) = ([patch.as_ptr(); M], [std::ptr::null_mut(); M]);
                    for r in 0..M {
                        let p = group + r.min(rows - 1);
                        a[r] = patch[windows[p]..].as_ptr();
                        start[r] = to.at((first + p) * pitch + block.column);
                    }
                    let target = Target { start, rows, columns: width, adds: block.adds };
                    // SAFETY: a window lies in the patch with all of its taps, the block has a row of `width` columns
                    // for each filter, and the sums are this task's.
                    unsafe { P::tile::<S, M, N>(simd, &a, b, [1, step], &runs, target) };
                }
            }
        }
        for (p, sums) in sums.chunks_exact_mut(pitch).enumerate() {
            // SAFETY: each range of channels of a phase is one task's.
            unsafe { epilogue.write(few.pixel(phase, p).1, columns.clone(), sums) };
        }
    }
}

/// The blocks of a phase, in the order of memory within some filters.
fn blocks(few: &FewPixels, phase: usize, rows: usize, columns: &Range<usize>) -> impl Iterator<Item = Block> {
    let (few, width, panels) = (*few, few.width, columns.len() / few.width);
    let [taps_down, taps_right] = few.correlation.taps(phase);
    let (down, right) = (taps_down.as_slice().len(), taps_right.as_slice().len());
    (0..few.channels.div_ceil(rows) * down * right * panels).map(move |index| {
        let (panel, index) = (index % panels, index / panels);
        let (tap, first) = (index % (down * right), index / (down * right) * rows);
        // Taps fall where offsets rise.
        let (row, down) = taps_down.as_slice()[down - 1 - tap / right];
        let (column, right) = taps_right.as_slice()[right - 1 - tap % right];
        Block {
            tap: row * few.correlation.geometry.kernel[1] + column,
            rows: rows.min(few.channels - first),
            first,
            column: panel * width,
            source: few.offset([down, right]) + first,
            adds: first > 0 || tap > 0,
        }
    })
}
