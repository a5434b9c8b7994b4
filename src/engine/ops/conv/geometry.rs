//! How the two grids of a convolution meet.

/// How the small grid meets the big grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    pub stride: usize,
    /// Rows or columns of the big grid from one tap to the next.
    pub dilation: usize,
    /// Zeros in front of the first row and the first column of the big grid. What lies behind the last ones follows from
    /// the sizes of the grids.
    pub pad: [usize; 2],
}

impl Geometry {
    /// The convolution of the encoder and of the discriminator, and in the other direction that of the decoder.
    pub const HALVING: Geometry = Geometry { kernel: [4, 4], stride: 2, dilation: 1, pad: [1, 1] };

    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The row (`axis` 0) or column (`axis` 1) of the big grid that `tap` of small `q` meets, if it is not padding.
    #[inline(always)]
    pub fn big(&self, axis: usize, q: usize, tap: usize, size: usize) -> Option<usize> {
        (q * self.stride + tap * self.dilation).checked_sub(self.pad[axis]).filter(|&p| p < size)
    }

    /// The row or column of the small grid whose `tap` meets big `p`, if there is one.
    #[inline(always)]
    pub fn small(&self, axis: usize, p: usize, tap: usize, size: usize) -> Option<usize> {
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
            let (big, small) = (11, 4);
            for (axis, q) in [0, 1].into_iter().flat_map(|axis| (0..small).map(move |q| (axis, q))) {
                for (tap, p) in (0..geometry.kernel[axis]).flat_map(|tap| (0..big).map(move |p| (tap, p))) {
                    let meets = geometry.big(axis, q, tap, big) == Some(p);
                    assert_eq!(meets, geometry.small(axis, p, tap, small) == Some(q), "{geometry:?} {q} {tap} {p}");
                }
            }
        }
    }
}
