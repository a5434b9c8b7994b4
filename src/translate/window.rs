//! The tiles of a picture, cut while it is read. As many of its rows are in memory as a tile has.

use anyhow::{Context, Result};

use super::jobs::Job;
use super::tiles::Tiles;
use crate::data::{Picture, Rows, Shape};

/// A reader of a picture that cuts it into tiles.
pub struct Window<'a> {
    job: &'a Job,
    rows: Box<dyn Rows>,
    tiles: Tiles,
    /// Index of the next tile.
    index: usize,
    /// The rows that are in memory, with the channels of the network.
    picture: Picture,
    /// Row of the picture that is the first in memory.
    top: usize,
}

impl<'a> Window<'a> {
    /// Opens the picture of `job` to cut `tiles` from it, with `channels` channels, those of the network's input.
    ///
    /// # Errors
    /// When the picture can no longer be read.
    pub fn open(job: &'a Job, tiles: Tiles, channels: usize) -> Result<Window<'a>> {
        let shape = Shape { channels, ..job.shape };
        Ok(Window { job, rows: job.rows()?, tiles, index: 0, picture: shape.rows(Vec::new()), top: 0 })
    }

    pub fn tiles(&self) -> &Tiles {
        &self.tiles
    }

    /// Reads and returns the next tile, `[height, width, channels]` in [-1, 1]; `None` after the last one.
    ///
    /// # Errors
    /// When the picture can no longer be read.
    pub fn next(&mut self) -> Result<Option<Vec<f32>>> {
        if self.index == self.tiles.count() {
            return Ok(None);
        }
        let rows = self.tiles.rows(self.index);
        let end = self.top + self.picture.size.height;
        if end < rows.end {
            self.picture.drop_rows(rows.start - self.top);
            self.top = rows.start;
            let more = self.rows.next(rows.end - end).with_context(|| self.job.input.display().to_string())?;
            self.picture.append(more.with_channels(self.picture.channels));
        }
        let tile = self.tiles.cut(&self.picture, self.top, self.index);
        self.index += 1;
        Ok(Some(tile.to_f32()))
    }
}
