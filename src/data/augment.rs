//! Crop and flip: what the network sees of a pair.
//!
//! The draws of a pair are made once and used for both of its pictures: input and target that are cropped or mirrored
//! apart from each other no longer show the same thing, and training silently fails.

use anyhow::{Result, ensure};

use super::picture::{rows, to_f32};
use super::{Augment, Pair, Picture, ResizeFilter, Size};
use crate::philox::Stream;

/// The part of a pair that the network sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub left: usize,
    pub top: usize,
    /// Mirrored left to right.
    pub flip: bool,
}

/// What is cut out of `pair`, and the pair that it is cut out of.
///
/// [`Augment::Jitter`] crops `size` out of the larger pair; without it (and for a pair too small to be cropped) a pair of
/// another size is resized to `size`.
pub fn draw(pair: Pair, size: Size, augment: Augment, stream: &mut Stream) -> (Pair, Window) {
    let have = pair.input.size;
    assert_eq!(have, pair.target.size, "a pair is two pictures of one size");
    let crop = augment == Augment::Jitter && have.width >= size.width && have.height >= size.height;
    if have != size && !crop {
        let resize = |picture: Picture| picture.resize(size, ResizeFilter::Bicubic);
        let pair = Pair { input: resize(pair.input), target: resize(pair.target) };
        return draw(pair, size, augment, stream);
    }
    let mut corner = |slack: usize| match augment {
        Augment::Jitter => stream.below(slack as u32 + 1) as usize,
        Augment::None | Augment::Flip => 0,
    };
    let (left, top) = (corner(have.width - size.width), corner(have.height - size.height));
    let flip = augment != Augment::None && stream.chance(0.5);
    (pair, Window { left, top, flip })
}

/// The pairs of a batch, with what the network sees of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    pub inputs: Stack,
    pub targets: Stack,
    /// One for each pair; it lies inside of the pictures.
    pub windows: Vec<Window>,
}

/// Pictures of one size and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// `[n, height, width, channels]`; all zero when there are none.
    pub shape: [usize; 4],
    pub samples: Vec<u16>,
}

impl Pictures {
    /// Forgets all pictures and keeps their memory.
    pub fn clear(&mut self) {
        let Pictures { inputs, targets, windows } = self;
        inputs.clear();
        targets.clear();
        windows.clear();
    }

    /// # Errors
    /// When the pair is of another size than those before it.
    pub fn push(&mut self, pair: &Pair, window: Window) -> Result<()> {
        self.inputs.push(&pair.input)?;
        self.targets.push(&pair.target)?;
        self.windows.push(window);
        Ok(())
    }

    /// Writes the windows of all inputs as floats in [-1, 1] to `out`, `[n, size.height, size.width, channels]`.
    pub fn inputs_to_f32(&self, size: Size, out: &mut [f32]) {
        self.inputs.windows_to_f32(&self.windows, size, out);
    }

    /// The same windows of all targets.
    pub fn targets_to_f32(&self, size: Size, out: &mut [f32]) {
        self.targets.windows_to_f32(&self.windows, size, out);
    }
}

impl Stack {
    fn clear(&mut self) {
        self.shape = [0; 4];
        self.samples.clear();
    }

    fn push(&mut self, picture: &Picture) -> Result<()> {
        let [n, height, width, channels] = self.shape;
        let batch = Size { width, height };
        ensure!(
            n == 0 || picture.size == batch,
            "a picture of {} pixels in a batch of {batch}: all must have one size",
            picture.size
        );
        assert!(n == 0 || picture.channels == channels, "one side of all pairs has one number of channels");
        self.shape = [n + 1, picture.size.height, picture.size.width, picture.channels];
        self.samples.extend_from_slice(&picture.samples);
        Ok(())
    }

