//! The transformed weights: sums of 2x2 taps.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::phases::{Correlation, Direction};
use super::Winograd;
use crate::engine::kernel::cpu::{Operand, Real};

impl Winograd {
    /// Elements of the weights of 2x2 taps for a panel.
    pub(super) fn quads(&self) -> usize {
        4 * self.channels * self.width
    }

    /// Transforms the weights of a panel for some channels of the source: `[kind][pair][channel][width]`, columns
    /// behind the last one zero. `quads` is scratch memory.
    #[inline(always)]
    pub(super) fn transform_weights<T: Real>(
        &self,
        weight: Operand<'_, T>,
        phase: usize,
        panel: usize,
        channels: Range<usize>,
        quads: &mut [T],
        made: &mut [T],
    ) {
        let Correlation { geometry, direction, target, .. } = self.correlation;
        let first = panel * self.width;
        let valid = self.width.min(target[3] - first);
        let length = channels.len() * self.width;
        let kind = self.pairs * length;
        let [rows, columns] = self.axes(phase);
        let mut nth = 0;
        for (rows, _) in rows.as_slice() {
            for (columns, _) in columns.as_slice() {
                for tap in 0..4 {
                    let (row, column) = (rows[tap / 2], columns[tap % 2]);
                    let taps = &mut quads[tap * length..(tap + 1) * length];
                    let tap_of = |k: usize| (k * geometry.kernel[0] + row) * geometry.kernel[1] + column;
                    if valid < self.width {
                        taps.fill(T::zero());
                    }
                    match direction {
                        Direction::Fprop => {
                            for j in 0..valid {
                                let to = taps[j..].iter_mut().step_by(self.width);
                                weight.scatter(tap_of(first + j), channels.clone(), to);
                            }
                        }
                        Direction::Dgrad => {
                            for (i, k) in channels.clone().enumerate() {
                                weight.copy(tap_of(k), first..first + valid, &mut taps[i * self.width..]);
                            }
                        }
                    }
                }
                let (upper, lower) = quads[..4 * length].split_at(2 * length);
                let ((g00, g01), (g10, g11)) = (upper.split_at(length), lower.split_at(length));
                let start = nth * length;
                for row in 0..3 {
                    let (left, rest) = made[row * 3 * kind + start..].split_at_mut(kind);
                    let (middle, right) = rest.split_at_mut(kind);
                    let (left, middle, right) = (&mut left[..length], &mut middle[..length], &mut right[..length]);
                    for i in 0..length {
                        let [g0, g1] = match row {
                            0 => [-g00[i], -g01[i]],
                            1 => [g00[i] + g10[i], g01[i] + g11[i]],
                            _ => [g10[i], g11[i]],
                        };
                        left[i] = -g0;
                        middle[i] = g0 + g1;
                        right[i] = g1;
                    }
                }
                nth += 1;
            }
        }
    }
}

/// The transformed weights of a panel.
pub(super) struct Weights<'a, T: Real> {
    pub winograd: &'a Winograd,
    pub weight: Operand<'a, T>,
    pub phase: usize,
    pub panel: usize,
    pub channels: Range<usize>,
    pub quads: &'a mut [T],
    pub made: &'a mut [T],
}

impl<T: Real> WithSimd for Weights<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Weights { winograd, weight, phase, panel, channels, quads, made } = self;
        winograd.transform_weights(weight, phase, panel, channels, quads, made);
    }
}
