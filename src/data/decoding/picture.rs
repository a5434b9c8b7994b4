//! Pictures in memory: one kind of sample for every file that there is.
//!
//! A sample has 16 bits. An 8-bit value `v` becomes `v * 257`, so black stays black, white stays white, and what the
//! network sees of it is the same float to the bit: `v * 257 / 32767.5` and `v / 127.5` are one number.

use anyhow::{Result, bail, ensure};
use image::{DynamicImage, ImageBuffer, Pixel, RgbImage, metadata::Orientation};

use crate::data::decoding::limit::zeroed;
use crate::data::size::Size;
use crate::engine::samples::{HALF_RANGE, normalize};

/// Factor from an 8-bit value to a 16-bit sample.
pub(super) const WIDEN: u16 = 257;

/// Names of the channels of a picture: element `n - 1` is for `n` channels, where the last of 2 or 4 is alpha.
pub const CHANNELS: [&str; 4] = ["grey", "grey with alpha", "RGB", "RGB with alpha"];

/// As [`CHANNELS`], where the last of 2 or 4 channels is no alpha.
const BANDS: [&str; 4] = ["grey", "grey with a second band", "RGB", "RGB with a fourth band"];

/// Bits of a sample in a picture file: 8 or 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Eight,
    Sixteen,
}

impl Depth {
    /// Bytes of a sample in a file: 1 or 2.
    pub fn bytes(self) -> usize {
        match self {
            Depth::Eight => 1,
            Depth::Sixteen => 2,
        }
    }

    /// Returns the depth of a decoded file: 8 bits if a sample of `image` takes one byte, else 16. Values of fewer than
    /// 8 bits are decoded to 8.
    pub fn from_image(image: &DynamicImage) -> Depth {
        let color = image.color();
        match color.bytes_per_pixel() / color.channel_count() {
            1 => Depth::Eight,
            _ => Depth::Sixteen,
        }
    }
}

/// A picture in memory: samples `[height, width, channels]` in row-major order, of 16 bits each. 0 is black and 65535
/// white; an 8-bit value `v` is the sample `257 v`. The last of 2 or 4 channels is alpha or a band.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub size: Size,
    /// 1 is grey, 2 grey with alpha, 3 RGB, 4 RGB with alpha.
    pub channels: usize,
    /// True if the last of 2 or 4 channels is no alpha but a band: a measurement like the others, such as infrared.
    pub has_extra_band: bool,
    pub samples: Vec<u16>,
}

impl Picture {
    /// Makes a picture of `samples`, `[height, width, channels]`, whose number is not checked. The last of 2 or 4
    /// channels is alpha.
    pub fn new(size: Size, channels: usize, samples: Vec<u16>) -> Picture {
        Picture { size, channels, has_extra_band: false, samples }
    }

