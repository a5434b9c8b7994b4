//! Pictures in PNG, JPEG, WebP and BMP files, by the decoders of the image crate.

use std::io::{BufRead, Cursor, ErrorKind, Read, Seek};

use anyhow::{Result, anyhow, bail, ensure};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageReader, Limits};

use super::file::{Decoded, Header};
use super::limit::{check_bytes, most_bytes, zeroed};
use super::palette::check_palette;
use super::picture::{Depth, Picture};
use super::{FileFormat, Size, jpeg};

/// Bytes of colour profiles, texts and working memory beside those of the picture: what a decoder may take. A profile
/// of half a megabyte can unpack to half a gigabyte.
const BESIDE: u64 = 64 << 20;

/// # Errors
/// When the file is damaged, cut short, too large, an animation, or of a kind that is not read.
pub fn decode(bytes: &[u8], format: FileFormat) -> Result<Decoded> {
    let frames = match format {
        FileFormat::Png => png_frames(bytes),
        FileFormat::WebP => webp_frames(bytes),
        _ => 1,
    };
    ensure!(frames <= 1, "it is an animation of {frames} pictures, of which one would be used: save them one by one");
    if format == FileFormat::Png {
        check_palette(bytes)?;
    }
    // A decoder fills with grey what is missing in a JPEG.
    if format == FileFormat::Jpeg {
        jpeg::check(None, bytes)?;
    }
    let mut decoder = decoder(Cursor::new(bytes), format)?;
    let (width, height) = decoder.dimensions();
    let size = Size { width: width as usize, height: height as usize };
    ensure!(size.pixels() > 0, "it has no pixels");
    let color = decoder.color_type();
    let (channels, depth) = match color {
        ColorType::L8 => (1, Depth::Eight),
        ColorType::La8 => (2, Depth::Eight),
        ColorType::Rgb8 => (3, Depth::Eight),
        ColorType::Rgba8 => (4, Depth::Eight),
        ColorType::L16 => (1, Depth::Sixteen),
        ColorType::La16 => (2, Depth::Sixteen),
        ColorType::Rgb16 => (3, Depth::Sixteen),
        ColorType::Rgba16 => (4, Depth::Sixteen),
        other => bail!("its samples are {other:?}: convert it to 8 or 16 bits"),
    };
    let orientation = orientation(&mut decoder);
    let mut stored: Vec<u8> = zeroed(size.pixels() * usize::from(color.bytes_per_pixel()))?;
    decoder.read_image(&mut stored).map_err(|error| explained(error, format))?;
    let mut samples: Vec<u16> = zeroed(size.pixels() * channels)?;
    match depth {
        Depth::Eight => samples.iter_mut().zip(&stored).for_each(|(sample, &byte)| *sample = u16::from(byte) * 257),
        Depth::Sixteen => {
            let words = stored.chunks_exact(2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
            samples.iter_mut().zip(words).for_each(|(sample, word)| *sample = word);
        }
    }
    drop(stored);
    Ok(Decoded {
        picture: Picture::new(size, channels, samples).oriented(orientation)?,
        format,
        depth,
        is_premultiplied: false,
        carried: Default::default(),
        is_turned: orientation != Orientation::NoTransforms,
    })
}

/// The header of a picture file.
///
/// # Errors
/// When it is damaged or of a kind that is not read.
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

/// A decoder of the picture in `file`, whose decoded size is bounded: it has allocated nothing yet.
fn decoder<'a>(mut file: impl BufRead + Seek + 'a, format: FileFormat) -> Result<impl ImageDecoder + 'a> {
    let most = match format {
        FileFormat::Png => most_bytes()?.min(png_bytes(&mut file)?),
        _ => most_bytes()?,
    };
    let mut reader = ImageReader::with_format(file, format.image_format());
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(most.saturating_add(BESIDE));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| explained(error, format))?;
    check_bytes(decoder.total_bytes())?;
    Ok(decoder)
}

/// The orientation of a picture, from its metadata. One that cannot be read counts as none.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// With what to do about a file that is whole, but of a rare kind.
fn explained(error: ImageError, format: FileFormat) -> anyhow::Error {
    let name = format.name();
    // Its text says its causes already.
    match error {
        ImageError::Unsupported(_) => {
            anyhow!("this kind of {name} is not read, save it as 8- or 16-bit RGB or grey: {error}")
        }
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            anyhow!("the {name} file is cut short")
        }
        error => anyhow!("{error}"),
    }
}

