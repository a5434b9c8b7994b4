//! Picture files: read only when they are whole, and never left half-written.

use std::{fs, io::Cursor, path::Path};

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, ImageFormat};

use super::{FileFormat, Picture, picture::Depth};
use crate::files::write_whole;

/// Endings of the files that are looked at, in lower case. What a file is, its contents say.
pub const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp"];

/// [`ENDINGS`] in a sentence.
pub const LOOKED_FOR: &str = ".png, .jpg, .jpeg, .tif, .tiff, .webp and .bmp";

/// The picture in a file, with the channels that it has, and how it lies there.
///
/// # Errors
/// When it is no picture of a known kind, or is cut short; the error names the file.
pub fn read_picture(path: &Path) -> Result<(Picture, FileFormat, Depth)> {
    let read = || -> Result<_> {
        let bytes = fs::read(path)?;
        let (format, image) = decode_with_format(&bytes)?;
        let depth = Depth::of(&image);
        Ok((Picture::from_image(image)?, format, depth))
    };
    read().with_context(|| path.display().to_string())
}

/// Decodes a PNG, JPEG, TIFF, WebP or BMP, whatever its name says, and refuses one that is cut short.
pub fn decode_whole(bytes: &[u8]) -> Result<DynamicImage> {
    Ok(decode_with_format(bytes)?.1)
}

/// The same, with its format.
pub(super) fn decode_with_format(bytes: &[u8]) -> Result<(FileFormat, DynamicImage)> {
    let format = FileFormat::of(bytes).context("not a PNG, JPEG, TIFF, WebP or BMP image")?;
    // The other decoders miss the end by themselves; that of JPEG fills the rest with grey.
    ensure!(format != FileFormat::Jpeg || jpeg_has_an_end(bytes), "the JPEG file is cut short");
    Ok((format, image::load_from_memory_with_format(bytes, format.image_format())?))
}

/// Whether a JPEG's markers lead to its end-of-image marker (ITU T.81, annex B). Looking for the marker's bytes is not
/// enough: an embedded thumbnail has one too.
fn jpeg_has_an_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[first, marker]) = bytes.get(at..at + 2) {
        at += match (first, marker) {
            (0xFF, 0xD9) => return true,
            // Compressed data, a byte stuffed after 0xFF in it, a restart marker, or padding before a marker.
            (..0xFF, _) | (_, 0xFF) => 1,
            (_, 0x00 | 0x01 | 0xD0..=0xD7) => 2,
            // A segment: its length counts itself but not the marker.
            _ => match bytes.get(at + 2..at + 4) {
                Some(&[high, low]) => 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        };
    }
    false
}

