//! TIFF files of one page or several, uncompressed and by rows, and the tags that a translation keeps of its input.

use std::io::{Read, Seek, Write};

use anyhow::Result;
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16};
use tiff::encoder::{TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use tiff::tags::{ExtraSamples, Tag, Type};
use tiff::{Directory as Written, TiffError};

use super::directory::Directory;
use crate::data::decoding::Depth;
use crate::data::decoding::picture::narrow;
use crate::data::decoding::rows::{Rows, Shape};
use crate::data::size::Size;

/// Tags of the georeference: ModelPixelScale, ModelTiepoint, ModelTransformation, the three tags of the GeoTIFF keys,
/// and the coefficients of a rational polynomial.
const GEOREFERENCE: [u16; 7] = [33550, 33922, 34264, 34735, 34736, 34737, 50844];

/// Tags of the resolution: XResolution, YResolution, ResolutionUnit.
const RESOLUTION: [u16; 3] = [282, 283, 296];

/// Tags of GDAL's metadata (statistics and scales of the bands) and of its value for no data. They describe the input
/// and are not true of a translation.
const OF_THE_BANDS: [u16; 2] = [42112, 42113];

/// Tags that a translation copies from its input, a TIFF, to its output: georeference and resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarriedTags {
    /// Number and type of each tag, and its values in the byte order of this machine.
    tags: Vec<(u16, u16, Vec<u8>)>,
    /// True if the file also has tags that describe its own bands, which are not carried.
    pub has_band_tags: bool,
}

impl CarriedTags {
    /// The georeference and resolution tags of `page`.
    ///
    /// # Errors
    /// When the values of a tag lie beyond the end of the file.
    pub(in crate::data) fn read(file: &mut (impl Read + Seek), page: &Directory) -> Result<CarriedTags> {
        let mut tags = Vec::new();
        for tag in GEOREFERENCE.into_iter().chain(RESOLUTION) {
            // Types of BigTIFF, which none of these tags has, are not written.
            let Some(entry) = page.entry(tag).filter(|entry| (1..=12).contains(&entry.kind)) else { continue };
            let mut values = page.raw(file, tag)?.unwrap_or_default();
            if page.header.is_big_endian != cfg!(target_endian = "big") {
                values.chunks_exact_mut(entry.number_size()).for_each(<[u8]>::reverse);
            }
            tags.push((tag, entry.kind, values));
        }
        Ok(CarriedTags { tags, has_band_tags: OF_THE_BANDS.iter().any(|&tag| page.entry(tag).is_some()) })
    }

    /// Removes the georeference and keeps the resolution tags.
    pub fn without_georeference(mut self) -> CarriedTags {
        self.tags.retain(|(tag, ..)| RESOLUTION.contains(tag));
        self
    }

    /// True if a georeference is among the tags.
    pub fn is_georeferenced(&self) -> bool {
        self.tags.iter().any(|(tag, ..)| GEOREFERENCE.contains(tag))
    }
}

/// Most bytes that the tags of a file may take, for the choice between TIFF and BigTIFF.
const TAGS: u64 = 64 << 20;

/// A writer of a TIFF file, page by page.
pub enum TiffWriter<W: Write + Seek> {
    /// TIFF with offsets of 32 bits.
    Standard(TiffEncoder<W, TiffKindStandard>),
    /// BigTIFF, for more than 4 GiB.
    Big(TiffEncoder<W, TiffKindBig>),
}

impl<W: Write + Seek> TiffWriter<W> {
    /// Begins a TIFF in `file`. `bytes` is the number of bytes that the samples of all its pages will take together: if
    /// these and some tags need more than 4 GiB, the file becomes a BigTIFF.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: W, bytes: u64) -> Result<TiffWriter<W>> {
        Ok(match bytes.saturating_add(TAGS) <= u64::from(u32::MAX) {
            true => TiffWriter::Standard(TiffEncoder::new(file)?),
            false => TiffWriter::Big(TiffEncoder::new_big(file)?),
        })
    }

    /// Writes the picture that `rows` yields, of which no row has been read yet, as the next page: uncompressed, with
    /// samples rounded to `depth` and with the tags `carried`.
    ///
    /// # Errors
    /// Those of `rows`, or when the file cannot be written.
    pub fn page(&mut self, rows: &mut dyn Rows, depth: Depth, carried: &CarriedTags) -> Result<()> {
        let written = match self {
            TiffWriter::Standard(encoder) => page(encoder, rows, depth, carried),
            TiffWriter::Big(encoder) => page(encoder, rows, depth, carried),
        };
        written.map_err(|error| match error.downcast() {
            // An error of the file comes without the crate's text around it.
            Ok(TiffError::IoError(error)) => error.into(),
            Ok(error) => error.into(),
            Err(error) => error,
        })
    }
}

fn page<W: Write + Seek, K: TiffKind>(
    encoder: &mut TiffEncoder<W, K>,
    rows: &mut dyn Rows,
    depth: Depth,
    carried: &CarriedTags,
) -> Result<()> {
    let eight = |samples: &[u16]| samples.iter().map(|&sample| narrow(sample)).collect();
    let sixteen = <[u16]>::to_vec;
    match (rows.shape().channels, depth) {
        (1 | 2, Depth::Eight) => colored::<W, K, Gray8>(encoder, rows, eight, carried),
        (1 | 2, Depth::Sixteen) => colored::<W, K, Gray16>(encoder, rows, sixteen, carried),
        (_, Depth::Eight) => colored::<W, K, RGB8>(encoder, rows, eight, carried),
        (_, Depth::Sixteen) => colored::<W, K, RGB16>(encoder, rows, sixteen, carried),
    }
}

/// Writes one page in the colours `C`, with one sample more a pixel if the picture has alpha or a band.
fn colored<W: Write + Seek, K: TiffKind, C: ColorType>(
    encoder: &mut TiffEncoder<W, K>,
    rows: &mut dyn Rows,
    in_depth: impl Fn(&[u16]) -> Vec<C::Inner>,
    carried: &CarriedTags,
) -> Result<()>
where
    [C::Inner]: TiffValue,
{
    let Shape { size: Size { width, height }, channels, has_extra_band } = rows.shape();
    let mut image = encoder.new_image::<C>(width.try_into()?, height.try_into()?)?;
    if channels.is_multiple_of(2) {
        let last = if has_extra_band { ExtraSamples::Unspecified } else { ExtraSamples::UnassociatedAlpha };
        image.extra_samples(&[last])?;
    }
    let mut tags = Written::empty();
    for (tag, kind, values) in &carried.tags {
        let Some(kind) = Type::from_u16(*kind) else { continue };
        let entry = image.encoder().write_entry_bytes(kind, values)?;
        tags.extend([(Tag::from_u16_exhaustive(*tag), entry)]);
    }
    image.encoder().extend_from(&tags);
    loop {
        match image.next_strip_sample_count() as usize / (width * channels) {
            0 => return Ok(image.finish()?),
            count => image.write_strip(&in_depth(&rows.next(count)?.samples))?,
        }
    }
}
