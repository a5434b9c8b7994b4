//! Pictures in PNG, JPEG, WebP and BMP files, by the decoders of the image crate.

use std::io::{BufRead, Cursor, Seek};

use anyhow::{Result, bail, ensure};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageReader, Limits};

use super::file::{Decoded, Header};
use super::limit::{check_bytes, most_bytes, zeroed};
use super::palette::check_palette;
use super::picture::{Depth, Picture};
use super::{FileFormat, Size, jpeg};

/// Bytes of colour profiles, texts and working memory beside those of the picture: what a decoder may take.
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
    let mut decoder = decoder(Cursor::new(bytes), format)?;
    // JPEG's header alone has no more than its size: a decoder fills what is missing behind it.
    if format == FileFormat::Jpeg {
        jpeg::check(None, bytes)?;
    }
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

/// What the beginning of a file says.
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

/// What reads the picture in `file`, whose decoded size is bounded: it has allocated nothing yet.
fn decoder<'a>(file: impl BufRead + Seek + 'a, format: FileFormat) -> Result<impl ImageDecoder + 'a> {
    let mut reader = ImageReader::with_format(file, format.image_format());
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(most_bytes()?.saturating_add(BESIDE));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| explained(error, format))?;
    check_bytes(decoder.total_bytes())?;
    Ok(decoder)
}

/// How a picture has to be turned. One whose note of it cannot be read stays as it is.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// With what to do about a file that is whole, but of a rare kind.
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
