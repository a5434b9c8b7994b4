//! Pictures in TIFF files: which kinds are read, and how samples become a picture's.
//!
//! The tiff crate unpacks strips and tiles. What the samples mean is found out here, because the crate leaves out bands
//! that it has no meaning for: it is shown a picture of as many bands of grey as there are samples.

mod directory;
mod kind;
mod overlay;
mod write;

use std::io::Cursor;

use anyhow::{Context, Result, anyhow, ensure};
use tiff::decoder::{Decoder, Limits};

pub use directory::{Directory, pages};
pub use write::{Carried, Page, encode};

use self::directory::tag;
use self::kind::{Colors, Kind, Last};
use self::overlay::Overlay;
use super::jpeg;
use super::limit::{check_bytes, zeroed};
use super::{Depth, Picture, Size};

/// A picture before it is turned upright.
pub(super) struct Decoded {
    pub picture: Picture,
    pub depth: Depth,
    /// Colours were stored multiplied by alpha; they are divided by it.
    pub is_premultiplied: bool,
}

/// Bytes of a page when it is decoded.
///
/// # Errors
/// When it is of a kind that is not read; the error names the kind.
pub(super) fn decoded_bytes(file: &[u8], page: &Directory) -> Result<u64> {
    let kind = Kind::of(&mut Cursor::new(file), page)?;
    Ok(kind.decoded_bytes())
}

/// Samples of the decoded picture.
///
/// # Errors
/// When it is of a kind that is not read, or too large; the error names the kind or the bound.
pub(super) fn samples(file: &mut (impl std::io::Read + std::io::Seek), page: &Directory) -> Result<u64> {
    let kind = Kind::of(file, page)?;
    check_bytes(kind.decoded_bytes())?;
    Ok(kind.decoded_bytes() / kind.bits.div_ceil(8) as u64)
}

/// Its size, as it is stored.
///
/// # Errors
/// When the tags that say it are missing.
pub(super) fn size(file: &mut (impl std::io::Read + std::io::Seek), page: &Directory) -> Result<Size> {
    kind::size(file, page)
}

/// The number of the EXIF orientation, if there is one.
pub(super) fn orientation(file: &mut (impl std::io::Read + std::io::Seek), page: &Directory) -> Option<u8> {
    page.number(file, tag::ORIENTATION).ok().flatten().and_then(|number| u8::try_from(number).ok())
}

/// The picture of a page.
///
/// # Errors
/// When it is of a kind that is not read, damaged, or too large.
pub(super) fn decode(file: &[u8], page: &Directory) -> Result<Decoded> {
    let kind = Kind::of(&mut Cursor::new(file), page)?;
    check_bytes(kind.decoded_bytes())?;
    check_chunks(file, page, &kind)?;
    let samples = unpack(file, page, &kind)?;
    let (mut samples, channels) = colored(samples, file, page, &kind)?;
    let is_premultiplied = kind.last == Some(Last::PremultipliedAlpha);
    if is_premultiplied {
        divide_by_alpha(&mut samples, channels);
    }
    let picture = Picture { size: kind.size, channels, is_last_a_band: kind.last == Some(Last::Band), samples };
    let depth = match kind.colors {
        Colors::Palette if picture.samples.iter().any(|sample| sample % 257 != 0) => Depth::Sixteen,
        _ => kind.depth(),
    };
    Ok(Decoded { picture, depth, is_premultiplied })
}

