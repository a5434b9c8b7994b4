//! TIFF files of one page or several, uncompressed, and the tags that a translation keeps of its input.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::DynamicImage;
use tiff::Directory as Written;
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16};
use tiff::encoder::{TiffEncoder, TiffValue};
use tiff::tags::{ExtraSamples, Tag, Type};

use super::directory::Directory;
use crate::data::{Depth, Picture};

/// The place of each pixel on the earth: ModelPixelScale, ModelTiepoint, ModelTransformation, the three tags of the
/// GeoTIFF keys and the coefficients of a rational polynomial.
const GEOREFERENCE: [u16; 7] = [33550, 33922, 34264, 34735, 34736, 34737, 50844];

/// XResolution, YResolution, ResolutionUnit.
const RESOLUTION: [u16; 3] = [282, 283, 296];

/// GDAL's metadata (statistics and scales of the bands) and its value for no data: of the input, and not true of a
/// translation.
const OF_THE_BANDS: [u16; 2] = [42112, 42113];

/// Tags with their values, to be written as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Number, type, and values in the byte order of this machine.
    tags: Vec<(u16, u16, Vec<u8>)>,
    /// The file also has tags that are true of its own bands alone, and not carried.
    pub has_band_tags: bool,
}

impl Carried {
    /// The tags of `page` for the place and the resolution of its picture.
    ///
    /// # Errors
    /// When the values of a tag lie beyond the end of the file.
    pub(in crate::data) fn of(file: &[u8], page: &Directory) -> Result<Carried> {
        let mut tags = Vec::new();
        for tag in GEOREFERENCE.into_iter().chain(RESOLUTION) {
            // Types of BigTIFF alone, which none of these tags has, are not written.
            let Some(entry) = page.entry(tag).filter(|entry| (1..=12).contains(&entry.kind)) else { continue };
            let mut values = page.raw(&mut Cursor::new(file), tag)?.unwrap_or_default();
            if page.header.is_big_endian != cfg!(target_endian = "big") {
                values.chunks_exact_mut(entry.unit()).for_each(<[u8]>::reverse);
            }
            tags.push((tag, entry.kind, values));
        }
        Ok(Carried { tags, has_band_tags: OF_THE_BANDS.iter().any(|&tag| page.entry(tag).is_some()) })
    }

    /// The resolution alone.
    pub fn without_georeference(mut self) -> Carried {
        self.tags.retain(|(tag, ..)| RESOLUTION.contains(tag));
        self
    }

    /// True if a place on the earth is among them.
    pub fn is_georeferenced(&self) -> bool {
        self.tags.iter().any(|(tag, ..)| GEOREFERENCE.contains(tag))
    }
}

/// A picture to be written.
pub struct Page<'a> {
    pub picture: &'a Picture,
    pub depth: Depth,
    pub carried: &'a Carried,
}

/// A file of `pages`.
///
/// # Errors
/// When it would be larger than a TIFF can be.
pub fn encode(pages: &[Page]) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes)?;
    for page in pages {
        let image = match page.depth {
            Depth::Eight => page.picture.to_image8(),
            Depth::Sixteen => page.picture.to_image16(),
        };
        let write = |encoder: &mut TiffEncoder<_>| match image {
            DynamicImage::ImageLuma8(image) => write::<Gray8>(encoder, page, image.as_raw()),
            DynamicImage::ImageLumaA8(image) => write::<Gray8>(encoder, page, image.as_raw()),
            DynamicImage::ImageRgb8(image) => write::<RGB8>(encoder, page, image.as_raw()),
            DynamicImage::ImageRgba8(image) => write::<RGB8>(encoder, page, image.as_raw()),
            DynamicImage::ImageLuma16(image) => write::<Gray16>(encoder, page, image.as_raw()),
            DynamicImage::ImageLumaA16(image) => write::<Gray16>(encoder, page, image.as_raw()),
            DynamicImage::ImageRgb16(image) => write::<RGB16>(encoder, page, image.as_raw()),
            DynamicImage::ImageRgba16(image) => write::<RGB16>(encoder, page, image.as_raw()),
            other => unreachable!("a picture is not written as {:?}", other.color()),
        };
        write(&mut encoder).context("a TIFF holds 4 GiB at most")?;
    }
    Ok(bytes.into_inner())
}

/// One page of the colours `C`, and a sample more a pixel where the picture has one.
fn write<C: ColorType>(
    encoder: &mut TiffEncoder<&mut Cursor<Vec<u8>>>,
    page: &Page,
    samples: &[C::Inner],
) -> tiff::TiffResult<()>
where
    [C::Inner]: TiffValue,
{
    let picture = page.picture;
    let mut image = encoder.new_image::<C>(picture.size.width as u32, picture.size.height as u32)?;
    if picture.channels.is_multiple_of(2) {
        let last = if picture.is_last_a_band { ExtraSamples::Unspecified } else { ExtraSamples::UnassociatedAlpha };
        image.extra_samples(&[last])?;
    }
    let mut carried = Written::empty();
    for (tag, kind, values) in &page.carried.tags {
        let Some(kind) = Type::from_u16(*kind) else { continue };
        let entry = image.encoder().write_entry_bytes(kind, values)?;
        carried.extend([(Tag::from_u16_exhaustive(*tag), entry)]);
    }
    image.encoder().extend_from(&carried);
    image.write_data(samples)
}
