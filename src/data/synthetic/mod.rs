//! Facades drawn by the program: pairs of a label map and a picture, without end and without a download.
//!
//! Picture `n` is a function of the seed and `n` alone. It is planned ([`plan`]), painted as a relief ([`shell`],
//! [`openings`]) and lit ([`canvas`]); lengths are shares of the shorter side, so the same facade exists at any size.

mod canvas;
mod grain;
mod openings;
mod plan;
mod shell;

use anyhow::{Result, ensure};
use canvas::Canvas;
use grain::Grain;
use plan::Plan;

use super::{Fnv, Pair, Pairs, Size};
use crate::philox::{Purpose, Stream};

/// Which facades: those to train on are new in every epoch, those held out are always the same and never trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    Train,
    HeldOut,
}

/// The built-in data set: labels in, facades out.
pub struct Facades {
    seed: u64,
    size: Size,
    epoch_len: usize,
    split: Split,
}

impl Facades {
    /// The shortest side on which windows can still be told apart.
    pub const SHORTEST: usize = 32;

    /// Facades of `size`, `epoch_len` in an epoch.
    ///
    /// # Errors
    /// When a side is shorter than [`Facades::SHORTEST`].
    pub fn new(seed: u64, size: Size, epoch_len: usize, split: Split) -> Result<Facades> {
        let shortest = Facades::SHORTEST;
        ensure!(
            size.width.min(size.height) >= shortest,
            "built-in facades of {size} are too small to draw: ask for at least {shortest} pixels on each side"
        );
        Ok(Facades { seed, size, epoch_len, split })
    }
}

impl Pairs for Facades {
    fn len(&self) -> usize {
        self.epoch_len
    }

    fn pair(&self, epoch: u64, index: usize) -> Result<Pair> {
        let number = match self.split {
            Split::Train => epoch * self.epoch_len as u64 + index as u64,
            // The upper half of all numbers, which no training run lives to reach.
            Split::HeldOut => (1 << 63) + index as u64,
        };
        let mut stream = Stream::new(self.seed, Purpose::Facade, number);
        let plan = Plan::draw(self.size, &mut stream);
        let grain = Grain::draw(&mut stream);
        let mut canvas = Canvas::new(self.size);
        shell::draw(&mut canvas, &plan, &grain);
        openings::draw(&mut canvas, &plan, &mut stream);
        Ok(canvas.finish(plan.sun))
    }

    fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::new();
        hash.write(b"facades");
        for value in [self.seed, self.size.width as u64, self.size.height as u64, self.epoch_len as u64] {
            hash.write_u64(value);
        }
        hash.write_u64(self.split as u64);
        hash.0
    }
}