    /// Returns the names of the channels, such as `RGB with alpha`.
    pub fn describe(&self) -> &'static str {
        (if self.has_extra_band { BANDS } else { CHANNELS })[self.channels - 1]
    }

    pub fn has_alpha(&self) -> bool {
        self.channels.is_multiple_of(2) && !self.has_extra_band
    }

    pub fn has_band(&self) -> bool {
        self.channels.is_multiple_of(2) && self.has_extra_band
    }

    /// Makes a picture of 8-bit `values`, `[height, width, channels]`: `v` becomes `257 v`. The last of 2 or 4 channels
    /// is alpha.
    ///
    /// # Panics
    /// If there is not one value for every channel of every pixel.
    pub fn from_bytes(size: Size, channels: usize, values: &[u8]) -> Picture {
        assert_eq!(values.len(), size.pixels() * channels, "a value for every channel of every pixel");
        Picture::new(size, channels, values.iter().map(|&value| u16::from(value) * WIDEN).collect())
    }

    /// Makes a picture of a decoded file, with the channels that `image` has.
    ///
    /// # Errors
    /// When its samples are not integers of 8 or 16 bits (32-bit floats have no defined white), or it has no pixels.
    pub fn from_image(image: DynamicImage) -> Result<Picture> {
        fn shape<P: Pixel>(image: &ImageBuffer<P, Vec<P::Subpixel>>) -> (Size, usize) {
            let (width, height) = image.dimensions();
            (Size { width: width as usize, height: height as usize }, usize::from(P::CHANNEL_COUNT))
        }
        fn from_bytes<P: Pixel<Subpixel = u8>>(image: &ImageBuffer<P, Vec<u8>>) -> Picture {
            let (size, channels) = shape(image);
            Picture::from_bytes(size, channels, image.as_raw())
        }
        fn from_words<P: Pixel<Subpixel = u16>>(image: ImageBuffer<P, Vec<u16>>) -> Picture {
            let (size, channels) = shape(&image);
            Picture::new(size, channels, image.into_raw())
        }
        let picture = match image {
            DynamicImage::ImageLuma8(image) => from_bytes(&image),
            DynamicImage::ImageLumaA8(image) => from_bytes(&image),
            DynamicImage::ImageRgb8(image) => from_bytes(&image),
            DynamicImage::ImageRgba8(image) => from_bytes(&image),
            DynamicImage::ImageLuma16(image) => from_words(image),
            DynamicImage::ImageLumaA16(image) => from_words(image),
            DynamicImage::ImageRgb16(image) => from_words(image),
            DynamicImage::ImageRgba16(image) => from_words(image),
            other => bail!("its samples are {:?}: convert it to 8 or 16 bits", other.color()),
        };
        ensure!(picture.size.pixels() > 0, "it has no pixels");
        Ok(picture)
    }

    /// Converts the picture to 1 (grey), 2 (grey with alpha), 3 (RGB) or 4 channels (RGB with alpha). Grey is the
    /// weighted sum of ITU-R BT.601, as in PIL's mode L. Missing alpha is opaque. Alpha or a band (see
    /// `has_extra_band`) is dropped if `channels` is odd, and otherwise stays the last channel.
    ///
    /// # Panics
    /// If `channels` is not from 1 to 4.
    pub fn with_channels(self, channels: usize) -> Picture {
        if self.channels == channels {
            return self;
        }
        let mut samples = Vec::with_capacity(self.size.pixels() * channels);
        for pixel in self.samples.chunks_exact(self.channels) {
            let (rgb, alpha) = match *pixel {
                [grey] => ([grey; 3], u16::MAX),
                [grey, alpha] => ([grey; 3], alpha),
                [r, g, b] => ([r, g, b], u16::MAX),
                [r, g, b, alpha] => ([r, g, b], alpha),
                _ => unreachable!("a picture has 1 to 4 channels"),
            };
            match channels {
                1 => samples.push(grey(rgb)),
                2 => samples.extend([grey(rgb), alpha]),
                3 => samples.extend(rgb),
                4 => samples.extend([rgb[0], rgb[1], rgb[2], alpha]),
                _ => panic!("a picture cannot have {channels} channels"),
            }
        }
        let has_extra_band = self.has_band() && channels.is_multiple_of(2);
        Picture { channels, has_extra_band, samples, ..self }
    }

    /// Copies the part of `size` pixels whose upper left corner is at (`left`, `top`).
    ///
    /// # Panics
    /// If the part reaches beyond the right edge. Nor may it reach beyond the lower edge, which is not checked.
    pub fn crop(&self, left: usize, top: usize, size: Size) -> Picture {
        let samples = self.rows(left, top, size).flatten().copied().collect();
        Picture { size, samples, ..*self }
    }

    /// The rows of the part of `size` pixels whose upper left corner is at (`left`, `top`), from the top.
    pub(crate) fn rows(&self, left: usize, top: usize, size: Size) -> impl Iterator<Item = &[u16]> {
        let (channels, width) = (self.channels, self.size.width);
        let rows = self.samples.chunks_exact(width * channels).skip(top).take(size.height);
        rows.map(move |row| &row[left * channels..(left + size.width) * channels])
    }

    /// Removes the topmost `count` rows.
    ///
    /// # Panics
    /// If the picture has fewer rows.
    pub fn drop_rows(&mut self, count: usize) {
        self.samples.drain(..count * self.size.width * self.channels);
        self.size.height -= count;
    }

    /// Adds the rows of `below` at the bottom.
    ///
    /// # Panics
    /// If `below` has another width or number of channels.
    pub fn append(&mut self, below: Picture) {
        assert_eq!((below.size.width, below.channels), (self.size.width, self.channels), "rows of one kind");
        self.size.height += below.size.height;
        match self.samples.is_empty() {
            true => self.samples = below.samples,
            false => self.samples.extend(below.samples),
        }
    }

    /// The picture turned upright from its stored orientation.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(super) fn oriented(self, orientation: Orientation) -> Result<Picture> {
        use Orientation::{FlipHorizontal, FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270};
        if orientation == NoTransforms {
            return Ok(self);
        }
        let Size { width, height } = self.size;
        let size = if is_transposed(orientation) { Size { width: height, height: width } } else { self.size };
        let mut samples: Vec<u16> = zeroed(self.samples.len())?;
        for (index, pixel) in samples.chunks_exact_mut(self.channels).enumerate() {
            let (x, y) = (index % size.width, index / size.width);
            let (column, row) = match orientation {
                NoTransforms => (x, y),
                FlipHorizontal => (width - 1 - x, y),
                Rotate180 => (width - 1 - x, height - 1 - y),
                FlipVertical => (x, height - 1 - y),
                Rotate90FlipH => (y, x),
                Rotate90 => (y, height - 1 - x),
                // Rotate270FlipH
                Rotate270 => (width - 1 - y, x),
                _ => (width - 1 - y, height - 1 - x),
            };
            let from = (row * width + column) * self.channels;
            pixel.copy_from_slice(&self.samples[from..from + self.channels]);
        }
        Ok(Picture { size, samples, ..self })
    }

    /// Returns copies of the left and the right half, in this order.
    ///
    /// # Errors
    /// When the width is odd.
    pub fn halves(&self) -> Result<[Picture; 2]> {
        let half = self.size.half()?;
        Ok([0, half.width].map(|left| self.crop(left, 0, half)))
    }

    /// Converts the samples to floats in [-1, 1], `[height, width, channels]`: 0 becomes -1, and 65535 becomes 1.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.samples.len()];
        normalize(&self.samples, &mut values);
        values
    }

    /// Makes a picture of floats in [-1, 1], `[height, width, channels]`: -1 becomes 0, and 1 becomes 65535. Values
    /// outside are clamped, and NaN becomes 0. The last of 2 or 4 channels is alpha.
    ///
    /// # Panics
    /// If there is not one value for every channel of every pixel.
    pub fn from_f32(size: Size, channels: usize, values: &[f32]) -> Picture {
        assert_eq!(values.len(), size.pixels() * channels, "a value for every channel of every pixel");
        // The cast saturates: it clamps to the range of a sample by itself.
        Picture::new(size, channels, values.iter().map(|&x| ((x + 1.0) * HALF_RANGE).round() as u16).collect())
    }

    /// Converts the picture to an image of 8 bits a sample, rounded to the nearest value, with the same number of
    /// channels. The last of 2 or 4 becomes alpha, even if it is a band (see `has_extra_band`).
    pub fn to_image8(&self) -> DynamicImage {
        let (width, height) = (self.size.width as u32, self.size.height as u32);
        let bytes = self.samples.iter().map(|&sample| narrow(sample)).collect();
        let image = match self.channels {
            1 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
            2 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLumaA8),
            3 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
            _ => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
        };
        image.expect("a sample for every channel of every pixel")
    }

    /// Converts the picture to an image of 16 bits a sample, with the same number of channels. The last of 2 or 4
    /// becomes alpha, even if it is a band (see `has_extra_band`).
    pub fn to_image16(&self) -> DynamicImage {
        let (width, height) = (self.size.width as u32, self.size.height as u32);
        let words = self.samples.clone();
        let image = match self.channels {
            1 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLuma16),
            2 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLumaA16),
            3 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgb16),
            _ => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgba16),
        };
        image.expect("a sample for every channel of every pixel")
    }

    /// Drops the last channel if it is a band (see `has_extra_band`): of the formats, only TIFF can mark it as no
    /// alpha.
    pub fn without_band(self) -> Picture {
        let colors = if self.has_band() { self.channels - 1 } else { self.channels };
        self.with_channels(colors)
    }

    /// Converts the picture to 8-bit RGB for display. Grey is copied to the three channels, a picture with alpha is
    /// composited on white, and a band (see `has_extra_band`) is dropped.
    pub fn to_rgb8(&self) -> RgbImage {
        let over_white = |sample: u16, alpha: u16| {
            let [sample, alpha, white] = [sample, alpha, u16::MAX].map(u32::from);
            narrow(((sample * alpha + white * (white - alpha) + white / 2) / white) as u16)
        };
        let mut bytes = Vec::with_capacity(self.size.pixels() * 3);
        for pixel in self.clone().without_band().with_channels(4).samples.chunks_exact(4) {
            bytes.extend(pixel[..3].iter().map(|&sample| over_white(sample, pixel[3])));
        }
        RgbImage::from_raw(self.size.width as u32, self.size.height as u32, bytes).expect("three bytes for every pixel")
    }
}

