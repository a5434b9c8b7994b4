//! Matrix products, by the crate `gemm`. Kernels call it through this module alone, so that another implementation can
//! replace it.

use std::cell::Cell;

use gemm::Parallelism;

use super::Real;

/// A borrowed matrix of `rows` rows and `columns` columns: element `[i, j]` is
/// `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    pub data: &'a [T],
    pub rows: usize,
    pub columns: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Returns the matrix whose rows lie in `data`, `columns` contiguous elements each, and begin `stride` elements
    /// apart. [`matmul`] checks that they end inside of `data`.
    pub fn new(data: &'a [T], rows: usize, columns: usize, stride: usize) -> Matrix<'a, T> {
        Matrix { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// Returns the transposed matrix, over the same elements.
    pub fn transposed(self) -> Matrix<'a, T> {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Index of the last element in `data`; `None` for a matrix without elements.
    fn last(&self) -> Option<usize> {
        let (rows, columns) = (self.rows.checked_sub(1)?, self.columns.checked_sub(1)?);
        Some(rows * self.row_stride + columns * self.column_stride)
    }

    fn is_in_bounds(&self) -> bool {
        self.last().is_none_or(|last| last < self.data.len())
    }
}

/// Packing threshold of `gemm`, in register tiles of columns: from this many on it copies an operand whose elements lie
/// far apart, instead of reading it in place. With its default of 16 the weights of the deep layers, whose rows are 32
/// KB apart, are read eight times over at 8x8 pixels; with 2 such a product takes half the time, and no other takes
/// longer.
const PACK_FROM_TILES: usize = 2;

thread_local! {
    static INSIDE_GEMM: Cell<bool> = const { Cell::new(false) };
}

/// True if the calling thread is inside of [`matmul`]. The crate `gemm` allocates its packing buffers itself; the test
/// that counts allocations leaves those out.
pub fn inside_gemm() -> bool {
    INSIDE_GEMM.get()
}

/// Computes the matrix product `out = a b`, or `out += a b` if `accumulate`, in parallel: `a` is `[m, k]`, `b` `[k, n]`
/// and `out` `[m, n]`, with contiguous rows that begin `stride` elements apart.
///
/// # Panics
/// If the columns of `a` are not as many as the rows of `b`, a matrix ends outside of its slice, or rows of `out`
/// overlap.
pub fn matmul<T: Real>(out: &mut [T], stride: usize, accumulate: bool, a: Matrix<'_, T>, b: Matrix<'_, T>) {
    assert_eq!(a.columns, b.rows, "the inner dimensions of a product");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(n <= stride || m <= 1, "rows of the result do not overlap");
    assert!(a.is_in_bounds() && b.is_in_bounds() && Matrix::new(&*out, m, n, stride).is_in_bounds());
    gemm::set_lhs_packing_threshold_multi_thread(PACK_FROM_TILES);
    INSIDE_GEMM.set(true);
    // SAFETY: by the assertions above every element that the strides reach lies in its slice, and `out` is borrowed
    // mutably, so it aliases neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            T::one(),
            T::one(),
            false,
            false,
            false,
            Parallelism::Rayon(rayon::current_num_threads()),
        );
    }
    INSIDE_GEMM.set(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_products_match_the_definition() {
        let a: Vec<f64> = (0..35).map(|i| f64::from(i % 7) - 3.0).collect();
        let b: Vec<f64> = (0..33).map(|i| f64::from(i % 5) - 2.0).collect();
        // a is 5 x 4 in rows of 7; b is the transpose of a 3 x 4 matrix in rows of 11; out is 5 x 3 in rows of 6.
        let (a, b) = (Matrix::new(&a, 5, 4, 7), Matrix::new(&b, 3, 4, 11).transposed());
        let mut out = vec![1.0; 30];
        matmul(&mut out, 6, true, a, b);
        for i in 0..5 {
            for j in 0..6 {
                let product: f64 = (0..4).map(|k| a.data[i * 7 + k] * b.data[(j % 3) * 11 + k]).sum();
                let expected = if j < 3 { 1.0 + product } else { 1.0 };
                assert_eq!(out[i * 6 + j], expected, "row {i}, column {j}");
            }
        }
    }
}
