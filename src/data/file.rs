//! Picture files: read only when they are whole, and never left half-written.

use std::{
    io::{BufRead, BufReader, Cursor, Seek},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, metadata::Orientation};

use super::{FileFormat, Picture, Size, palette::check_palette, picture::Depth};
use crate::files::{self, write_whole};

/// Endings of the files that are looked at, in lower case. What a file is, its contents say.
pub const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp"];

/// [`ENDINGS`] in a sentence.
pub const LOOKED_FOR: &str = ".png, .jpg, .jpeg, .tif, .tiff, .webp and .bmp";

/// Bytes of a picture at most, decoded or scaled: what the image crate lets its decoders take.
pub(super) const MOST_BYTES: u64 = 512 << 20;

/// The picture in a file as it is looked at, with the channels that it has, and how it lies there.
///
/// Where the file notes which side of the picture is up (in EXIF data, or in TIFF's own tag), it is turned that way.
///
/// # Errors
/// When it is no picture of a known kind, or is cut short; the error names the file.
pub fn read_picture(path: &Path) -> Result<(Picture, FileFormat, Depth)> {
    let read = || -> Result<_> { decode(&files::read(path)?) };
    read().with_context(|| path.display().to_string())
}

/// As [`read_picture`], from the bytes of a file.
pub(super) fn decode(bytes: &[u8]) -> Result<(Picture, FileFormat, Depth)> {
    let (format, image) = decode_whole(bytes)?;
    let depth = Depth::of(&image);
    Ok((Picture::from_image(image)?, format, depth))
}

/// Width and height of the picture that [`read_picture`] gives, from the beginning of the file.
///
/// # Errors
/// When it is no picture of a known kind; the error names the file.
pub fn picture_size(path: &Path) -> Result<Size> {
    let read = || -> Result<_> {
        let (_, mut decoder) = decoder(BufReader::new(files::open(path)?))?;
        let (width, height) = decoder.dimensions();
        let (width, height) = (width as usize, height as usize);
        Ok(match orientation(&mut decoder) {
            Orientation::NoTransforms
            | Orientation::Rotate180
            | Orientation::FlipHorizontal
            | Orientation::FlipVertical => Size { width, height },
            _ => Size { width: height, height: width },
        })
    };
    read().with_context(|| path.display().to_string())
}

/// Decodes a PNG, JPEG, TIFF, WebP or BMP, whatever its name says, turns it upright, and refuses one that is cut short.
pub(super) fn decode_whole(bytes: &[u8]) -> Result<(FileFormat, DynamicImage)> {
    // The other decoders miss the end by themselves; that of JPEG fills the rest with grey.
    let is_jpeg = bytes.starts_with(&[0xFF, 0xD8, 0xFF]);
    ensure!(!is_jpeg || jpeg_has_an_end(bytes), "the JPEG file is cut short");
    check_palette(bytes)?;
    let (format, mut decoder) = decoder(Cursor::new(bytes))?;
    ensure!(
        decoder.total_bytes() <= MOST_BYTES,
        "it is too large: {} MiB when decoded, of {} at most; cut it into parts",
        decoder.total_bytes() >> 20,
        MOST_BYTES >> 20
    );
    let orientation = orientation(&mut decoder);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| explained(error, format))?;
    image.apply_orientation(orientation);
    Ok((format, image))
}

/// What reads the picture in `file`, and its format by its first bytes.
fn decoder<'a>(file: impl BufRead + Seek + 'a) -> Result<(FileFormat, impl ImageDecoder + 'a)> {
    let reader = ImageReader::new(file).with_guessed_format()?;
    let format = reader.format().and_then(FileFormat::of).context("not a PNG, JPEG, TIFF, WebP or BMP image")?;
    Ok((format, reader.into_decoder().map_err(|error| explained(error, format))?))
}

/// With what to do about a file that is whole, but of a rare kind: a palette or floats in a TIFF, for one.
fn explained(error: ImageError, format: FileFormat) -> anyhow::Error {
    let is_rare = matches!(error, ImageError::Unsupported(_));
    let error = anyhow::Error::from(error);
    match is_rare {
        true => {
            error.context(format!("this kind of {} is not read, save it as 8- or 16-bit RGB or grey", format.name()))
        }
        false => error,
    }
}

