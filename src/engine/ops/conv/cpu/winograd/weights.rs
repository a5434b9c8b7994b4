//! The transformed weights: sums of 2x2 taps.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::phases::{Correlation, Direction};
use super::Winograd;
use crate::engine::kernel::cpu::{BLOCK, Operand, Packed, Real, transpose};

/// Rows of the weights that are asked for before they are copied.
const ROWS_AHEAD: usize = 8;

impl Winograd {
    /// Elements of the weights of 2x2 taps for a panel.
    pub(super) fn quads(&self) -> usize {
        4 * self.channels * self.steps * self.width
    }

    /// Sets columns of `to`, a row of [`Winograd::width`] for each channel, to the channels `channels` of the pixels
    /// `pixel_of` of the weights.
    #[inline(always)]
    fn transpose<S: Simd, T: Real>(
        &self,
        simd: S,
        weight: &Operand<'_, T>,
        pixel_of: impl Fn(usize) -> usize,
        columns: usize,
        channels: Range<usize>,
        to: &mut [T],
    ) {
        let (mut whole_columns, mut whole_channels) = (0, 0);
        if let Operand::F32(weights) = weight {
            (whole_columns, whole_channels) = (columns / BLOCK * BLOCK, channels.len() / BLOCK * BLOCK);
            for j in (0..whole_columns).step_by(BLOCK) {
                for c in (0..whole_channels).step_by(BLOCK) {
                    let mut rows = [to.as_ptr(); BLOCK];
                    for (r, row) in rows.iter_mut().enumerate() {
                        let start = channels.start + c;
                        *row = weights.pixel(pixel_of(j + r))[start..start + BLOCK].as_ptr();
                    }
                    let to = &mut to[c * self.width + j..][..(BLOCK - 1) * self.width + BLOCK];
                    // SAFETY: the rows and `to` have the elements by the lines above.
                    unsafe { transpose(simd, &rows, to.as_mut_ptr(), self.width) };
                }
            }
        }
        for j in 0..columns {
            let done = if j < whole_columns { whole_channels } else { 0 };
            let rest = &mut to[done * self.width..];
            let to = rest.iter_mut().skip(j).step_by(self.width);
            weight.scatter(pixel_of(j), channels.start + done..channels.end, to);
        }
    }

    /// Writes three of the nine sums of 2x2 taps: along a column those that `along` makes of upper and lower tap, along
    /// a row -g0, g0 + g1 and g1 of these.
    #[inline(always)]
    fn combine<T: Real, P: Packed<T>>(
        &self,
        quads: &[T],
        [left, middle, right]: [&mut [P]; 3],
        along: impl Fn(T, T) -> T,
    ) {
        let (upper, lower) = quads.split_at(quads.len() / 2);
        let ((g00, g01), (g10, g11)) = (upper.split_at(upper.len() / 2), lower.split_at(lower.len() / 2));
        let width = self.width;
        let to = left.chunks_exact_mut(width).zip(middle.chunks_exact_mut(width)).zip(right.chunks_exact_mut(width));
        for (i, ((left, middle), right)) in to.enumerate() {
            // The numbers of an element are rows of the quads; a single one is given twice.
            let (a, b) = (i * P::STEPS * width, (i * P::STEPS + P::STEPS - 1) * width);
            let (a00, a01, a10, a11) = (&g00[a..][..width], &g01[a..][..width], &g10[a..][..width], &g11[a..][..width]);
            let (b00, b01, b10, b11) = (&g00[b..][..width], &g01[b..][..width], &g10[b..][..width], &g11[b..][..width]);
            for j in 0..width {
                let (a0, a1) = (along(a00[j], a10[j]), along(a01[j], a11[j]));
                let (b0, b1) = (along(b00[j], b10[j]), along(b01[j], b11[j]));
                left[j] = P::pack([-a0, -b0]);
                middle[j] = P::pack([a0 + a1, b0 + b1]);
                right[j] = P::pack([a1, b1]);
            }
        }
    }
}

/// The transformed weights of a panel for some channels of the source, which are packed elements. They are written to
/// `made` as `[kind][pair][channel][width]`, columns behind the last one zero; `quads` is scratch memory.
pub(super) struct Weights<'a, T: Real, P> {
    pub winograd: &'a Winograd,
    pub weight: Operand<'a, T>,
    pub phase: usize,
    pub panel: usize,
    pub channels: Range<usize>,
    pub quads: &'a mut [T],
    pub made: &'a mut [P],
}

impl<T: Real, P: Packed<T>> WithSimd for Weights<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Weights { winograd, weight, phase, panel, channels, quads, made } = self;
        let Correlation { geometry, direction, target, .. } = winograd.correlation;
        let first = panel * winograd.width;
        let valid = winograd.width.min(target[3] - first);
        let numbers = winograd.numbers(&channels);
        let (length, of_quad) = (channels.len() * winograd.width, channels.len() * P::STEPS * winograd.width);
        let kind = winograd.pairs * length;
        let [rows, columns] = winograd.axes(phase);
        let mut nth = 0;
        for (rows, _) in rows.as_slice() {
            for (columns, _) in columns.as_slice() {
                for tap in 0..4 {
                    let (row, column) = (rows[tap / 2], columns[tap % 2]);
                    let taps = &mut quads[tap * of_quad..(tap + 1) * of_quad];
                    let tap_of = |k: usize| (k * geometry.kernel[0] + row) * geometry.kernel[1] + column;
                    if valid < winograd.width || numbers.len() * winograd.width < of_quad {
                        taps.fill(T::zero());
                    }
                    match direction {
                        Direction::Fprop => {
                            winograd.transpose(simd, &weight, |j| tap_of(first + j), valid, numbers.clone(), taps);
                        }
                        Direction::Dgrad => {
                            for (i, k) in numbers.clone().enumerate() {
                                // Rows of one tap lie far apart.
                                if k + ROWS_AHEAD < numbers.end {
                                    weight.prefetch(tap_of(k + ROWS_AHEAD), first..first + valid);
                                }
                                weight.copy(tap_of(k), first..first + valid, &mut taps[i * winograd.width..]);
                            }
                        }
                    }
                }
                let quads = &quads[..4 * of_quad];
                for row in 0..3 {
                    let (left, rest) = made[row * 3 * kind + nth * length..].split_at_mut(kind);
                    let (middle, right) = rest.split_at_mut(kind);
                    let to = [&mut left[..length], &mut middle[..length], &mut right[..length]];
                    match row {
                        0 => winograd.combine(quads, to, |upper, _| -upper),
                        1 => winograd.combine(quads, to, |upper, lower| upper + lower),
                        _ => winograd.combine(quads, to, |_, lower| lower),
                    }
                }
                nth += 1;
            }
        }
    }
}
