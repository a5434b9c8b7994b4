//! The formats of picture files: how they are recognised, their limits, and how a picture is written in each.

use std::io::{Seek, Write};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use image::{ImageFormat, codecs::jpeg::JpegEncoder};

use crate::data::decoding::picture::{CHANNELS, Depth};
use crate::data::decoding::png;
use crate::data::decoding::rows::{Rows, Shape};
use crate::data::decoding::tiff::{CarriedTags, TiffWriter};
use crate::data::size::Size;

/// Quality of JPEGs, in percent: high, because a translated picture is seldom the last step.
const JPEG_QUALITY: u8 = 95;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    Png,
    Jpeg,
    Tiff,
    #[value(name = "webp")]
    WebP,
    Bmp,
}

impl FileFormat {
    /// The format that the image crate calls `kind`; `None` for formats that are not read here.
    pub(super) fn from_image_format(kind: ImageFormat) -> Option<FileFormat> {
        FileFormat::value_variants().iter().copied().find(|known| known.image_format() == kind)
    }

    /// Number of first bytes of a file that tell its format.
    pub(crate) const SIGNATURE_BYTES: u64 = 32;

    /// The format of a file that begins with `start`, whatever its name; `None` for formats that are not read here.
    pub(crate) fn from_start(start: &[u8]) -> Option<FileFormat> {
        if start.starts_with(b"II+\0") || start.starts_with(b"MM\0+") {
            return Some(FileFormat::Tiff);
        }
        let format = FileFormat::from_image_format(image::guess_format(start).ok()?)?;
        // The signature of BMP is two letters, which a text may begin with. The length of the header behind it has few
        // values.
        let has_a_header = || {
            let length = start.get(14..18).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            length.is_some_and(|length| [12, 16, 40, 52, 56, 64, 108, 124].contains(&length))
        };
        (format != FileFormat::Bmp || has_a_header()).then_some(format)
    }

    pub(crate) fn image_format(self) -> ImageFormat {
        match self {
            FileFormat::Png => ImageFormat::Png,
            FileFormat::Jpeg => ImageFormat::Jpeg,
            FileFormat::Tiff => ImageFormat::Tiff,
            FileFormat::WebP => ImageFormat::WebP,
            FileFormat::Bmp => ImageFormat::Bmp,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            FileFormat::Png => "PNG",
            FileFormat::Jpeg => "JPEG",
            FileFormat::Tiff => "TIFF",
            FileFormat::WebP => "WebP",
            FileFormat::Bmp => "BMP",
        }
    }

