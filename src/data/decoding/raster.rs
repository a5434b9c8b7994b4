//! Pictures in JPEG, WebP and BMP files, decoded as a whole by the image crate.

use std::io::{BufRead, Cursor, ErrorKind, Seek};

use anyhow::{Result, anyhow, bail, ensure};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageReader, Limits};

use crate::data::decoding::file::{Decoded, Header};
use crate::data::decoding::limit::{check_bytes, max_picture_bytes, zeroed};
use crate::data::decoding::picture::{Depth, Picture, WIDEN};
use crate::data::decoding::{FileFormat, jpeg};
use crate::data::size::Size;

/// Bytes that a decoder may take for colour profiles, texts and working memory, beside those of the picture. A profile
/// of half a megabyte can unpack to half a gigabyte.
const BESIDE: u64 = 64 << 20;

/// Decodes the `bytes` of a JPEG, WebP or BMP file, according to `format`, and turns the picture upright.
///
/// # Errors
/// When the file is damaged, cut short, too large, an animation, or of a kind that is not read.
pub fn decode(bytes: &[u8], format: FileFormat) -> Result<Decoded> {
    let frames = if format == FileFormat::WebP { webp_frames(bytes) } else { 1 };
    ensure!(frames <= 1, "it is an animation of {frames} pictures, of which one would be used: save them one by one");
    // The decoder fills missing parts of a JPEG with grey.
    if format == FileFormat::Jpeg {
        jpeg::check(None, bytes)?;
    }
    let mut decoder = decoder(Cursor::new(bytes), format)?;
    let (width, height) = decoder.dimensions();
    let size = Size { width: width as usize, height: height as usize };
    ensure!(size.pixels() > 0, "it has no pixels");
    let color = decoder.color_type();
    let channels = match color {
        ColorType::L8 => 1,
        ColorType::La8 => 2,
        ColorType::Rgb8 => 3,
        ColorType::Rgba8 => 4,
        other => bail!("its samples are {other:?}: convert it to 8 bits"),
    };
    let orientation = orientation(&mut decoder);
    let mut stored: Vec<u8> = zeroed(size.pixels() * usize::from(color.bytes_per_pixel()))?;
    decoder.read_image(&mut stored).map_err(|error| explained(error, format))?;
    let mut samples: Vec<u16> = zeroed(stored.len())?;
    samples.iter_mut().zip(&stored).for_each(|(sample, &byte)| *sample = u16::from(byte) * WIDEN);
    drop(stored);
    Ok(Decoded {
        picture: Picture::new(size, channels, samples).oriented(orientation)?,
        format,
        depth: Depth::Eight,
        is_premultiplied: false,
        carried: Default::default(),
        is_turned: orientation != Orientation::NoTransforms,
    })
}

/// Reads the header of a JPEG, WebP or BMP file, according to `format`.
///
/// # Errors
/// When it is damaged or of a kind that is not read, or the decoded picture would be too large.
pub fn header(file: impl BufRead + Seek, format: FileFormat) -> Result<Header> {
    let mut decoder = decoder(file, format)?;
    let (width, height) = decoder.dimensions();
    let channels = u64::from(decoder.color_type().channel_count());
    Ok(Header {
        size: Size { width: width as usize, height: height as usize },
        orientation: orientation(&mut decoder),
        pages: 1,
        samples: u64::from(width) * u64::from(height) * channels,
    })
}

/// A decoder of the picture in `file`, whose decoded size is bounded. It has not allocated memory yet.
fn decoder<'a>(file: impl BufRead + Seek + 'a, format: FileFormat) -> Result<impl ImageDecoder + 'a> {
    let mut reader = ImageReader::with_format(file, format.image_format());
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_picture_bytes()?.saturating_add(BESIDE));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| explained(error, format))?;
    check_bytes(decoder.total_bytes())?;
    Ok(decoder)
}

/// The orientation of a picture, from its metadata. Metadata that cannot be read count as none.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// An error with advice for files that are whole, but of a rare kind.
fn explained(error: ImageError, format: FileFormat) -> anyhow::Error {
    let name = format.name();
    // The text of the error includes its causes.
    match error {
        ImageError::Unsupported(_) => {
            anyhow!("this kind of {name} is not read, save it as 8-bit RGB or grey: {error}")
        }
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            anyhow!("the {name} file is cut short")
        }
        error => anyhow!("{error}"),
    }
}

/// Number of pictures in an animated WebP.
fn webp_frames(bytes: &[u8]) -> u32 {
    let (mut at, mut frames) = (12, 0);
    while let Some(chunk) = bytes.get(at..at + 8) {
        frames += u32::from(&chunk[..4] == b"ANMF");
        let length = u32::from_le_bytes(chunk[4..].try_into().unwrap_or_default()) as usize;
        // Chunks begin at even offsets.
        at += 8 + length + length % 2;
    }
    frames.max(1)
}

#[cfg(test)]
mod tests {
    use crate::data::decoding::file::decode;

    fn refused(bytes: &[u8]) -> String {
        format!("{:#}", decode(bytes).map(drop).expect_err("it is not read"))
    }

    #[test]
    fn an_animation_is_refused_with_the_number_of_its_pictures() {
        let frames: Vec<u8> = (0..2).flat_map(|_| [&b"ANMF"[..], &3_u32.to_le_bytes(), &[0; 4]].concat()).collect();
        let webp = [&b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0"[..], &[2, 0, 0, 0, 1, 0, 0, 1, 0, 0], &frames].concat();
        assert!(refused(&webp).contains("an animation of 2 pictures"));
    }

    #[test]
    fn headers_that_lie_about_the_size_are_refused() {
        let vp8x = [&[0, 0, 0, 0][..], &(16_383_u32).to_le_bytes()[..3], &(16_383_u32).to_le_bytes()[..3]].concat();
        // A WebP without picture data is refused as damaged.
        assert!(decode(&[b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0", &vp8x[..]].concat()).is_err());
        let jpeg_header = |sof: &[u8]| [&[0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8][..], sof].concat();
        let sof = [
            0x75, 0x30, 0x75, 0x30, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0,
            63, 0,
        ];
        let error = refused(&jpeg_header(&sof));
        assert!(error.contains("2575 MiB when decoded, of 512 at most"), "{error}");
    }
}
