//! The micro-kernel of all matrix products: a tile of a few rows by a few vectors of columns, summed up in registers.

use pulp::Simd;

use super::{Packed, Real};

/// A range of the inner dimension of a product, in which neighbours lie one step apart: it begins `a` elements behind
/// the start of each row of the left operand, and `b` elements behind the start of the right one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    pub a: usize,
    pub b: usize,
    pub count: usize,
}

/// The destination of a tile's sums: the first `rows` rows of `start`, the first `columns` columns of each.
#[derive(Clone, Copy)]
pub struct Target<T, const M: usize> {
    pub start: [*mut T; M],
    pub rows: usize,
    pub columns: usize,
    /// True to add the sums to what is there, false to overwrite it.
    pub adds: bool,
}

/// Computes `target[r][j] = sum over i of a[r][i] * b[i][j]`, or adds that to `target`, for `M` rows and `N` vectors of
/// columns. The sum is over `runs`, one after the other. Neighbours i lie `steps[0]` elements apart in a row of `a`,
/// and `steps[1]` in `b`, whose columns are contiguous.
///
/// Each sum is a chain of fused multiply-adds in the order of i, so its bits depend on nothing else. (Elements that are
/// pairs of numbers have two of them each, in the order of [`Packed::multiply_add`].)
///
/// # Safety
/// All elements that the runs reach are readable: one in each of the `M` rows of `a`, also of those behind
/// `target.rows`, and `N` vectors of `b`. The rows and columns of `target` are writable, and nobody else accesses them.
#[expect(clippy::needless_range_loop, reason = "loops over constants are unrolled, which keeps the sums in registers")]
#[inline(always)]
pub(crate) unsafe fn tile<T: Real, P: Packed<T>, S: Simd, const M: usize, const N: usize>(
    simd: S,
    a: &[*const P; M],
    b: *const P,
    steps: [usize; 2],
    runs: &[Run],
    target: Target<T, M>,
) {
    let zero = T::splat(simd, T::zero());
    let mut sums = [[zero; N]; M];
    // SAFETY: the caller's promise.
    unsafe {
        for run in runs {
            let (mut at, mut b) = (run.a, b.add(run.b));
            for _ in 0..run.count {
                let mut columns = [P::splat(simd, *b); N];
                for j in 0..N {
                    columns[j] = b.add(j * T::LANES).cast::<P::Vector<S>>().read_unaligned();
                }
                for r in 0..M {
                    let value = P::splat(simd, *a[r].add(at));
                    for j in 0..N {
                        sums[r][j] = P::multiply_add(simd, value, columns[j], sums[r][j]);
                    }
                }
                at += steps[0];
                b = b.add(steps[1]);
            }
        }
        if target.columns == N * T::LANES {
            for r in 0..M {
                if r < target.rows {
                    for j in 0..N {
                        let to = target.start[r].add(j * T::LANES).cast::<T::Vector<S>>();
                        let sum = sums[r][j];
                        let sum = if target.adds { T::add_vectors(simd, to.read_unaligned(), sum) } else { sum };
                        to.write_unaligned(sum);
                    }
                }
            }
        } else {
            for r in 0..M {
                if r < target.rows {
                    // A copy: sums that are addressed one by one would not stay in registers.
                    let row = sums[r];
                    let row: *const T = (&raw const row).cast();
                    for j in 0..target.columns {
                        let to = target.start[r].add(j);
                        *to = if target.adds { *to + *row.add(j) } else { *row.add(j) };
                    }
                }
            }
        }
    }
}