/// Strips and tiles as large as the picture could need: a decoder would take the memory that they claim. JPEG data in
/// them are looked at as those of a JPEG file are.
fn check_chunks(file: &[u8], page: &Directory, kind: &Kind) -> Result<()> {
    let mut cursor = Cursor::new(file);
    let mut numbers = |tag| page.numbers(&mut cursor, tag);
    let tile = [numbers(tag::TILE_WIDTH)?, numbers(tag::TILE_HEIGHT)?].map(|numbers| numbers.first().copied());
    let rows = numbers(tag::ROWS_PER_STRIP)?.first().copied().unwrap_or(u64::MAX);
    let (offsets, lengths, width, height) = match tile {
        [Some(width), Some(height)] => (numbers(tag::TILE_OFFSETS)?, numbers(tag::TILE_BYTE_COUNTS)?, width, height),
        _ => {
            let Size { width, height } = kind.size;
            let rows = rows.min(height as u64);
            (numbers(tag::STRIP_OFFSETS)?, numbers(tag::STRIP_BYTE_COUNTS)?, width as u64, rows)
        }
    };
    let bytes = u128::from(width) * u128::from(height) * (kind.samples * kind.bits.div_ceil(8)) as u128;
    check_bytes(u64::try_from(bytes).unwrap_or(u64::MAX)).context("one of its strips or tiles")?;
    if kind.compression != kind::JPEG {
        return Ok(());
    }
    let tables = page.raw(&mut cursor, tag::JPEG_TABLES)?;
    for (&offset, &length) in offsets.iter().zip(&lengths) {
        let end = offset.checked_add(length).filter(|&end| end <= file.len() as u64);
        let end = end.context("the TIFF is cut short: a strip or tile lies beyond its end")?;
        let frame = jpeg::check(tables.as_deref(), &file[offset as usize..end as usize])?;
        ensure!(
            u64::from(frame.width) == width && u64::from(frame.height) <= height,
            "a strip or tile of the TIFF is of another size than the TIFF says"
        );
    }
    Ok(())
}

/// The samples as they are stored, a plane after the other where they are planar, 8 bits or 16 (as two bytes of this
/// machine).
fn unpack(file: &[u8], page: &Directory, kind: &Kind) -> Result<Vec<u8>> {
    let header = page.header;
    let photometric = page.entry(tag::PHOTOMETRIC).context("the TIFF does not say what its samples mean")?;
    let first = header.bytes(page.at, if header.is_big { 8 } else { 4 });
    // To the crate it is grey, of any number of bands, which it gives as they are.
    let grey = header.bytes(1, photometric.unit());
    let patches = vec![(header.first_offset_at(), first), (photometric.at, grey)];
    let bytes = kind.stored_bytes();
    let mut limits = Limits::default();
    limits.decoding_buffer_size = bytes;
    limits.intermediate_buffer_size = file.len().max(bytes);
    limits.ifd_value_size = file.len();
    let mut decoder = Decoder::new(Overlay::new(file, patches)).map_err(explained)?.with_limits(limits);
    let length = decoder.image_buffer_layout().map_err(explained)?.complete_len;
    ensure!(length == bytes, "the TIFF's strips hold {length} bytes and not {bytes}");
    let mut samples = zeroed(bytes)?;
    decoder.read_image_bytes(&mut samples).map_err(explained)?;
    Ok(samples)
}

fn explained(error: tiff::TiffError) -> anyhow::Error {
    match error {
        tiff::TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            anyhow!("the TIFF is damaged or cut short: a strip or tile ends too early")
        }
        // Its text says its causes already.
        error => anyhow!("the TIFF is damaged or of a rare kind: {error}"),
    }
}

/// Samples of 16 bits, interleaved, of which each pixel has as many as the returned number of channels.
fn colored(stored: Vec<u8>, file: &[u8], page: &Directory, kind: &Kind) -> Result<(Vec<u16>, usize)> {
    let Size { width, .. } = kind.size;
    let mut samples: Vec<u16> = zeroed(kind.size.pixels() * kind.samples)?;
    let (pixels, bands) = (kind.size.pixels(), kind.samples);
    // The index of a stored sample in the interleaved ones.
    let place = |index: usize| if kind.is_planar { index % pixels * bands + index / pixels } else { index };
    match kind.bits {
        16 => {
            for (index, bytes) in stored.chunks_exact(2).enumerate() {
                samples[place(index)] = u16::from_ne_bytes([bytes[0], bytes[1]]);
            }
        }
        8 => {
            let widen = if kind.colors == Colors::Palette { 1 } else { 257 };
            for (index, &byte) in stored.iter().enumerate() {
                samples[place(index)] = u16::from(byte) * widen;
            }
        }
        bits => {
            // Rows begin with a new byte.
            let row_bytes = (width * bits).div_ceil(8);
            let most = (1_u16 << bits) - 1;
            let widen = if kind.colors == Colors::Palette { 1 } else { u16::MAX / most };
            for (row, samples) in stored.chunks_exact(row_bytes).zip(samples.chunks_exact_mut(width)) {
                for (x, sample) in samples.iter_mut().enumerate() {
                    let shift = 8 - bits - x * bits % 8;
                    *sample = (u16::from(row[x * bits / 8] >> shift) & most) * widen;
                }
            }
        }
    }
    drop(stored);
    if kind.is_signed {
        refuse_negative(&samples, kind)?;
    }
    match kind.colors {
        Colors::Grey | Colors::Rgb => Ok((samples, kind.samples)),
        Colors::InvertedGrey => {
            samples.iter_mut().step_by(kind.samples).for_each(|sample| *sample = u16::MAX - *sample);
            Ok((samples, kind.samples))
        }
        Colors::Palette => Ok((paletted(&samples, file, page, kind)?, 3)),
        Colors::Cmyk => Ok((from_cmyk(&samples, kind), 3)),
    }
}

