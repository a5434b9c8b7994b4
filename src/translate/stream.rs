//! The tiles of all results, run through the network in batches that may span several results.

use std::vec;

use anyhow::Result;

use super::jobs::Job;
use super::window::Window;
use super::{Model, Tiling};
use crate::base::progress::Progress;
use crate::data::Size;

/// The translated tiles of all results, one result after the other, each row by row from the upper left. Tiles are
/// numbered from 0 across all results; the number picks the dropout of a tile. They are computed in batches, as they
/// are asked for.
pub struct Stream<'a> {
    pub model: Model,
    pub cut: &'a Tiling,
    progress: Progress,
    /// Maximum number of tiles in a batch.
    batch: usize,
    /// Jobs of which no tile has been cut yet.
    inputs: vec::IntoIter<&'a Job>,
    window: Option<Window<'a>>,
    /// Number of the next tile to be cut.
    number: u64,
    /// The translated tiles of a batch, one after the other.
    translated: Vec<f32>,
    /// Number of values in a translated tile.
    tile: usize,
    /// Number of values of `translated` that have been handed out.
    given: usize,
}

impl<'a> Stream<'a> {
    /// Makes the stream of the tiles of `inputs`, one job for each result: a job of several samples comes as often. A
    /// batch has up to `batch` tiles of one size on a GPU, one tile on the CPU. `progress` is advanced by 1 for each
    /// tile.
    pub fn new(model: Model, cut: &'a Tiling, inputs: Vec<&'a Job>, batch: usize, progress: Progress) -> Stream<'a> {
        let batch = model.batch_size(batch);
        let (inputs, translated) = (inputs.into_iter(), Vec::new());
        Stream { model, cut, progress, batch, inputs, window: None, number: 0, translated, tile: 0, given: 0 }
    }

    /// Returns the next translated tile, `[height, width, output channels]` in [-1, 1], as large as the tiles that its
    /// picture was cut into. Runs the next batch first if that is needed.
    ///
    /// # Errors
    /// When an input can no longer be read, a tensor is missing from the checkpoint, or memory runs out.
    ///
    /// # Panics
    /// After the last tile.
    pub fn next(&mut self) -> Result<&[f32]> {
        self.fill()?;
        let start = self.given;
        self.given += self.tile;
        self.progress.advance(1);
        Ok(&self.translated[start..self.given])
    }

    /// Runs the next batch of tiles through the generator, unless a translated one is left or there are no more.
    ///
    /// # Errors
    /// When an input can no longer be read, a tensor is missing from the checkpoint, or memory runs out.
    pub fn fill(&mut self) -> Result<()> {
        if self.given < self.translated.len() {
            return Ok(());
        }
        // The next batch needs the memory of the last one.
        self.translated = Vec::new();
        let (mut size, mut count, mut values) = (Size::square(0), 0, Vec::new());
        while count < self.batch {
            let Some(window) = self.window()? else { break };
            // A batch has tiles of one size.
            if count > 0 && window.tiles().tile() != size {
                break;
            }
            size = window.tiles().tile();
            match window.next()? {
                Some(tile) => values.extend(tile),
                None => {
                    self.window = None;
                    continue;
                }
            }
            count += 1;
        }
        if count > 0 {
            self.translated = self.model.generate(values, size, self.number)?;
            self.number += count as u64;
            (self.tile, self.given) = (self.translated.len() / count, 0);
        }
        Ok(())
    }

    /// Ends the progress display and returns the generator.
    pub fn finish(self) -> Model {
        self.model
    }

    /// The window on the picture from which the next tile is cut; `None` after the last picture.
    fn window(&mut self) -> Result<Option<&mut Window<'a>>> {
        if self.window.is_none()
            && let Some(job) = self.inputs.next()
        {
            let [channels, _] = self.model.channels();
            self.window = Some(Window::open(job, self.cut.tiles(job.shape.size), channels)?);
        }
        Ok(self.window.as_mut())
    }
}