/// Computes `totals[r][q]`, lane by lane, as `sum over i of a[r][i] * b[q][i]`, or adds that to it, for `count`
/// elements of `M` rows and `N` columns, which both are contiguous.
///
/// Each lane of a sum is a chain of fused multiply-adds in the order of i, as in [`tile`].
///
/// # Safety
/// The elements are readable, and whole vectors.
///
/// # Panics
/// If `totals` has not as many vectors.
#[expect(clippy::needless_range_loop, reason = "as above")]
#[inline(always)]
pub(crate) unsafe fn inner_products<T: Real, P: Packed<T>, S: Simd, const M: usize, const N: usize>(
    simd: S,
    a: &[*const P; M],
    b: &[*const P; N],
    count: usize,
    totals: &mut [T],
    adds: bool,
) {
    assert!(totals.len() == M * N * T::LANES);
    let zero = T::splat(simd, T::ZERO);
    let mut sums = [[zero; N]; M];
    for i in (0..count).step_by(T::LANES) {
        let mut columns = [P::splat(simd, P::ZERO); N];
        // SAFETY: the caller's promise.
        unsafe {
            for q in 0..N {
                columns[q] = b[q].add(i).cast::<P::Vector<S>>().read_unaligned();
            }
            for r in 0..M {
                let row = a[r].add(i).cast::<P::Vector<S>>().read_unaligned();
                for q in 0..N {
                    sums[r][q] = P::multiply_add(simd, row, columns[q], sums[r][q]);
                }
            }
        }
    }
    let to = totals.as_mut_ptr().cast::<T::Vector<S>>();
    for r in 0..M {
        for q in 0..N {
            // SAFETY: `totals` has so many vectors by the first line.
            unsafe {
                let to = to.add(r * N + q);
                let sum = sums[r][q];
                to.write_unaligned(if adds { T::add_vectors(simd, to.read_unaligned(), sum) } else { sum });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::engine::simd::InstructionSet;

    /// A tile of `M` rows by `N` vectors of columns, of which `rows` and `columns` are written.
    struct Product<'a, T, const M: usize, const N: usize> {
        a: &'a [T],
        b: &'a [T],
        out: &'a mut [T],
        rows: usize,
        columns: usize,
        adds: bool,
    }

    /// The runs of a product: 5 and 2 steps, with gaps; rows of the left operand begin 40 elements apart.
    const RUNS: [Run; 2] = [Run { a: 3, b: 64, count: 5 }, Run { a: 20, b: 1000, count: 2 }];
    const STEPS: [usize; 2] = [2, 70];
    const PITCH: usize = 40;
    const OUT: usize = 66;

    impl<T: Real, const M: usize, const N: usize> WithSimd for Product<'_, T, M, N> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (mut a, mut start) = ([self.a.as_ptr(); M], [self.out.as_mut_ptr(); M]);
            for r in 0..M {
                a[r] = self.a[r * PITCH..].as_ptr();
                start[r] = self.out[r * OUT..].as_mut_ptr();
            }
            let target = Target { start, rows: self.rows, columns: self.columns, adds: self.adds };
            // SAFETY: `check` makes the operands large enough.
            unsafe { tile::<T, T, S, M, N>(simd, &a, self.b.as_ptr(), STEPS, &RUNS, target) };
        }
    }

    fn check<T: Real, const M: usize, const N: usize>() {
        let value = |i: usize| T::from_f64(((i * 37 % 101) as f64 - 50.0) / 64.0);
        let a: Vec<T> = (0..M * PITCH).map(value).collect();
        let b: Vec<T> = (0..1300).map(|i| value(i + 7)).collect();
        for (rows, columns, adds) in
            [(M, N * T::LANES, false), (M, N * T::LANES, true), (M - 1, N * T::LANES - 3, false), (1, 1, true)]
        {
            let mut expected: Vec<T> = (0..M * OUT).map(value).collect();
            for r in 0..rows {
                for j in 0..columns {
                    let steps =
                        RUNS.iter().flat_map(|run| (0..run.count).map(move |i| (run.a + 2 * i, run.b + 70 * i)));
                    let sum = steps.fold(T::zero(), |sum, (i, k)| a[r * PITCH + i].mul_add(b[k + j], sum));
                    let to = &mut expected[r * OUT + j];
                    *to = if adds { *to + sum } else { sum };
                }
            }
            for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
                let mut out: Vec<T> = (0..M * OUT).map(value).collect();
                set.run(Product::<T, M, N> { a: &a, b: &b, out: &mut out, rows, columns, adds });
                assert!(out == expected, "{set:?}, {rows} x {columns}, adds: {adds}");
            }
        }
    }

    #[test]
    fn every_instruction_set_computes_the_same_bits() {
        check::<f32, 6, 1>();
        check::<f32, 12, 1>();
        check::<f32, 12, 2>();
        check::<f32, 6, 4>();
        check::<f64, 6, 1>();
        check::<f64, 12, 2>();
        check::<f64, 6, 4>();
    }
}
