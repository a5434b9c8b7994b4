//! Picture files: read only when they are whole, and never left half-written.

use std::{ffi::OsString, fs, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use image::{DynamicImage, ImageFormat};

use super::Picture;

/// The picture in a file, with the channels and the depth that it has.
///
/// # Errors
/// When it is not a PNG or JPEG, or is cut short; the error names the file.
pub fn read_picture(path: &Path) -> Result<Picture> {
    let name = || path.display().to_string();
    let bytes = fs::read(path).with_context(name)?;
    decode_whole(&bytes).and_then(Picture::from_image).with_context(name)
}

/// Decodes a PNG or JPEG, whatever its name says, and refuses one that is cut short.
pub fn decode_whole(bytes: &[u8]) -> Result<DynamicImage> {
    let format = image::guess_format(bytes).ok();
    match format {
        Some(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => {
            // A PNG decoder misses the end by itself; a JPEG decoder fills the rest with grey.
            ensure!(format == ImageFormat::Png || jpeg_has_an_end(bytes), "the JPEG file is cut short");
            Ok(image::load_from_memory_with_format(bytes, format)?)
        }
        _ => Err(anyhow!("not a PNG or JPEG image")),
    }
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

/// Writes a PNG under another name first, so that neither a kill nor a full disk leaves half a picture under its own.
///
/// # Errors
/// When the file cannot be written.
pub fn write_png(path: &Path, image: &DynamicImage) -> Result<()> {
    let mut unfinished = OsString::from(path);
    unfinished.push(".unfinished");
    let written = image
        .save_with_format(&unfinished, ImageFormat::Png)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(fs::rename(&unfinished, path)?));
    if written.is_err() {
        // The first error is the one to report; this one has the same cause.
        let _ = fs::remove_file(&unfinished);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
