//! Pictures read from the top, some rows at a time: a large one need never be in memory as a whole.

use std::mem;

use anyhow::{Result, ensure};

use crate::data::decoding::limit::{check_bytes, zeroed};
use crate::data::decoding::{Depth, Picture};
use crate::data::size::Size;

/// Size and channels of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub size: Size,
    /// Number of channels, as in a [`Picture`].
    pub channels: usize,
    /// True if the last of 2 or 4 channels is no alpha but a band, as in a [`Picture`].
    pub has_extra_band: bool,
}

impl Shape {
    /// Returns the shape of `picture`.
    pub fn from_picture(picture: &Picture) -> Shape {
        Shape { size: picture.size, channels: picture.channels, has_extra_band: picture.has_extra_band }
    }

    /// Returns the bytes that `rows` rows take uncompressed in a file of `depth`.
    pub fn bytes(&self, rows: usize, depth: Depth) -> u64 {
        let row = (self.size.width * self.channels * depth.bytes()) as u64;
        row.saturating_mul(rows as u64)
    }

    /// Checks that `rows` rows together may be held in memory.
    ///
    /// # Errors
    /// When they take more bytes at `depth` than a decoded picture may have: see `limit::max_picture_bytes`.
    pub fn check(&self, rows: usize, depth: Depth) -> Result<()> {
        check_bytes(self.bytes(rows, depth))
    }

    /// Makes a picture of some rows of this shape. `samples` are `[rows, width, channels]`; their number tells how many
    /// rows there are.
    pub fn rows(&self, samples: Vec<u16>) -> Picture {
        let Shape { size: Size { width, .. }, channels, has_extra_band } = *self;
        let size = Size { width, height: samples.len() / (width * channels) };
        Picture { size, channels, has_extra_band, samples }
    }
}

/// A picture that is read once from the top row to the bottom row, some rows at a time.
pub trait Rows {
    /// The shape of the whole picture, however much of it has been read.
    fn shape(&self) -> Shape;

    /// Returns the next `count` rows as a picture of that height. `count` must not be above the number of rows that are
    /// left, which need not be checked.
    ///
    /// # Errors
    /// When they are damaged, cut short, or of a kind that is not read, or memory runs out.
    fn next(&mut self, count: usize) -> Result<Picture>;
}

/// [`Rows`] of a picture that is in memory already.
pub struct InMemoryRows {
    picture: Picture,
    given: usize,
}

impl InMemoryRows {
    pub fn new(picture: Picture) -> InMemoryRows {
        InMemoryRows { picture, given: 0 }
    }
}

impl Rows for InMemoryRows {
    fn shape(&self) -> Shape {
        Shape::from_picture(&self.picture)
    }

    fn next(&mut self, count: usize) -> Result<Picture> {
        let (size, top) = (Size { height: count, ..self.picture.size }, self.given);
        self.given += count;
        if size == self.picture.size {
            return Ok(Picture { samples: mem::take(&mut self.picture.samples), ..self.picture });
        }
        Ok(self.picture.crop(0, top, size))
    }
}

/// [`Rows`] of the left or the right half of another picture, whose rows it reads in the same order, from the top.
pub struct HalfRows<R> {
    whole: R,
    left: usize,
    shape: Shape,
}

impl<R: Rows> HalfRows<R> {
    /// Begins to read the right half of `whole` if `is_right` is true, else the left half. No row of `whole` may have
    /// been read yet.
    ///
    /// # Errors
    /// When the width of `whole` is odd.
    pub fn new(whole: R, is_right: bool) -> Result<HalfRows<R>> {
        let shape = whole.shape();
        let size = shape.size.half()?;
        Ok(HalfRows { whole, left: if is_right { size.width } else { 0 }, shape: Shape { size, ..shape } })
    }
}

impl<R: Rows> Rows for HalfRows<R> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn next(&mut self, count: usize) -> Result<Picture> {
        Ok(self.whole.next(count)?.crop(self.left, 0, Size { height: count, ..self.shape.size }))
    }
}

impl<R: Rows + ?Sized> Rows for Box<R> {
    fn shape(&self) -> Shape {
        (**self).shape()
    }

    fn next(&mut self, count: usize) -> Result<Picture> {
        (**self).next(count)
    }
}

/// A buffer between a decoder, which yields samples in pieces of any length, and a reader of rows.
#[derive(Default)]
pub struct RowBuffer {
    piece: Vec<u16>,
    given: usize,
}

impl RowBuffer {
    /// Returns the next `count` rows of a picture of `shape`. Whenever the buffer is empty, `next` is called for the
    /// samples that follow in row-major order, as many as it likes but at least one.
    ///
    /// # Errors
    /// Those of `next`, when it returns no samples, or when there is no memory.
    pub fn rows(&mut self, shape: &Shape, count: usize, mut next: impl FnMut() -> Result<Vec<u16>>) -> Result<Picture> {
        let mut next = || {
            let piece = next()?;
            ensure!(!piece.is_empty(), "the picture has no more rows");
            Ok(RowBuffer { piece, given: 0 })
        };
        let length = count * shape.size.width * shape.channels;
        if self.piece.is_empty() {
            *self = next()?;
        }
        // A piece that is the whole picture is not copied.
        if self.piece.len() == length && self.given == 0 {
            return Ok(shape.rows(mem::take(self).piece));
        }
        let mut rows = zeroed(length)?;
        let mut samples = &mut rows[..];
        while !samples.is_empty() {
            if self.piece.is_empty() {
                *self = next()?;
            }
            let length = samples.len().min(self.piece.len() - self.given);
            let (filled, rest) = samples.split_at_mut(length);
            filled.copy_from_slice(&self.piece[self.given..self.given + length]);
            self.given += length;
            samples = rest;
            // The next piece may need the memory of this one.
            if self.given == self.piece.len() {
                *self = RowBuffer::default();
            }
        }
        Ok(shape.rows(rows))
    }
}
