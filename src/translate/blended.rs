//! A result, blended of its tiles and read row by row: a row is complete when no further tile covers it.

use anyhow::Result;

use super::jobs::Job;
use super::stream::Stream;
use super::tiles::Tiles;
use crate::data::{Picture, RowBuffer, Rows, Shape, Size};

/// A reader of a result, row by row ([`Rows`]), which takes the tiles from a [`Stream`] and blends them.
pub struct Blended<'s, 'a> {
    stream: &'s mut Stream<'a>,
    tiles: Tiles,
    shape: Shape,
    /// Index of the first tile in the next row of tiles.
    index: usize,
    /// Weighted sums of tiles, `[rows, width, channels]`, from row `top` on.
    sums: Vec<f32>,
    top: usize,
    pieces: RowBuffer,
}

impl<'s, 'a> Blended<'s, 'a> {
    /// Makes the reader of the result of `job`. The next tiles of `stream` have to be those of this job; they are taken
    /// from it as rows are read.
    pub fn new(stream: &'s mut Stream<'a>, job: &Job) -> Blended<'s, 'a> {
        let tiles = stream.cut.tiles(job.shape.size);
        let shape = job.result(&stream.model);
        Blended { stream, tiles, shape, index: 0, sums: Vec::new(), top: 0, pieces: RowBuffer::default() }
    }

    /// The samples that the next row of tiles completes.
    fn piece(&mut self) -> Result<Vec<u16>> {
        let Shape { size, channels, .. } = self.shape;
        let row = size.width * channels;
        let indices = self.index..self.index + self.tiles.per_row();
        self.sums.resize((self.tiles.rows(self.index).end - self.top) * row, 0.0);
        self.index = indices.end;
        for index in indices {
            self.tiles.blend(index, self.stream.next()?, channels, &mut self.sums, self.top);
        }
        let is_last = self.index == self.tiles.count();
        let end = if is_last { size.height } else { self.tiles.rows(self.index).start };
        let height = end - self.top;
        let size = Size { height, ..size };
        let piece = Picture::from_f32(size, channels, &self.sums[..height * row]).samples;
        match is_last {
            true => self.sums = Vec::new(),
            false => drop(self.sums.drain(..height * row)),
        }
        self.top = end;
        Ok(piece)
    }
}

impl Rows for Blended<'_, '_> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn next(&mut self, count: usize) -> Result<Picture> {
        let (shape, mut pieces) = (self.shape, std::mem::take(&mut self.pieces));
        let rows = pieces.rows(&shape, count, || self.piece())?;
        self.pieces = pieces;
        Ok(rows)
    }
}
