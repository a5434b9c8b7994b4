//! Transposes of blocks, for operands that are packed across the direction in which they lie in memory.

use pulp::Simd;

/// Rows and columns of a block.
pub(crate) const BLOCK: usize = 16;

/// Writes a block of 16 rows of 16 elements as 16 columns: element i of row r goes to `to[i * pitch + r]`.
///
/// # Safety
/// Each row has 16 elements, and `to` can be written wherever they go.
#[inline(always)]
pub(crate) unsafe fn transpose<S: Simd, E: Copy>(_: S, rows: &[*const E; BLOCK], to: *mut E, pitch: usize) {
    // Sets with 32 registers are those of AVX-512, whose vectors are a row of four-byte elements.
    #[cfg(target_arch = "x86_64")]
    if const { S::REGISTER_COUNT >= 32 && size_of::<E>() == 4 } {
        // SAFETY: the caller's promise.
        unsafe { by_shuffles(rows, to, pitch) };
        return;
    }
    for (r, row) in rows.iter().enumerate() {
        for i in 0..BLOCK {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i * pitch + r) = *row.add(i) };
        }
    }
}

/// As [`transpose`], for elements of four bytes, with AVX-512: pairs of rows, then pairs of pairs within each quarter
/// of a vector, then the quarters.
///
/// # Safety
/// As there.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn by_shuffles<E>(rows: &[*const E; BLOCK], to: *mut E, pitch: usize) {
    use std::arch::x86_64::*;

    let to: *mut f32 = to.cast();
    // SAFETY: the caller's promise, and code that is compiled for a set of so many registers is run where it is there.
    unsafe {
        let mut a = [_mm512_setzero_ps(); BLOCK];
        for r in 0..BLOCK {
            a[r] = _mm512_loadu_ps(rows[r].cast());
        }
        let mut b = a;
        for r in 0..BLOCK / 2 {
            b[2 * r] = _mm512_unpacklo_ps(a[2 * r], a[2 * r + 1]);
            b[2 * r + 1] = _mm512_unpackhi_ps(a[2 * r], a[2 * r + 1]);
        }
        for r in (0..BLOCK).step_by(4) {
            let (first, third) = (_mm512_castps_pd(b[r]), _mm512_castps_pd(b[r + 2]));
            let (second, fourth) = (_mm512_castps_pd(b[r + 1]), _mm512_castps_pd(b[r + 3]));
            a[r] = _mm512_castpd_ps(_mm512_unpacklo_pd(first, third));
            a[r + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(first, third));
            a[r + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(second, fourth));
            a[r + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(second, fourth));
        }
        // Quarter l of a[4 * i + q] is column 4 * l + q of the rows 4 * i to 4 * i + 3.
        for q in 0..4 {
            let even =
                [_mm512_shuffle_f32x4::<0x88>(a[q], a[4 + q]), _mm512_shuffle_f32x4::<0x88>(a[8 + q], a[12 + q])];
            let odd = [_mm512_shuffle_f32x4::<0xDD>(a[q], a[4 + q]), _mm512_shuffle_f32x4::<0xDD>(a[8 + q], a[12 + q])];
            _mm512_storeu_ps(to.add(q * pitch), _mm512_shuffle_f32x4::<0x88>(even[0], even[1]));
            _mm512_storeu_ps(to.add((4 + q) * pitch), _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]));
            _mm512_storeu_ps(to.add((8 + q) * pitch), _mm512_shuffle_f32x4::<0xDD>(even[0], even[1]));
            _mm512_storeu_ps(to.add((12 + q) * pitch), _mm512_shuffle_f32x4::<0xDD>(odd[0], odd[1]));
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::engine::simd::InstructionSet;

    struct Transpose<'a, E> {
        from: &'a [E],
        to: &'a mut [E],
    }

    const PITCH: usize = 19;

    impl<E: Copy> WithSimd for Transpose<'_, E> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let mut rows = [self.from.as_ptr(); BLOCK];
            rows.iter_mut().enumerate().for_each(|(r, row)| *row = self.from[r * BLOCK..].as_ptr());
            assert!(self.from.len() >= BLOCK * BLOCK && self.to.len() >= BLOCK * PITCH);
            // SAFETY: the line above.
            unsafe { transpose(simd, &rows, self.to.as_mut_ptr(), PITCH) };
        }
    }

    fn check<E: Copy + PartialEq + Default + std::fmt::Debug>(element: impl Fn(u16) -> E) {
        let from: Vec<E> = (0..256).map(&element).collect();
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let mut to = vec![E::default(); BLOCK * PITCH];
            set.run(Transpose { from: &from, to: &mut to });
            for (index, &value) in to.iter().enumerate() {
                let (i, r) = (index / PITCH, index % PITCH);
                let expected = if r < BLOCK { from[r * BLOCK + i] } else { E::default() };
                assert!(value == expected, "{set:?}: element {i} of row {r}");
            }
        }
    }

    #[test]
    fn rows_become_columns() {
        check(f32::from);
        check(f64::from);
    }
}
