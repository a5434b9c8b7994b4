//! The tiles of all results on their way through the network, in batches that may span several results.

use std::vec;

use anyhow::Result;

use super::jobs::Job;
use super::window::Window;
use super::{Cut, Model};
use crate::base::progress::Progress;
use crate::data::Size;

/// Translated tiles, result by result. Each has a number over all of them, which picks its dropout.
pub struct Stream<'a> {
    pub model: Model,
    pub cut: &'a Cut,
    progress: Progress,
    /// Tiles in a batch.
    batch: usize,
    /// Jobs whose tiles have not begun to go in.
    inputs: vec::IntoIter<&'a Job>,
    window: Option<Window<'a>>,
    /// Number of the next tile to go in.
    number: u64,
    /// The tiles of a batch, one behind the other.
    translated: Vec<f32>,
    /// Values in a tile.
    tile: usize,
    given: usize,
}

impl<'a> Stream<'a> {
    /// A stream of the tiles of `inputs`, one job for each result, in order.
    pub fn new(model: Model, cut: &'a Cut, inputs: Vec<&'a Job>, batch: usize, progress: Progress) -> Stream<'a> {
        let batch = model.images_at_once(batch);
        let (inputs, translated) = (inputs.into_iter(), Vec::new());
        Stream { model, cut, progress, batch, inputs, window: None, number: 0, translated, tile: 0, given: 0 }
    }

    /// The next tile, `[height, width, channels]`.
    ///
    /// # Errors
    /// When an input can no longer be read, a tensor is missing from the checkpoint, or memory runs out.
    pub fn next(&mut self) -> Result<&[f32]> {
        self.fill()?;
        let start = self.given;
        self.given += self.tile;
        self.progress.advance(1);
        Ok(&self.translated[start..self.given])
    }

    /// Computes tiles if none is ready and one is left.
    ///
    /// # Errors
    /// As [`Stream::next`].
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

    /// The window of the result whose tiles go in now; `None` behind the last result.
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
