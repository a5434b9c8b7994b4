//! Augmentation of a pair by crop and flip.
//!
//! The draws of a pair are made once and used for both of its pictures. If input and target were cropped or mirrored
//! differently, they would no longer show the same thing, and training would silently fail.

use crate::data::decoding::Picture;
use crate::data::pairs::{Augment, Pair};
use crate::data::size::Size;
use crate::engine::philox::Stream;
use crate::engine::samples::Samples;

/// The crop of a pair that the network sees, the same for input and target. `left` and `top` are the upper left corner,
/// in pixels of the resized pictures; the size of the crop is known to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub left: usize,
    pub top: usize,
    /// True if the crop is mirrored left to right.
    pub flip: bool,
}

impl Window {
    /// Draws a window of `size` pixels in pictures of `have` pixels. Its corner is uniformly random with
    /// [`Augment::Jitter`], else the window is in the middle; it is mirrored with probability 1/2, but never with
    /// [`Augment::None`].
    ///
    /// # Panics
    /// If `size` is wider or higher than `have`.
    pub fn draw(have: Size, size: Size, augment: Augment, stream: &mut Stream) -> Window {
        let mut window = Window::middle(have, size);
        if augment == Augment::Jitter {
            let mut corner = |slack: usize| stream.below(slack as u32 + 1) as usize;
            window.left = corner(have.width - size.width);
            window.top = corner(have.height - size.height);
        }
        window.flip = augment != Augment::None && stream.chance(0.5);
        window
    }

    /// Returns the window of `size` pixels in the middle of pictures of `have` pixels, not mirrored. Where the margins
    /// on two sides cannot be equal, the left or the upper one is a pixel smaller.
    ///
    /// # Panics
    /// If `size` is wider or higher than `have`.
    pub fn middle(have: Size, size: Size) -> Window {
        assert!(have.width >= size.width && have.height >= size.height, "a window of {size} in a picture of {have}");
        Window { left: (have.width - size.width) / 2, top: (have.height - size.height) / 2, flip: false }
    }
}

/// The cropped pictures of the pairs of a batch, not yet mirrored: that is done where they are copied to the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    pub inputs: PictureStack,
    pub targets: PictureStack,
    /// For each pair, true if it is to be mirrored left to right.
    pub flips: Vec<bool>,
}

/// The pictures of one side (inputs or targets) of a batch, of equal size and channels: samples `[n, height, width,
/// channels]` in row-major order, of 16 bits each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PictureStack {
    /// `[n, height, width, channels]`; all zero if there are no pictures.
    pub shape: [usize; 4],
    pub samples: Vec<u16>,
}

impl Pictures {
    /// Removes all pictures and keeps their memory for the next ones.
    pub fn clear(&mut self) {
        let Pictures { inputs, targets, flips } = self;
        for stack in [inputs, targets] {
            stack.shape = [0; 4];
            stack.samples.clear();
        }
        flips.clear();
    }

    /// Adds a pair: the part of `size` pixels of both of its pictures, at the corner of `window`.
    ///
    /// # Panics
    /// If the two pictures differ in size, if one side of the pair differs from those in the batch in size or channels,
    /// or if the part reaches beyond the right edge. Nor may it reach beyond the lower edge, which is not checked.
    pub fn push(&mut self, pair: &Pair, window: Window, size: Size) {
        assert_eq!(pair.input.size, pair.target.size, "a pair is two pictures of one size");
        self.inputs.push(&pair.input, window, size);
        self.targets.push(&pair.target, window, size);
        self.flips.push(window.flip);
    }

    /// Returns the samples of all inputs, `[n, h, w, c]`, with their flags for mirroring: they are mirrored when they
    /// are copied to a tensor of this shape.
    pub fn inputs(&self) -> Samples<'_> {
        self.inputs.samples(&self.flips)
    }

    /// Returns the samples of all targets, as [`Pictures::inputs`].
    pub fn targets(&self) -> Samples<'_> {
        self.targets.samples(&self.flips)
    }
}

impl PictureStack {
    fn push(&mut self, picture: &Picture, window: Window, size: Size) {
        let [n, ..] = self.shape;
        let shape = [n + 1, size.height, size.width, picture.channels];
        assert!(n == 0 || self.shape[1..] == shape[1..], "one side of all pairs of a batch has one shape");
        self.shape = shape;
        for row in picture.rows(window.left, window.top, size) {
            self.samples.extend_from_slice(row);
        }
    }

    fn samples<'a>(&'a self, flips: &'a [bool]) -> Samples<'a> {
        Samples { shape: self.shape, values: &self.samples, mirrored: flips }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::engine::philox::Purpose;

    /// A picture whose samples encode their positions.
    fn map(width: usize, height: usize, channels: usize) -> Picture {
        let samples = (0..width * height * channels).map(|i| (i / channels * 50 + i % channels) as u16).collect();
        Picture::new(Size { width, height }, channels, samples)
    }

    fn pair(width: usize, height: usize) -> Pair {
        Pair { input: map(width, height, 3), target: map(width, height, 3) }
    }

    fn draw(pair: &Pair, size: Size, augment: Augment, index: u64) -> [Vec<f32>; 2] {
        let of = |picture: &Picture| vec![f32::NAN; size.pixels() * picture.channels];
        let mut out = [of(&pair.input), of(&pair.target)];
        let [input, target] = &mut out;
        let mut stream = Stream::new(5, Purpose::Augment, index);
        let window = Window::draw(pair.input.size, size, augment, &mut stream);
        let mut pictures = Pictures::default();
        pictures.push(pair, window, size);
        pictures.inputs().normalize(input);
        pictures.targets().normalize(target);
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
        // Five columns, six rows and two mirror images; 400 draws miss any one of them with probability 0.001.
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
        let plain = pair.input.to_f32();
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
    fn without_augmentation_nothing_is_drawn_and_the_middle_is_seen() {
        let pair = pair(16, 14);
        let size = Size { width: 8, height: 9 };
        let middle = pair.input.crop(4, 2, size).to_f32();
        for index in 0..8 {
            let [input, target] = draw(&pair, size, Augment::None, index);
            assert!(input == middle && target == middle, "draw {index}");
        }
    }

    #[test]
    fn a_batch_takes_pairs_of_different_sizes_and_can_be_used_again() {
        let (size, window) = (Size::square(4), Window { left: 0, top: 1, flip: false });
        let mut pictures = Pictures::default();
        pictures.push(&pair(4, 5), window, size);
        pictures.push(&pair(7, 9), Window { flip: true, ..window }, size);
        assert_eq!((pictures.inputs.shape, pictures.flips.clone()), ([2, 4, 4, 3], vec![false, true]));
        assert_eq!(pictures.inputs.samples[..12], pair(4, 5).input.samples[12..24]);
        assert_eq!(pictures.targets.samples[48..60], pair(7, 9).target.samples[21..33]);
        pictures.clear();
        pictures.push(&pair(5, 6), window, Size::square(5));
        assert_eq!((pictures.inputs.shape, pictures.flips.len()), ([1, 5, 5, 3], 1));
    }
}
