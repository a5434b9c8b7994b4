//! Facades drawn by the program: pairs of a label map and a picture, unlimited in number and without a download.
//!
//! Picture `n` is a function of the seed and `n` alone. It is planned (`plan`), painted as a relief (`shell`,
//! `openings`) and lit (`canvas`); lengths are shares of the shorter side, so the same facade exists at any size.

mod canvas;
mod grain;
mod openings;
mod plan;
mod shell;

use anyhow::{Result, ensure};
use canvas::Canvas;
use grain::Grain;
use plan::Plan;

use crate::data::decoding::Picture;
use crate::data::pairs::{Fnv, Pair, Pairs};
use crate::data::size::Size;
use crate::engine::philox::{Purpose, Stream};

/// Split of the built-in facades: those to train on are new in every epoch, those held out are always the same and
/// never trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    Train,
    HeldOut,
}

/// The built-in data set: label maps as inputs, pictures of facades as targets.
pub struct Facades {
    seed: u64,
    size: Size,
    channels: [usize; 2],
    epoch_len: usize,
    split: Split,
}

impl Facades {
    /// Shortest side, in pixels, at which windows can still be told apart.
    pub const SHORTEST: usize = 32;

    /// Makes a data set of RGB facades of `size` pixels, with `epoch_len` pairs in an epoch.
    ///
    /// # Errors
    /// When a side is shorter than [`Facades::SHORTEST`].
    pub fn new(seed: u64, size: Size, epoch_len: usize, split: Split) -> Result<Facades> {
        let shortest = Facades::SHORTEST;
        ensure!(
            size.width.min(size.height) >= shortest,
            "built-in facades of {size} are too small to draw: ask for at least {shortest} pixels on each side"
        );
        Ok(Facades { seed, size, channels: [3, 3], epoch_len, split })
    }

    /// Returns the same data set with `channels` channels in the input and in the target, converted as by
    /// [`Picture::with_channels`].
    pub fn with_channels(self, channels: [usize; 2]) -> Facades {
        Facades { channels, ..self }
    }
}

impl Pairs for Facades {
    fn len(&self) -> usize {
        self.epoch_len
    }

    fn pair(&self, epoch: u64, index: usize) -> Result<Pair> {
        let number = match self.split {
            Split::Train => epoch * self.epoch_len as u64 + index as u64,
            // The upper half of all numbers, which no training run reaches.
            Split::HeldOut => (1 << 63) + index as u64,
        };
        let mut stream = Stream::new(self.seed, Purpose::Facade, number);
        let plan = Plan::draw(self.size, &mut stream);
        let grain = Grain::draw(&mut stream);
        let mut canvas = Canvas::new(self.size);
        shell::draw(&mut canvas, &plan, &grain);
        openings::draw(&mut canvas, &plan, &mut stream);
        let [input, target] = canvas.finish(plan.sun);
        Ok(Pair {
            input: Picture::from(&input).with_channels(self.channels[0]),
            target: Picture::from(&target).with_channels(self.channels[1]),
        })
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn facades(seed: u64, side: usize, split: Split) -> Facades {
        Facades::new(seed, Size::square(side), 10, split).expect("the side is long enough")
    }

    fn pair(facades: &Facades, epoch: u64, index: usize) -> Pair {
        facades.pair(epoch, index).expect("a drawing cannot fail")
    }

    #[test]
    fn every_picture_is_new_and_comes_again_when_asked_for() {
        let train = facades(1, 32, Split::Train);
        let mut seen = HashSet::new();
        for (epoch, index) in (0..3).flat_map(|epoch| (0..10).map(move |index| (epoch, index))) {
            let drawn = pair(&train, epoch, index);
            assert_eq!(drawn, pair(&train, epoch, index));
            assert!(seen.insert(drawn.target.samples), "picture {index} of epoch {epoch} was there before");
        }
        for other in [pair(&facades(2, 32, Split::Train), 0, 0), pair(&facades(1, 32, Split::HeldOut), 0, 0)] {
            assert!(seen.insert(other.target.samples));
        }
    }

    #[test]
    fn held_out_pictures_stay_the_same() {
        let held_out = facades(1, 32, Split::HeldOut);
        assert_eq!(pair(&held_out, 0, 3), pair(&held_out, 7, 3));
        assert_ne!(pair(&held_out, 0, 3), pair(&held_out, 0, 4));
    }

    #[test]
    fn draws_at_any_size() {
        for (width, height) in [(32, 32), (33, 47), (256, 32), (32, 256), (96, 64), (131, 128)] {
            let size = Size { width, height };
            let facades = Facades::new(4, size, 6, Split::Train).expect("the sides are long enough");
            for index in 0..6 {
                let drawn = pair(&facades, 0, index);
                assert_eq!((drawn.input.size, drawn.target.size), (size, size));
            }
        }
        assert!(Facades::new(4, Size { width: 64, height: 31 }, 6, Split::Train).is_err());
    }

    /// A small network can learn the facades: below a window there is glass, above the eaves there is sky.
    #[test]
    fn labels_tell_what_the_picture_shows() {
        let train = facades(3, 64, Split::Train);
        let (mut windows, mut walls) = (Vec::new(), Vec::new());
        for index in 0..10 {
            let Pair { input, target } = pair(&train, 0, index);
            for (label, color) in input.to_rgb8().pixels().zip(target.to_rgb8().pixels()) {
                let bright = color.0.iter().map(|&c| f64::from(c)).sum::<f64>() / 3.0;
                match label.0 {
                    color if color == canvas::Label::Window.color() => windows.push(bright),
                    color if color == canvas::Label::Facade.color() => walls.push(bright),
                    _ => {}
                }
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert!(windows.len() > 1000 && walls.len() > 4000, "{} and {} pixels", windows.len(), walls.len());
        assert!(mean(&windows) + 15.0 <= mean(&walls), "{} and {}", mean(&windows), mean(&walls));
    }

    #[test]
    fn the_fingerprint_tells_every_setting() {
        let of =
            |seed, side, len, split| Facades::new(seed, Size::square(side), len, split).map(|f| f.fingerprint()).ok();
        let base = of(1, 64, 10, Split::Train);
        assert_eq!(base, of(1, 64, 10, Split::Train));
        for other in [of(2, 64, 10, Split::Train), of(1, 65, 10, Split::Train), of(1, 64, 11, Split::Train)] {
            assert_ne!(base, other);
        }
        assert_ne!(base, of(1, 64, 10, Split::HeldOut));
    }
}
