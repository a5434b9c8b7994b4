//! From 8-bit pictures to the floats that the network sees, with crop and flip on the way.
//!
//! The draws of a pair are made once and used for both of its pictures: input and target that are cropped or mirrored
//! apart from each other no longer show the same thing, and training silently fails.

use anyhow::{Result, ensure};
use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::U8x3,
};
use image::RgbImage;

use super::{Augment, Pair, Size};
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
    let have = Size::of(&pair.input);
    assert_eq!(have, Size::of(&pair.target), "a pair is two pictures of one size");
    let crop = augment == Augment::Jitter && have.width >= size.width && have.height >= size.height;
    if have != size && !crop {
        let pair = Pair { input: resize(&pair.input, size), target: resize(&pair.target, size) };
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

/// The pairs of a batch as bytes, all of one size, with what the network sees of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    /// `[n, height, width, 3]`.
    pub inputs: Vec<u8>,
    pub targets: Vec<u8>,
    /// Of each picture; [`Window`]s lie inside of it.
    pub size: Option<Size>,
    pub windows: Vec<Window>,
}

impl Pictures {
    /// Forgets all pictures and keeps their memory.
    pub fn clear(&mut self) {
        let Pictures { inputs, targets, size, windows } = self;
        inputs.clear();
        targets.clear();
        windows.clear();
        *size = None;
    }

    /// # Errors
    /// When the pair is of another size than those before it.
    pub fn push(&mut self, pair: &Pair, window: Window) -> Result<()> {
        let size = Size::of(&pair.input);
        let batch = *self.size.get_or_insert(size);
        ensure!(size == batch, "a pair of {size} pixels in a batch of {batch}: all must have the size to load at");
        self.inputs.extend_from_slice(pair.input.as_raw());
        self.targets.extend_from_slice(pair.target.as_raw());
        self.windows.push(window);
        Ok(())
    }

    /// Writes the windows of all inputs as floats in [-1, 1] to `out`, `[n, size.height, size.width, 3]`.
    pub fn inputs_to_f32(&self, size: Size, out: &mut [f32]) {
        self.windows_to_f32(&self.inputs, size, out);
    }

    /// The same windows of all targets.
    pub fn targets_to_f32(&self, size: Size, out: &mut [f32]) {
        self.windows_to_f32(&self.targets, size, out);
    }

    fn windows_to_f32(&self, bytes: &[u8], size: Size, out: &mut [f32]) {
        let Some(have) = self.size else { return };
        let pictures = bytes.chunks_exact(have.pixels() * 3).zip(out.chunks_exact_mut(size.pixels() * 3));
        for ((bytes, out), &window) in pictures.zip(&self.windows) {
            convert_window(bytes, have.width, window, size, out);
        }
    }
}

/// Copies the window of `size` of a picture of `width` to `out`.
fn convert_window(bytes: &[u8], width: usize, Window { left, top, flip }: Window, size: Size, out: &mut [f32]) {
    assert_eq!(out.len(), size.pixels() * 3, "the output holds one picture of {size}");
    let stride = width * 3;
    for (y, out) in out.chunks_exact_mut(size.width * 3).enumerate() {
        let start = (top + y) * stride + left * 3;
        let row = &bytes[start..start + size.width * 3];
        if flip {
            for (out, pixel) in out.chunks_exact_mut(3).zip(row.rchunks_exact(3)) {
                convert(pixel, out);
            }
        } else {
            convert(row, out);
        }
    }
}

/// 0..=255 to [-1, 1].
fn convert(bytes: &[u8], out: &mut [f32]) {
    for (out, &byte) in out.iter_mut().zip(bytes) {
        *out = f32::from(byte) / 127.5 - 1.0;
    }
}

/// Writes `image` as floats in [-1, 1] to `out`, `[height, width, 3]`.
pub fn to_f32(image: &RgbImage, out: &mut [f32]) {
    assert_eq!(out.len(), image.as_raw().len(), "the output holds the whole picture");
    convert(image.as_raw(), out);
}

/// The picture that `values` (`[height, width, 3]`, from -1 to 1) stand for; values outside are clamped.
pub fn to_image(values: &[f32], size: Size) -> RgbImage {
    // The cast saturates: it clamps to 0..=255 by itself.
    let bytes = values.iter().map(|&x| ((x + 1.0) * 127.5).round() as u8).collect();
    RgbImage::from_raw(size.width as u32, size.height as u32, bytes).expect("three values for every pixel")
}

