//! Geometry of a convolution: kernel, stride, dilation and padding, and the pixels of input and output that they
//! connect.

/// The geometry of a convolution: kernel size, stride, dilation and padding. Along each axis, kernel tap t of output
/// pixel q reads input pixel `q * stride + t * dilation - pad`. A transposed convolution has the geometry of the
/// convolution that it is the transpose of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    pub stride: usize,
    /// Rows or columns of the input from one tap to the next.
    pub dilation: usize,
    /// Rows and columns of zeros before the first row and column of the input. Those after the last ones follow from
    /// the sizes of input and output.
    pub pad: [usize; 2],
}

impl Geometry {
    /// Kernel 4x4, stride 2, padding 1: halves height and width. The convolutions of encoder and discriminator have it,
    /// and the transposed ones of the decoder, which double height and width.
    pub const HALVING: Geometry = Geometry { kernel: [4, 4], stride: 2, dilation: 1, pad: [1, 1] };

    /// Number of taps of the kernel: rows times columns.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The index of the input row (`axis` 0) or column (`axis` 1) that kernel row or column `tap` reads for output row
    /// or column `q`; `None` where that is padding. The input has `size` rows or columns.
    #[inline(always)]
    pub fn input(&self, axis: usize, q: usize, tap: usize, size: usize) -> Option<usize> {
        (q * self.stride + tap * self.dilation).checked_sub(self.pad[axis]).filter(|&p| p < size)
    }

    /// The index of the output row (`axis` 0) or column (`axis` 1) for which kernel row or column `tap` reads input row
    /// or column `p`: the inverse of [`Geometry::input`]. `None` if there is none. The output has `size` rows or
    /// columns.
    #[inline(always)]
    pub fn output(&self, axis: usize, p: usize, tap: usize, size: usize) -> Option<usize> {
        let offset = (p + self.pad[axis]).checked_sub(tap * self.dilation)?;
        Some(offset / self.stride).filter(|&q| offset % self.stride == 0 && q < size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_name_the_same_meetings() {
        for geometry in [
            Geometry::HALVING,
            Geometry { kernel: [7, 5], stride: 3, dilation: 1, pad: [2, 0] },
            Geometry { kernel: [4, 4], stride: 1, dilation: 1, pad: [2, 2] },
            Geometry { kernel: [4, 2], stride: 4, dilation: 3, pad: [0, 1] },
            Geometry { kernel: [3, 3], stride: 2, dilation: 2, pad: [2, 1] },
        ] {
            let (input, output) = (11, 4);
            for (axis, q) in [0, 1].into_iter().flat_map(|axis| (0..output).map(move |q| (axis, q))) {
                for (tap, p) in (0..geometry.kernel[axis]).flat_map(|tap| (0..input).map(move |p| (tap, p))) {
                    let meets = geometry.input(axis, q, tap, input) == Some(p);
                    assert_eq!(meets, geometry.output(axis, p, tap, output) == Some(q), "{geometry:?} {q} {tap} {p}");
                }
            }
        }
    }
}
