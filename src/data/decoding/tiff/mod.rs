//! Pictures in TIFF files: the kinds that are read, and how samples become a picture.

mod directory;
mod kind;
mod overlay;
mod rows;
mod write;

use std::io::{Read, Seek};

use anyhow::Result;

pub use directory::{Directory, pages};
pub use rows::TiffRows;
pub use write::{CarriedTags, TiffWriter};

use self::directory::tag;
use self::kind::Kind;
use crate::data::decoding::limit::check_bytes;
use crate::data::size::Size;

/// Samples of the decoded picture.
///
/// # Errors
/// When it is of a kind that is not read, or too large; the error names the kind or the bound.
pub(super) fn samples(file: &mut (impl Read + Seek), page: &Directory) -> Result<u64> {
    let kind = Kind::read(file, page)?;
    check_bytes(kind.decoded_bytes())?;
    Ok(kind.decoded_bytes() / kind.bits.div_ceil(8) as u64)
}

/// Width and height, as they are stored.
///
/// # Errors
/// When the tags that say it are missing.
pub(super) fn size(file: &mut (impl Read + Seek), page: &Directory) -> Result<Size> {
    kind::size(file, page)
}

/// The number of the EXIF orientation, if there is one.
pub(super) fn orientation(file: &mut (impl Read + Seek), page: &Directory) -> Option<u8> {
    page.number(file, tag::ORIENTATION).ok().flatten().and_then(|number| u8::try_from(number).ok())
}

#[cfg(test)]
#[path = "../../../../tests/cli/tiff.rs"]
mod fixture;

#[cfg(test)]
mod tests;
