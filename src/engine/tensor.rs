//! Tensors without data: a [`Tensor`] is a buffer, an offset, a shape and a stride; a device holds the values.
//!
//! The one idea: a tensor is a view of a buffer. A channel slice and a batch slice are tensors too, so a concatenation
//! costs nothing: each operand is written straight into a slice of one buffer.

use std::fmt;
use std::ops::Range;

/// The shape of a tensor, `[n, h, w, c]`: images, rows, columns, channels. That of a weight is `[k, kh, kw, c]`: output
/// channels of the convolution, kernel rows and columns, input channels.
pub type Shape = [usize; 4];

/// The number format of a buffer's elements: f32 or bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    F32,
    /// bfloat16, the upper half of an f32: 8 bits of exponent, 7 of fraction.
    Bf16,
}

impl DType {
    /// Size of an element in bytes, on a GPU and on the CPU in f32: 4 or 2. (The CPU in f64, which is for tests, keeps
    /// both formats as f64.)
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::Bf16 => 2,
        }
    }
}

/// The index of a buffer in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub(crate) usize);

/// A strided view of a buffer, without values: a device holds these. Of a view of shape `[N, H, W, C]`, element
/// `[n, h, w, c]` is element `offset + ((n * H + h) * W + w) * stride + c` of the buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    pub(crate) buffer: BufferId,
    pub(crate) dtype: DType,
    /// Elements of the buffer before the first one of the view.
    pub(crate) offset: usize,
    pub shape: Shape,
    /// Elements from one pixel to the next; more than the channels where the view is a channel slice.
    pub(crate) stride: usize,
    pub(crate) detached: bool,
}

impl fmt::Display for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Tensor {
    /// The buffer in which the values lie.
    pub fn buffer(&self) -> BufferId {
        self.buffer
    }

    /// The number format of the elements, which is that of the buffer.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of pixels of all images: `n * h * w`.
    pub fn pixels(&self) -> usize {
        self.shape[0] * self.shape[1] * self.shape[2]
    }

    /// Number of channels of a pixel: `c`.
    pub fn channels(&self) -> usize {
        self.shape[3]
    }

    /// Number of elements of the view: `n * h * w * c`.
    pub fn count(&self) -> usize {
        self.pixels() * self.channels()
    }

    /// Size of the elements in bytes, `count() * dtype().bytes()`: the gaps of a strided view do not count.
    pub fn bytes(&self) -> usize {
        self.count() * self.dtype.bytes()
    }

    /// The range of the buffer's elements from the first one of the view to the last. That of a strided view includes
    /// gaps, elements that are not the view's.
    pub fn span(&self) -> Range<usize> {
        match self.count() {
            0 => self.offset..self.offset,
            _ => self.offset..self.offset + (self.pixels() - 1) * self.stride + self.channels(),
        }
    }

    /// The view of the channels `range` of every pixel, in the same buffer.
    ///
    /// # Panics
    /// If `range` ends behind the last channel.
    pub fn channel_slice(self, range: Range<usize>) -> Tensor {
        assert!(range.end <= self.shape[3], "channels {range:?} of {self:?}");
        let [n, h, w, _] = self.shape;
        Tensor { offset: self.offset + range.start, shape: [n, h, w, range.len()], ..self }
    }

    /// The view of the images `range`, in the same buffer.
    ///
    /// # Panics
    /// If `range` ends behind the last image.
    pub fn batch_slice(self, range: Range<usize>) -> Tensor {
        let [n, h, w, c] = self.shape;
        assert!(range.end <= n, "images {range:?} of {self:?}");
        Tensor { offset: self.offset + range.start * h * w * self.stride, shape: [range.len(), h, w, c], ..self }
    }

    /// True if no gradient passes through this view: see [`crate::engine::ops::detach`].
    pub fn is_detached(&self) -> bool {
        self.detached
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [n, h, w, c] = self.shape;
        let dtype = if self.dtype == DType::F32 { "" } else { "bf16 " };
        write!(f, "{dtype}[{n}, {h}, {w}, {c}] of buffer {}+{}", self.buffer.0, self.offset)
    }
}

/// A rectangle of a buffer seen as a table with one row per pixel and one column per channel. Two tensors share memory
/// exactly where their regions overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    pub buffer: BufferId,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Region {
    /// The elements that are in both regions; `None` if there are none.
    pub fn intersection(&self, other: &Region) -> Option<Region> {
        let cut = |a: &Range<usize>, b: &Range<usize>| a.start.max(b.start)..a.end.min(b.end);
        let (rows, columns) = (cut(&self.rows, &other.rows), cut(&self.columns, &other.columns));
        (self.buffer == other.buffer && !rows.is_empty() && !columns.is_empty()).then_some(Region {
            buffer: self.buffer,
            rows,
            columns,
        })
    }

    /// True if some element is in both regions.
    pub fn overlaps(&self, other: &Region) -> bool {
        self.intersection(other).is_some()
    }

    /// The elements of this region that are not in `hole`, as up to four disjoint rectangles; empty if `hole` covers
    /// them all.
    pub fn without(&self, hole: &Region) -> Vec<Region> {
        let Some(cut) = self.intersection(hole) else { return vec![self.clone()] };
        let rectangle = |rows: Range<usize>, columns: Range<usize>| Region { buffer: self.buffer, rows, columns };
        [
            rectangle(self.rows.start..cut.rows.start, self.columns.clone()),
            rectangle(cut.rows.end..self.rows.end, self.columns.clone()),
            rectangle(cut.rows.clone(), self.columns.start..cut.columns.start),
            rectangle(cut.rows.clone(), cut.columns.end..self.columns.end),
        ]
        .into_iter()
        .filter(|r| !r.rows.is_empty() && !r.columns.is_empty())
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(rows: Range<usize>, columns: Range<usize>) -> Region {
        Region { buffer: BufferId(0), rows, columns }
    }

    #[test]
    fn a_hole_leaves_everything_else() {
        let whole = region(0..10, 0..8);
        let hole = region(3..5, 2..12);
        let rest = whole.without(&hole);
        let area: usize = rest.iter().map(|r| r.rows.len() * r.columns.len()).sum();
        assert_eq!(area, 80 - 2 * 6);
        assert!(rest.iter().all(|r| !r.overlaps(&hole)));
        assert_eq!(whole.without(&region(10..12, 0..8)), vec![whole]);
    }

    #[test]
    fn slices_of_a_view_are_views() {
        let base = Tensor {
            buffer: BufferId(0),
            dtype: DType::F32,
            offset: 0,
            shape: [2, 3, 4, 10],
            stride: 10,
            detached: false,
        };
        let slice = base.channel_slice(6..10).batch_slice(1..2);
        assert_eq!((slice.offset, slice.shape, slice.stride), (126, [1, 3, 4, 4], 10));
        assert_eq!(slice.span(), 126..126 + 11 * 10 + 4);
    }
}