    fn windows_to_f32(&self, windows: &[Window], size: Size, out: &mut [f32]) {
        let [n, height, width, channels] = self.shape;
        assert_eq!(out.len(), n * size.pixels() * channels, "the output holds a window of {size} of every picture");
        let row = size.width * channels;
        let pictures = self.samples.chunks_exact((height * width * channels).max(1));
        for ((samples, out), window) in pictures.zip(out.chunks_exact_mut(size.pixels() * channels)).zip(windows) {
            let rows = rows(samples, width, channels, window.left, window.top, size);
            for (samples, out) in rows.zip(out.chunks_exact_mut(row)) {
                if window.flip {
                    let mirrored = samples.rchunks_exact(channels);
                    out.chunks_exact_mut(channels).zip(mirrored).for_each(|(out, pixel)| to_f32(pixel, out));
                } else {
                    to_f32(samples, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::philox::Purpose;

    /// A picture whose every sample says where it is.
    fn map(width: usize, height: usize, channels: usize) -> Picture {
        let samples = (0..width * height * channels).map(|i| (i / channels * 50 + i % channels) as u16).collect();
        Picture { size: Size { width, height }, channels, samples }
    }

    fn pair(width: usize, height: usize) -> Pair {
        Pair { input: map(width, height, 3), target: map(width, height, 3) }
    }

    fn draw(pair: &Pair, size: Size, augment: Augment, index: u64) -> [Vec<f32>; 2] {
        let of = |picture: &Picture| vec![f32::NAN; size.pixels() * picture.channels];
        let mut out = [of(&pair.input), of(&pair.target)];
        let [input, target] = &mut out;
        let (pair, window) = super::draw(pair.clone(), size, augment, &mut Stream::new(5, Purpose::Augment, index));
        let mut pictures = Pictures::default();
        pictures.push(&pair, window).unwrap();
        pictures.inputs_to_f32(size, input);
        pictures.targets_to_f32(size, target);
        out
    }

    #[test]
    fn input_and_target_share_every_draw() {
        let size = Size { width: 12, height: 9 };
        let pair = pair(16, 14);
        let mut seen = HashSet::new();
        for index in 0..400 {
            let [input, target] = draw(&pair, size, Augment::Jitter, index);
            assert_eq!(input, target, "draw {index}");
            seen.insert(input.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
        // Five columns, six rows and two mirror images; 400 draws leave out any one with probability 0.001.
        assert!(seen.len() >= 58, "only {} of 60 crops were drawn", seen.len());
    }

    /// A grey input and a target with alpha, whose samples name their pixel.
    #[test]
    fn sides_with_other_channels_share_every_draw_too() {
        let size = Size { width: 12, height: 9 };
        let pair = Pair { input: map(16, 14, 1), target: map(16, 14, 4) };
        for index in 0..50 {
            let [input, target] = draw(&pair, size, Augment::Jitter, index);
            assert!(input.iter().zip(target.chunks_exact(4)).all(|(x, y)| *x == y[0]), "draw {index}");
            for pixel in target.chunks_exact(4) {
                let samples: Vec<f32> = pixel.iter().map(|x| ((x + 1.0) * 32767.5).round() % 50.0).collect();
                assert_eq!(samples, [0.0, 1.0, 2.0, 3.0], "draw {index}: the channels keep their order");
            }
        }
    }

    #[test]
    fn a_flip_mirrors_columns_and_keeps_rows() {
        let pair = pair(6, 4);
        let mut plain = vec![0.0; 6 * 4 * 3];
        pair.input.to_f32(&mut plain);
        let mut mirrored = vec![0.0; 6 * 4 * 3];
        for (i, value) in mirrored.iter_mut().enumerate() {
            let (row, column, channel) = (i / 18, i / 3 % 6, i % 3);
            *value = plain[18 * row + 3 * (5 - column) + channel];
        }
        let mut flips = 0;
        for index in 0..200 {
            let [input, _] = draw(&pair, Size { width: 6, height: 4 }, Augment::Flip, index);
            assert!(input == plain || input == mirrored, "draw {index}");
            flips += usize::from(input == mirrored);
        }
        // Within four standard deviations of half.
        assert!((72..=128).contains(&flips), "{flips} of 200");
    }

    #[test]
    fn without_augmentation_nothing_is_drawn_and_only_the_size_changes() {
        let pair = pair(16, 16);
        let size = Size { width: 8, height: 8 };
        let [first, _] = draw(&pair, size, Augment::None, 0);
        let [second, _] = draw(&pair, size, Augment::None, 1);
        assert_eq!(first, second);
        assert_eq!(Picture::from_f32(size, 3, &first), pair.input.resize(size, ResizeFilter::Bicubic));
    }

    #[test]
    fn a_batch_holds_pairs_of_one_size() {
        let window = Window { left: 0, top: 0, flip: false };
        let mut pictures = Pictures::default();
        pictures.push(&pair(4, 4), window).unwrap();
        let error = pictures.push(&pair(5, 4), window).unwrap_err().to_string();
        assert!(error.contains("5x4") && error.contains("a batch of 4"), "{error}");
        pictures.clear();
        pictures.push(&pair(5, 4), window).unwrap();
        assert_eq!((pictures.inputs.shape, pictures.windows.len()), ([1, 4, 5, 3], 1));
    }
}