/// True if turning a picture with this orientation upright exchanges width and height.
pub(super) fn is_transposed(orientation: Orientation) -> bool {
    use Orientation::{FlipHorizontal, FlipVertical, NoTransforms, Rotate180};
    !matches!(orientation, NoTransforms | Rotate180 | FlipHorizontal | FlipVertical)
}

impl From<&RgbImage> for Picture {
    fn from(image: &RgbImage) -> Picture {
        let (width, height) = image.dimensions();
        Picture::from_bytes(Size { width: width as usize, height: height as usize }, 3, image.as_raw())
    }
}

/// Grey of an RGB pixel by PIL's weights, 0.299, 0.587 and 0.114, in parts of 65536.
fn grey(rgb: [u16; 3]) -> u16 {
    let [r, g, b] = rgb.map(u64::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u16
}

/// The 8-bit value nearest to a sample.
pub(super) fn narrow(sample: u16) -> u8 {
    ((u32::from(sample) + u32::from(WIDEN) / 2) / u32::from(WIDEN)) as u8
}

#[cfg(test)]
mod tests {
    use image::{GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, Rgb32FImage, Rgba};

    use super::*;

    fn picture(channels: usize, samples: &[u16]) -> Picture {
        let size = Size { width: samples.len() / channels, height: 1 };
        Picture::new(size, channels, samples.to_vec())
    }

    #[test]
    fn the_network_sees_of_an_8_bit_value_what_it_saw_of_the_byte() {
        let bytes: Vec<u8> = (0..=255).collect();
        let seen = Picture::from_bytes(Size { width: 16, height: 16 }, 1, &bytes).to_f32();
        for (byte, seen) in bytes.into_iter().zip(seen) {
            let of_byte = f32::from(byte) / 127.5 - 1.0;
            assert_eq!(seen.to_bits(), of_byte.to_bits(), "{byte}: {seen} and {of_byte}");
        }
    }

    #[test]
    fn every_sample_survives_the_floats_and_values_outside_are_clamped() {
        let all = Picture::new(Size::square(256), 1, (0..=u16::MAX).collect());
        let values = all.to_f32();
        assert!(values.iter().all(|x| x.abs() <= 1.0));
        assert_eq!((values[0], values[65535]), (-1.0, 1.0));
        assert_eq!(Picture::from_f32(all.size, 1, &values), all);
        let clamped = Picture::from_f32(Size::square(1), 3, &[-7.0, 7.0, 0.0]);
        assert_eq!(clamped.samples, [0, u16::MAX, 32768]);
        assert_eq!(clamped.to_image8().into_rgb8().into_raw(), [0, 255, 128]);
    }

    #[test]
    fn every_8_bit_value_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        for channels in 1..=4 {
            let size = Size { width: 16 / channels, height: 16 };
            let picture = Picture::from_bytes(size, channels, &bytes[..size.pixels() * channels]);
            for image in [picture.to_image8(), picture.to_image16()] {
                assert_eq!(usize::from(image.color().channel_count()), channels);
                assert_eq!(Picture::from_image(image).expect("8 or 16 bits"), picture);
            }
        }
        assert_eq!([0, 128, 129, 65406, 65407, 65535].map(narrow), [0, 0, 1, 254, 255, 255]);
    }

    /// Samples are kept as they are, also those of 16-bit files that other programs show as black.
    #[test]
    fn sixteen_bits_are_kept() {
        let image = ImageBuffer::from_fn(3, 1, |x, _| Luma([[1_u16, 300, 65535][x as usize]]));
        assert_eq!(Picture::from_image(image.into()).expect("16 bits").samples, [1, 300, 65535]);
        let image = ImageBuffer::from_pixel(1, 1, Rgba([1_u16, 2, 3, 4]));
        let picture = Picture::from_image(image.into()).expect("16 bits");
        assert_eq!((picture.channels, picture.samples), (4, vec![1, 2, 3, 4]));
        assert!(Picture::from_image(Rgb32FImage::new(1, 1).into()).is_err());
    }

    #[test]
    fn channels_become_others() {
        let rgba = picture(4, &[65535, 0, 0, 9, 0, 65535, 0, 9, 0, 0, 65535, 9]);
        // 0.299, 0.587 and 0.114 of the largest sample.
        assert_eq!(rgba.clone().with_channels(1).samples, [19595, 38469, 7471]);
        assert_eq!(rgba.clone().with_channels(2).samples, [19595, 9, 38469, 9, 7471, 9]);
        assert_eq!(rgba.clone().with_channels(3).samples, [65535, 0, 0, 0, 65535, 0, 0, 0, 65535]);
        assert_eq!(picture(1, &[7]).with_channels(4).samples, [7, 7, 7, 65535]);
        assert_eq!(picture(3, &[1, 2, 3]).with_channels(4).samples, [1, 2, 3, 65535]);
        assert_eq!(picture(2, &[7, 8]).with_channels(3).samples, [7, 7, 7]);
        for grey in [0, 1, 255, 257, 32768, 65534, 65535] {
            assert_eq!(picture(3, &[grey; 3]).with_channels(1).samples, [grey]);
        }
    }

    #[test]
    fn a_crop_is_the_part_asked_for() {
        let whole = Picture::new(Size { width: 4, height: 3 }, 2, (0..24).collect());
        let part = whole.crop(1, 1, Size { width: 2, height: 2 });
        assert_eq!(part.samples, [10, 11, 12, 13, 18, 19, 20, 21]);
        assert_eq!(whole.crop(0, 0, whole.size), whole);
    }

    #[test]
    fn what_is_transparent_is_shown_on_white() {
        let white = u16::MAX;
        assert_eq!(picture(1, &[77 * 257]).to_rgb8().into_raw(), [77; 3]);
        assert_eq!(picture(4, &[0, 257, 514, white]).to_rgb8().into_raw(), [0, 1, 2]);
        assert_eq!(picture(4, &[0, 257, 514, 0]).to_rgb8().into_raw(), [255; 3]);
        assert_eq!(picture(2, &[0, 128 * 257]).to_rgb8().into_raw(), [127; 3]);
    }

    #[test]
    fn eight_bit_images_of_all_kinds_are_taken() {
        let taken = |image: DynamicImage| Picture::from_image(image).expect("8 bits").samples;
        assert_eq!(taken(GrayImage::from_pixel(1, 1, Luma([2])).into()), [514]);
        assert_eq!(taken(GrayAlphaImage::from_pixel(1, 1, LumaA([2, 3])).into()), [514, 771]);
        assert_eq!(taken(RgbImage::from_pixel(1, 1, Rgb([1, 2, 3])).into()), [257, 514, 771]);
    }
}