    /// File name endings of the format, in lower case and without the dot, the usual one first.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            FileFormat::Png => &["png"],
            FileFormat::Jpeg => &["jpg", "jpeg"],
            FileFormat::Tiff => &["tif", "tiff"],
            FileFormat::WebP => &["webp"],
            FileFormat::Bmp => &["bmp"],
        }
    }

    /// Checks that the format can hold a picture of `size` with `channels` channels, 1 to 4.
    ///
    /// # Errors
    /// When it cannot hold that many channels, or a side of that many pixels; the error says which.
    ///
    /// # Panics
    /// If `channels` is not from 1 to 4.
    pub fn check(self, size: Size, channels: usize) -> Result<()> {
        let holds: &[usize] = match self {
            FileFormat::Png | FileFormat::WebP | FileFormat::Tiff => &[1, 2, 3, 4],
            FileFormat::Bmp => &[1, 3, 4],
            FileFormat::Jpeg => &[1, 3],
        };
        ensure!(holds.contains(&channels), "a {} cannot hold {}", self.name(), CHANNELS[channels - 1]);
        let longest = match self {
            FileFormat::Jpeg => 65_535,
            FileFormat::WebP => 16_384,
            _ => return Ok(()),
        };
        let fits = size.width.max(size.height) <= longest;
        ensure!(fits, "a {} cannot hold {}: its longest side is {longest}", self.name(), size.sides());
        Ok(())
    }

    /// Returns `depth` if the format can hold it, else 8 bits: only PNG and TIFF hold 16.
    pub fn nearest(self, depth: Depth) -> Depth {
        match self {
            FileFormat::Png | FileFormat::Tiff => depth,
            FileFormat::Jpeg | FileFormat::WebP | FileFormat::Bmp => Depth::Eight,
        }
    }

    /// True if files of the format (PNG and TIFF) are read and written some rows at a time, not as a whole.
    pub fn is_by_rows(self) -> bool {
        matches!(self, FileFormat::Png | FileFormat::Tiff)
    }

    /// Encodes the picture that `rows` yields, of which no row has been read yet, into `file`. A sample is rounded to
    /// `depth`, or to 8 bits where the format holds no more; JPEG alone is lossy beyond that (quality 95). The tags
    /// `carried` are written to a TIFF; other formats drop them.
    ///
    /// # Errors
    /// Those of `rows`, or when the file cannot be written, or the format cannot hold the picture: see
    /// [`FileFormat::check`].
    pub fn write(
        self,
        mut file: impl Write + Seek,
        rows: &mut dyn Rows,
        depth: Depth,
        carried: &CarriedTags,
    ) -> Result<()> {
        let Shape { size, channels, .. } = rows.shape();
        self.check(size, channels)?;
        match self {
            FileFormat::Png => return png::write(file, rows, depth),
            FileFormat::Tiff => {
                let bytes = rows.shape().bytes(size.height, depth);
                return TiffWriter::new(file, bytes)?.page(rows, depth, carried);
            }
            FileFormat::Jpeg | FileFormat::WebP | FileFormat::Bmp => {}
        }
        let image = rows.next(size.height)?.to_image8();
        match self {
            FileFormat::Jpeg => JpegEncoder::new_with_quality(file, JPEG_QUALITY).encode_image(&image)?,
            _ => image.write_to(&mut file, self.image_format())?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::decoding::Picture;
    use crate::data::decoding::file::{ENDINGS, decode};
    use crate::data::fixture;

    fn encoded(format: FileFormat, picture: &Picture, depth: Depth) -> Result<Vec<u8>> {
        fixture::encoded(format, picture, depth, &CarriedTags::default())
    }

    #[test]
    fn every_ending_that_is_looked_at_is_that_of_a_format() {
        let known: Vec<&str> =
            FileFormat::value_variants().iter().flat_map(|format| format.endings()).copied().collect();
        assert_eq!(known, ENDINGS);
    }

    /// Formats without grey or alpha of their own give it back as colour: the picture is the same.
    #[test]
    fn what_a_format_holds_comes_back_from_it() {
        let size = Size { width: 9, height: 7 };
        for &format in FileFormat::value_variants() {
            for channels in 1..=4 {
                // Slopes, which JPEG keeps to within a few levels.
                let sample = |i: usize| ((i / channels % 9 * 7000) + i % channels * 900 + 31) as u16;
                let picture = Picture::new(size, channels, (0..size.pixels() * channels).map(sample).collect());
                if format.check(size, channels).is_err() {
                    assert!(encoded(format, &picture, Depth::Eight).is_err());
                    continue;
                }
                for depth in [Depth::Eight, Depth::Sixteen] {
                    let bytes = encoded(format, &picture, depth).expect("the format holds it");
                    let found = decode(&bytes).expect("it is whole");
                    assert_eq!(found.format, format);
                    let what = format!("{format:?} with {channels} channels at {depth:?}");
                    assert_eq!(found.depth, format.nearest(depth), "{what}");
                    let found = found.picture.with_channels(channels);
                    let largest = found.samples.iter().zip(&picture.samples).map(|(a, b)| a.abs_diff(*b)).max();
                    let most = match (format, format.nearest(depth)) {
                        (_, Depth::Sixteen) => 0,
                        // Quantised blocks with a hard edge in the last column: a few of 255 levels.
                        (FileFormat::Jpeg, _) => 10 * 257,
                        // Half a step of 8 bits.
                        _ => 128,
                    };
                    assert!(
                        found.size == size && largest.is_some_and(|largest| largest <= most),
                        "{what}: {largest:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_too_much_is_named() {
        let error = |format: FileFormat, width, channels| {
            format.check(Size { width, height: 2 }, channels).map_err(|error| error.to_string())
        };
        assert_eq!(error(FileFormat::Jpeg, 9, 4), Err("a JPEG cannot hold RGB with alpha".into()));
        assert_eq!(error(FileFormat::Bmp, 9, 2), Err("a BMP cannot hold grey with alpha".into()));
        let message = "a WebP cannot hold 16385x2: its longest side is 16384";
        assert_eq!(error(FileFormat::WebP, 16_385, 3), Err(message.into()));
        assert_eq!(error(FileFormat::WebP, 16_384, 3), Ok(()));
        let longest = Picture::new(Size { width: 16_384, height: 2 }, 1, vec![9; 32_768]);
        assert!(encoded(FileFormat::WebP, &longest, Depth::Eight).is_ok());
    }
}
