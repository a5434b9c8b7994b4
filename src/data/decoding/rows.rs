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
    pub is_last_a_band: bool,
}

impl Shape {
    /// The shape of a picture in memory.
    pub fn from_picture(picture: &Picture) -> Shape {
        Shape { size: picture.size, channels: picture.channels, is_last_a_band: picture.is_last_a_band }
    }

    /// Bytes of `rows` rows, in a file's `depth`.
    pub fn bytes(&self, rows: usize, depth: Depth) -> u64 {
        let row = (self.size.width * self.channels * depth.bytes()) as u64;
        row.saturating_mul(rows as u64)
    }

    /// Asserts that `rows` rows may be in memory at once.
    ///
    /// # Errors
    /// When they are more bytes than a decoded picture may have.
    pub fn check(&self, rows: usize, depth: Depth) -> Result<()> {
        check_bytes(self.bytes(rows, depth))
    }

    /// A picture of some rows, with the samples `samples`.
    pub fn rows(&self, samples: Vec<u16>) -> Picture {
        let Shape { size: Size { width, .. }, channels, is_last_a_band } = *self;
        let size = Size { width, height: samples.len() / (width * channels) };
        Picture { size, channels, is_last_a_band, samples }
    }
}

/// A picture that is read by rows, each of them once.
pub trait Rows {
    fn shape(&self) -> Shape;

    /// The next `count` rows. At least as many must be left.
    ///
    /// # Errors
    /// When they are damaged, cut short, or of a kind that is not read, or memory runs out.
    fn next(&mut self, count: usize) -> Result<Picture>;
}

/// Rows of a picture in memory.
pub struct Held {
    picture: Picture,
    given: usize,
}

impl Held {
    pub fn new(picture: Picture) -> Held {
        Held { picture, given: 0 }
    }
}

impl Rows for Held {
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

/// Rows of the left or the right half of a picture.
pub struct Half<R> {
    whole: R,
    left: usize,
    shape: Shape,
}

impl<R: Rows> Half<R> {
    /// Rows of the right half of `whole`, or of its left half.
    ///
    /// # Errors
    /// When the width is odd.
    pub fn new(whole: R, is_right: bool) -> Result<Half<R>> {
        let shape = whole.shape();
        let size = shape.size.half()?;
        Ok(Half { whole, left: if is_right { size.width } else { 0 }, shape: Shape { size, ..shape } })
    }
}

impl<R: Rows> Rows for Half<R> {
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

/// A buffer between a source of pieces of any length and a reader of rows.
#[derive(Default)]
pub struct Pieces {
    piece: Vec<u16>,
    given: usize,
}

impl Pieces {
    /// The next `count` rows of a picture; `next` gives the next piece.
    ///
    /// # Errors
    /// Those of `next`, when it gives an empty one, or when there is no memory.
    pub fn rows(&mut self, shape: &Shape, count: usize, mut next: impl FnMut() -> Result<Vec<u16>>) -> Result<Picture> {
        let mut next = || {
            let piece = next()?;
            ensure!(!piece.is_empty(), "the picture has no more rows");
            Ok(Pieces { piece, given: 0 })
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
                *self = Pieces::default();
            }
        }
        Ok(shape.rows(rows))
    }
}