/// Resizes by bicubic convolution (Catmull-Rom), whose kernel widens with the reduction so that nothing aliases.
pub fn resize(image: &RgbImage, size: Size) -> RgbImage {
    let (width, height) = (size.width as u32, size.height as u32);
    // Typed images: the crate's dynamic ones would compile every pixel format that it knows into this one, for minutes.
    let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.as_raw())
        .expect("an image holds three bytes for every pixel");
    let mut bytes = vec![0; size.pixels() * 3];
    let mut resized = TypedImage::<U8x3>::from_buffer(width, height, &mut bytes).expect("three bytes for every pixel");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize_typed(&source, &mut resized, &options).expect("the whole of the source is a valid crop");
    RgbImage::from_raw(width, height, bytes).expect("three bytes for every pixel")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use image::Rgb;

    use super::*;
    use crate::philox::Purpose;

    /// A picture whose every pixel says where it is.
    fn map(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8 * 7, y as u8 * 5, (x + y * width) as u8]))
    }

    fn draw(pair: &Pair, size: Size, augment: Augment, index: u64) -> [Vec<f32>; 2] {
        let mut out = [vec![f32::NAN; size.pixels() * 3], vec![f32::NAN; size.pixels() * 3]];
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
        let pair = Pair { input: map(16, 14), target: map(16, 14) };
        let mut seen = HashSet::new();
        for index in 0..400 {
            let [input, target] = draw(&pair, size, Augment::Jitter, index);
            assert_eq!(input, target, "draw {index}");
            seen.insert(input.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
        // Five columns, six rows and two mirror images; 400 draws leave out any one with probability 0.001.
        assert!(seen.len() >= 58, "only {} of 60 crops were drawn", seen.len());
    }

    #[test]
    fn a_flip_mirrors_columns_and_keeps_rows() {
        let pair = Pair { input: map(6, 4), target: map(6, 4) };
        let mut plain = vec![0.0; 6 * 4 * 3];
        to_f32(&pair.input, &mut plain);
        let mut mirrored = vec![0.0; 6 * 4 * 3];
        to_f32(&image::imageops::flip_horizontal(&pair.input), &mut mirrored);
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
        let pair = Pair { input: map(16, 16), target: map(16, 16) };
        let size = Size { width: 8, height: 8 };
        let [first, _] = draw(&pair, size, Augment::None, 0);
        let [second, _] = draw(&pair, size, Augment::None, 1);
        assert_eq!(first, second);
        assert_eq!(to_image(&first, size), resize(&pair.input, size));
    }

    #[test]
    fn a_batch_holds_pairs_of_one_size() {
        let window = Window { left: 0, top: 0, flip: false };
        let pair = |side| Pair { input: map(side, 4), target: map(side, 4) };
        let mut pictures = Pictures::default();
        pictures.push(&pair(4), window).unwrap();
        let error = pictures.push(&pair(5), window).unwrap_err().to_string();
        assert!(error.contains("5x4") && error.contains("a batch of 4"), "{error}");
        pictures.clear();
        pictures.push(&pair(5), window).unwrap();
        assert_eq!((pictures.inputs.len(), pictures.windows.len()), (60, 1));
    }

    #[test]
    fn every_byte_survives_the_floats_and_values_outside_are_clamped() {
        let image = RgbImage::from_fn(16, 16, |x, y| Rgb([(x + y * 16) as u8; 3]));
        let mut values = vec![f32::NAN; 16 * 16 * 3];
        to_f32(&image, &mut values);
        assert!(values.iter().all(|x| x.abs() <= 1.0));
        assert_eq!((values[0], values[values.len() - 1]), (-1.0, 1.0));
        assert_eq!(to_image(&values, Size::square(16)), image);
        let pixel = to_image(&[-7.0, 7.0, 0.0], Size::square(1));
        assert_eq!(pixel.as_raw(), &[0, 255, 128]);
    }

    #[test]
    fn reducing_does_not_alias() {
        // Stripes of one pixel become an even grey; without a widened kernel they would stay black or white.
        let stripes = RgbImage::from_fn(64, 64, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }; 3]));
        let small = resize(&stripes, Size::square(16));
        for pixel in small.pixels().skip(1).step_by(2) {
            assert!((i32::from(pixel[0]) - 128).abs() <= 24, "{pixel:?}");
        }
    }
}