/// Bytes of a PNG of the most channels and bits at the size that its header says.
fn png_bytes(file: &mut (impl BufRead + Seek)) -> Result<u64> {
    let mut header = Vec::new();
    file.take(24).read_to_end(&mut header)?;
    file.rewind()?;
    let side = |at: usize| {
        header.get(at..at + 4).map_or(0, |side| side.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    };
    Ok(side(16).saturating_mul(side(20)).saturating_mul(8))
}

/// Pictures of an animated PNG, by the chunk that counts them: it stands before the data.
fn png_frames(bytes: &[u8]) -> u32 {
    let mut at = 8;
    while let Some(chunk) = bytes.get(at..at + 12) {
        let [length, count] =
            [0, 8].map(|offset| u32::from_be_bytes(chunk[offset..offset + 4].try_into().unwrap_or_default()));
        match &chunk[4..8] {
            b"acTL" => return count,
            b"IDAT" | b"IEND" => break,
            _ => at += 12 + length as usize,
        }
    }
    1
}

/// Pictures of an animated WebP.
fn webp_frames(bytes: &[u8]) -> u32 {
    let (mut at, mut frames) = (12, 0);
    while let Some(chunk) = bytes.get(at..at + 8) {
        frames += u32::from(&chunk[..4] == b"ANMF");
        let length = u32::from_le_bytes(chunk[4..].try_into().unwrap_or_default()) as usize;
        // Chunks begin at even places.
        at += 8 + length + length % 2;
    }
    frames.max(1)
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb};

    use super::*;
    use crate::data::file::decode;

    /// A PNG chunk; nothing here looks at its checksum.
    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &[0; 4]].concat()
    }

    fn refused(bytes: Vec<u8>) -> String {
        format!("{:#}", decode(bytes).map(drop).expect_err("it is not read"))
    }

    #[test]
    fn animations_are_refused_with_the_number_of_their_pictures() {
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, 2, 1);
        encoder.set_animated(3, 0).expect("it may be animated");
        let mut writer = encoder.write_header().expect("a header");
        (0..3).for_each(|frame| writer.write_image_data(&[frame, 9]).expect("a frame"));
        writer.finish().expect("an end");
        let error = refused(png);
        assert!(error.contains("an animation of 3 pictures"), "{error}");
        let frames: Vec<u8> = (0..2).flat_map(|_| [&b"ANMF"[..], &3_u32.to_le_bytes(), &[0; 4]].concat()).collect();
        let webp = [&b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0"[..], &[2, 0, 0, 0, 1, 0, 0, 1, 0, 0], &frames].concat();
        assert!(refused(webp).contains("an animation of 2 pictures"));
    }

    #[test]
    fn a_png_with_any_damaged_byte_is_refused_or_the_same_picture() {
        let image: DynamicImage = ImageBuffer::from_fn(9, 7, |x, y| Rgb([(x * 21) as u8, (y * 31) as u8, 7])).into();
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Png).expect("in memory");
        let file = file.into_inner();
        let picture = decode(file.clone()).expect("it is whole").picture;
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(decode(damaged).map_or(true, |found| found.picture == picture), "byte {at}");
        }
    }

    #[test]
    fn headers_that_lie_about_the_size_are_refused_in_every_format() {
        let [width, height] = [30_000_u32, 20_000];
        let ihdr = |bits, color, interlaced| {
            let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, color, 0, 0, interlaced]].concat();
            [b"\x89PNG\r\n\x1a\n".to_vec(), checked(b"IHDR", &header), checked(b"IDAT", &[0x78, 0x9C])].concat()
        };
        // With its checksum, which is looked at here.
        fn checked(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
            let mut crc = u32::MAX;
            for &byte in kind.iter().chain(data) {
                crc ^= u32::from(byte);
                (0..8).for_each(|_| crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 });
            }
            let mut bytes = chunk(kind, data);
            let end = bytes.len() - 4;
            bytes[end..].copy_from_slice(&(!crc).to_be_bytes());
            bytes
        }
        let vp8x = [&[0, 0, 0, 0][..], &(16_383_u32).to_le_bytes()[..3], &(16_383_u32).to_le_bytes()[..3]].concat();
        let webp = [b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0", &vp8x[..]].concat();
        for file in [ihdr(8, 2, 0), ihdr(16, 6, 0), ihdr(16, 6, 1), ihdr(8, 2, 1)] {
            let error = refused(file);
            assert!(error.contains("MiB when decoded, of 512 at most"), "{error}");
        }
        // Without any data a WebP is refused as damaged.
        assert!(decode(webp).is_err());
        let jpeg_header = |sof: &[u8]| [&[0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8][..], sof].concat();
        let sof = [
            0x75, 0x30, 0x75, 0x30, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0,
            63, 0,
        ];
        let error = refused(jpeg_header(&sof));
        assert!(error.contains("2575 MiB when decoded, of 512 at most"), "{error}");
    }
}