/// Signed samples that are nowhere below 0 are the same numbers as unsigned ones.
fn refuse_negative(samples: &[u16], kind: &Kind) -> Result<()> {
    let signed = |sample: u16| match kind.bits {
        8 => i32::from((sample / 257) as u8 as i8),
        _ => i32::from(sample as i16),
    };
    let least = samples.iter().map(|&sample| signed(sample)).min().unwrap_or_default();
    ensure!(
        least >= 0,
        "its samples are signed and go down to {least}, which {} bits from 0 on cannot hold: add an offset to all \
         files and save them as unsigned integers",
        kind.bits
    );
    Ok(())
}

fn paletted(indices: &[u16], file: &[u8], page: &Directory, kind: &Kind) -> Result<Vec<u16>> {
    let map = page.numbers(&mut Cursor::new(file), tag::COLOR_MAP)?;
    let entries = 1 << kind.bits;
    ensure!(map.len() == 3 * entries, "the TIFF's palette has {} numbers and not {}", map.len(), 3 * entries);
    let mut map: Vec<u16> = map.into_iter().map(|number| number as u16).collect();
    // Some programs write 8-bit colours, or leave the lower half of 16 bits empty.
    if map.iter().all(|&number| number <= 255) {
        map.iter_mut().for_each(|number| *number *= 257);
    } else if map.iter().all(|&number| number % 256 == 0) {
        map.iter_mut().for_each(|number| *number = (*number >> 8) * 257);
    }
    let mut samples = zeroed(3 * indices.len())?;
    for (pixel, &index) in samples.chunks_exact_mut(3).zip(indices) {
        for (channel, sample) in pixel.iter_mut().enumerate() {
            *sample = map[channel * entries + usize::from(index)];
        }
    }
    Ok(samples)
}

/// As the image crate does it: `(1 - c) (1 - k)` in floats, cut to the file's bits.
fn from_cmyk(samples: &[u16], kind: &Kind) -> Vec<u16> {
    let (scale, white) = if kind.bits == 8 { (257, 255.0) } else { (1, 65535.0_f32) };
    let mut rgb = Vec::with_capacity(samples.len() / 4 * 3);
    for cmyk in samples.chunks_exact(4) {
        let [c, m, y, k] = [0, 1, 2, 3].map(|ink| f32::from(cmyk[ink] / scale));
        let paper = 1. - k / white;
        rgb.extend([c, m, y].map(|ink| ((white - ink) * paper) as u16 * scale));
    }
    rgb
}

/// Colours that were multiplied by alpha, divided by it and rounded. Where alpha is 0 nothing is left of them.
fn divide_by_alpha(samples: &mut [u16], channels: usize) {
    for pixel in samples.chunks_exact_mut(channels) {
        let Some((alpha, colors)) = pixel.split_last_mut() else { continue };
        let (alpha, white) = (u32::from(*alpha), u32::from(u16::MAX));
        for color in colors {
            let divided = (u32::from(*color) * white + alpha / 2).checked_div(alpha).unwrap_or(0);
            *color = divided.min(white) as u16;
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/cli/tiff.rs"]
mod fixture;

#[cfg(test)]
mod tests;