/// Writes a PNG, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_png(path: &Path, image: &DynamicImage) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).with_context(|| format!("cannot write {}", path.display()))?;
    write_whole(path, &bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, Rgb, Rgba};

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("the format holds such a picture");
        bytes.into_inner()
    }

    fn decoded(bytes: &[u8]) -> Picture {
        Picture::from_image(decode_whole(bytes).expect("it is whole")).expect("8 or 16 bits")
    }

    /// Noise, so that no format can leave any part out.
    fn noise(x: u32, y: u32, channel: u32) -> u16 {
        (x.wrapping_mul(40503) ^ y.wrapping_mul(30011) ^ channel.wrapping_mul(20011)).wrapping_mul(60493) as u16
    }

    #[test]
    fn the_list_of_endings_is_told_as_it_is() {
        let told: Vec<&str> = LOOKED_FOR.split([',', ' ', '.']).filter(|word| !word.is_empty()).collect();
        let expected: Vec<&str> =
            ENDINGS.iter().copied().filter(|ending| *ending != "bmp").chain(["and", "bmp"]).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn every_format_gives_what_was_put_into_it() {
        let rgb = ImageBuffer::from_fn(20, 30, |x, y| Rgb([0, 1, 2].map(|c| noise(x, y, c) as u8)));
        let rgba = ImageBuffer::from_fn(20, 30, |x, y| Rgba([0, 1, 2, 3].map(|c| noise(x, y, c) as u8)));
        let grey = ImageBuffer::from_fn(20, 30, |x, y| Luma([noise(x, y, 0) as u8]));
        let deep_rgb = ImageBuffer::from_fn(20, 30, |x, y| Rgb([0, 1, 2].map(|c| noise(x, y, c))));
        let deep_grey = ImageBuffer::from_fn(20, 30, |x, y| Luma([noise(x, y, 0)]));
        let deep_rgba = ImageBuffer::from_fn(20, 30, |x, y| Rgba([0, 1, 2, 3].map(|c| noise(x, y, c))));
        use ImageFormat::{Bmp, Png, Tiff, WebP};
        let cases: [(DynamicImage, &[ImageFormat]); 6] = [
            (rgb.into(), &[Png, Tiff, WebP, Bmp]),
            (rgba.into(), &[Png, Tiff, WebP]),
            (grey.into(), &[Png, Tiff]),
            (deep_rgb.into(), &[Png, Tiff]),
            (deep_rgba.into(), &[Png, Tiff]),
            (deep_grey.into(), &[Png, Tiff]),
        ];
        for (image, formats) in cases {
            let expected = Picture::from_image(image.clone()).expect("8 or 16 bits");
            for &format in formats {
                let found = decoded(&encoded(&image, format));
                assert!(found == expected, "{format:?} of {:?}", image.color());
            }
        }
    }

    #[test]
    fn jpeg_comes_close_and_16_bits_are_not_black() {
        let slope = ImageBuffer::from_fn(32, 32, |x, y| Rgb([(x * 8) as u8, (y * 8) as u8, 128]));
        let expected = Picture::from(&slope);
        let found = decoded(&encoded(&slope.into(), ImageFormat::Jpeg));
        let largest = found.samples.iter().zip(&expected.samples).map(|(a, b)| a.abs_diff(*b)).max();
        // A slope survives quantisation to within a few of 255 levels.
        assert!(largest.is_some_and(|largest| largest <= 16 * 257), "{largest:?}");
        let deep = ImageBuffer::from_pixel(4, 4, Luma([40000_u16]));
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            assert!(decoded(&encoded(&deep.clone().into(), format)).samples.iter().all(|&sample| sample == 40000));
        }
    }

    #[test]
    fn a_palette_becomes_the_colours_that_it_names() {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 4, 1);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(vec![0, 0, 170, 255, 85, 0, 1, 2, 3]);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(&[2, 0, 1, 1]).expect("four indices");
        writer.finish().expect("an end");
        let picture = decoded(&bytes);
        let colours = [[1, 2, 3], [0, 0, 170], [255, 85, 0], [255, 85, 0]].concat();
        assert_eq!(picture, Picture::from_bytes(picture.size, 3, &colours));
    }

    #[test]
    fn a_file_that_is_cut_short_is_refused_in_every_format() {
        let image: DynamicImage =
            ImageBuffer::from_fn(20, 30, |x, y| Rgb([0, 1, 2].map(|c| noise(x, y, c) as u8))).into();
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Bmp] {
            let whole = encoded(&image, format);
            let picture = decoded(&whole);
            for missing in [whole.len() / 16, whole.len() / 4, whole.len() / 2, whole.len() - 30] {
                assert!(decode_whole(&whole[..whole.len() - missing]).is_err(), "{format:?} without {missing} bytes");
            }
            // The last bytes may hold nothing of the picture: a file without them is refused, or complete.
            for missing in 1..64 {
                if let Ok(image) = decode_whole(&whole[..whole.len() - missing]) {
                    let found = Picture::from_image(image).expect("8 bits");
                    assert!(found == picture, "{format:?} without {missing} bytes is another picture");
                }
            }
        }
        assert!(decode_whole(b"GIF89a").is_err_and(|error| error.to_string().starts_with("not a PNG, JPEG, TIFF")));
    }
}