/// How a picture has to be turned. One whose note of it cannot be read stays as it is.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
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
    use std::fs;

    use image::{ImageBuffer, ImageEncoder, Luma, Rgb, Rgba, codecs::png::PngEncoder};

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("the format holds such a picture");
        bytes.into_inner()
    }

    fn decoded(bytes: &[u8]) -> Picture {
        Picture::from_image(decode_whole(bytes).expect("it is whole").1).expect("8 or 16 bits")
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
                if let Ok((_, image)) = decode_whole(&whole[..whole.len() - missing]) {
                    let found = Picture::from_image(image).expect("8 bits");
                    assert!(found == picture, "{format:?} without {missing} bytes is another picture");
                }
            }
        }
        assert!(decode_whole(b"GIF89a").is_err_and(|error| error.to_string().starts_with("not a PNG, JPEG, TIFF")));
    }

    #[test]
    fn a_picture_stands_as_its_file_notes() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let path = dir.path().join("x.png");
        // Each orientation of the EXIF standard, with where the samples [[1, 2, 3], [4, 5, 6]] are looked at.
        let cases: [(usize, usize, [u8; 6]); 8] = [
            (3, 2, [1, 2, 3, 4, 5, 6]),
            (3, 2, [3, 2, 1, 6, 5, 4]),
            (3, 2, [6, 5, 4, 3, 2, 1]),
            (3, 2, [4, 5, 6, 1, 2, 3]),
            (2, 3, [1, 4, 2, 5, 3, 6]),
            (2, 3, [4, 1, 5, 2, 6, 3]),
            (2, 3, [6, 3, 5, 2, 4, 1]),
            (2, 3, [3, 6, 2, 5, 1, 4]),
        ];
        for (orientation, (width, height, samples)) in (1..).zip(cases) {
            let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec();
            exif[18] = orientation;
            let mut bytes = Vec::new();
            let mut encoder = PngEncoder::new(&mut bytes);
            encoder.set_exif_metadata(exif).expect("a PNG holds EXIF data");
            encoder.write_image(&[1, 2, 3, 4, 5, 6], 3, 2, image::ExtendedColorType::L8).expect("six samples");
            fs::write(&path, bytes).expect("a file for the test");
            let expected = Picture::from_bytes(Size { width, height }, 1, &samples);
            assert_eq!(read_picture(&path).expect("a picture").0, expected, "orientation {orientation}");
            assert_eq!(picture_size(&path).expect("a picture"), expected.size, "orientation {orientation}");
        }
    }

    #[test]
    fn a_file_of_a_rare_kind_says_what_to_do() {
        let floats = ImageBuffer::from_pixel(2, 2, Rgb([0.5_f32; 3]));
        let error = |bytes: &[u8]| {
            decode_whole(bytes).and_then(|(_, image)| Picture::from_image(image)).map_err(|error| format!("{error:#}"))
        };
        let rgb = error(&encoded(&floats.into(), ImageFormat::Tiff)).expect_err("32 bits");
        assert!(rgb.contains("convert it to 8 or 16 bits"), "{rgb}");
        // Big-endian, 1x1, 32-bit grey floats without compression, behind the directory of 8 entries.
        let entry = |tag: u16, kind: u16, value: u32| {
            let value = if kind == 3 { value << 16 } else { value };
            [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &1_u32.to_be_bytes(), &value.to_be_bytes()].concat()
        };
        let entries =
            [(256, 3, 1), (257, 3, 1), (258, 3, 32), (259, 3, 1), (262, 3, 1), (273, 4, 110), (279, 4, 4), (339, 3, 3)];
        let entries = entries.map(|(tag, kind, value)| entry(tag, kind, value)).concat();
        let bytes = [b"MM\0*\0\0\0\x08\0\x08", &entries[..], &[0; 8]].concat();
        let grey = error(&bytes).expect_err("32 bits");
        assert!(grey.contains("this kind of TIFF is not read, save it as 8- or 16-bit RGB or grey"), "{grey}");
    }

    #[test]
    fn a_picture_that_is_too_large_is_refused_before_it_takes_memory() {
        let mut bytes = encoded(&ImageBuffer::from_pixel(1, 1, Rgb([0_u8; 3])).into(), ImageFormat::Bmp);
        // Width and height in the header.
        for at in [18, 22] {
            bytes[at..at + 4].copy_from_slice(&30_000_u32.to_le_bytes());
        }
        let error = decode_whole(&bytes).expect_err("2.5 GiB").to_string();
        assert!(error.contains("2574 MiB when decoded, of 512 at most"), "{error}");
    }
}
