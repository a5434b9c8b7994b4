//! The pairs that each training step shows, and the window of each: functions of the seed and the number of the step.
//!
//! So batches may be made in any order and ahead of time, and a run can start at any position and see what it would
//! have seen anyway.

use anyhow::{Result, ensure};

use crate::data::feeding::Window;
use crate::data::pairs::Augment;
use crate::data::size::Size;
use crate::engine::philox::{Purpose, Stream};

/// The grouping of pairs into training steps, with their crops and mirrors.
#[derive(Clone, Copy, Debug)]
pub struct LoaderConfig {
    /// Size of the images in a batch, to which pairs are cropped.
    pub image_size: Size,
    /// Pairs of a training step: the batch size times the number of accumulated batches.
    pub pairs_per_step: usize,
    pub augment: Augment,
    /// True for a new random order in every epoch, false for the order of the data set.
    pub shuffle: bool,
    pub seed: u64,
}

/// A position in the sequence of training steps: the number of the epoch and the number of the step within it, both
/// from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub epoch: u64,
    pub step_in_epoch: usize,
}

/// The draws of all training steps over a data set.
#[derive(Clone, Debug)]
pub struct Draws {
    config: LoaderConfig,
    /// Pairs of the data set.
    len: usize,
    /// An epoch, and the order of the pairs in it, kept from one step to the next.
    order: (u64, Vec<usize>),
}

/// A pair that a training step shows, and the draws of its window.
#[derive(Debug)]
pub struct Draw {
    /// Index of the pair in the data set.
    pub index: usize,
    config: LoaderConfig,
    stream: Stream,
}

impl Draw {
    /// Returns the window of the pair, whose pictures have `have` pixels.
    ///
    /// # Panics
    /// If the image size is wider or higher than `have`.
    pub fn window(mut self, have: Size) -> Window {
        Window::draw(have, self.config.image_size, self.config.augment, &mut self.stream)
    }
}

impl Draws {
    /// Creates the draws over a data set of `len` pairs.
    ///
    /// # Errors
    /// When `config.pairs_per_step` is 0, or the pairs are too few for one step.
    pub fn new(len: usize, config: LoaderConfig) -> Result<Draws> {
        let pairs_per_step = config.pairs_per_step;
        ensure!(pairs_per_step > 0, "a step of 0 pairs trains nothing: ask for at least 1");
        ensure!(
            len >= pairs_per_step,
            "{len} pairs do not fill one step of {pairs_per_step} (--batch times --accumulate): make it at most {len}, \
             or add pairs"
        );
        Ok(Draws { config, len, order: (u64::MAX, Vec::new()) })
    }

    /// Number of training steps in an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.len / self.config.pairs_per_step
    }

    /// Number of pairs at the end of an epoch that are too few for another step and are not seen in that epoch.
    pub fn left_over(&self) -> usize {
        self.len % self.config.pairs_per_step
    }

    /// Returns the number since the start of training, from 0, of the step at `position`.
    pub fn number(&self, position: Position) -> u64 {
        position.epoch * self.steps_per_epoch() as u64 + position.step_in_epoch as u64
    }

    /// Returns the position of the step with this number since the start of training.
    pub fn position(&self, number: u64) -> Position {
        let steps = self.steps_per_epoch() as u64;
        Position { epoch: number / steps, step_in_epoch: (number % steps) as usize }
    }

    /// Returns the pairs that the step with this number since the start of training shows, with their draws.
    pub fn step(&mut self, number: u64) -> Vec<Draw> {
        let Position { epoch, step_in_epoch } = self.position(number);
        let (config, len) = (self.config, self.len);
        if self.order.0 != epoch {
            self.order = (epoch, (0..len).collect());
            if config.shuffle {
                Stream::new(config.seed, Purpose::Shuffle, epoch).shuffle(&mut self.order.1);
            }
        }
        let shown = step_in_epoch * config.pairs_per_step..(step_in_epoch + 1) * config.pairs_per_step;
        let draw = |position: usize| {
            let stream = Stream::new(config.seed, Purpose::Augment, epoch * len as u64 + position as u64);
            Draw { index: self.order.1[position], config, stream }
        };
        shown.map(draw).collect()
    }
}
