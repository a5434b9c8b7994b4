//! Picture files: read only when they are whole, and never left half-written.

use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, ImageFormat, metadata::Orientation};

use crate::base::files::{self, write_atomically};
use crate::base::memory::Reservation;
use crate::data::decoding::picture::{Depth, is_transposed};
use crate::data::decoding::rows::{InMemoryRows, Rows};
use crate::data::decoding::tiff::{self, CarriedTags, Directory, TiffRows};
use crate::data::decoding::{FileFormat, Picture, png, raster};
use crate::data::size::Size;

/// File name endings by which a file counts as a picture, in lower case and without the dot. The format is read from
/// the contents of the file, whatever its ending.
pub const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp"];

/// The [`ENDINGS`] as a list in words, for messages.
pub const LOOKED_FOR: &str = ".png, .jpg, .jpeg, .tif, .tiff, .webp and .bmp";

/// A picture and the properties of the file that it comes from. `P` is the decoded [`Picture`], or the [`Rows`] that
/// decode it as they are read ([`Undecoded`]).
pub struct Decoded<P = Picture> {
    pub picture: P,
    pub format: FileFormat,
    pub depth: Depth,
    /// True if the file stores colours multiplied by alpha. The picture has them divided by it.
    pub is_premultiplied: bool,
    /// Georeference and resolution tags of a TIFF.
    pub carried: CarriedTags,
    /// True if the picture was turned upright: the georeference of a TIFF no longer fits.
    pub is_turned: bool,
}

/// A picture that is decoded row by row if its format and its orientation allow it, else held in memory.
pub type Undecoded<'a> = Decoded<Box<dyn Rows + 'a>>;

impl<P> Decoded<P> {
    /// Replaces the picture by what `picture` makes of it; the other fields stay.
    ///
    /// # Errors
    /// Those of `picture`.
    pub fn with<Q>(self, picture: impl FnOnce(P) -> Result<Q>) -> Result<Decoded<Q>> {
        let Decoded { format, depth, is_premultiplied, carried, is_turned, .. } = self;
        Ok(Decoded { picture: picture(self.picture)?, format, depth, is_premultiplied, carried, is_turned })
    }
}

impl Decoded {
    /// Returns bit depth, channels and format in words, such as `8-bit RGB PNG`.
    pub fn kind(&self) -> String {
        let bits = 8 * self.depth.bytes();
        let channels = self.picture.describe();
        let premultiplied = if self.is_premultiplied { " (divided out)" } else { "" };
        format!("{bits}-bit {channels}{premultiplied} {}", self.format.name())
    }
}

impl<'a> Undecoded<'a> {
    /// The picture as a whole.
    ///
    /// # Errors
    /// When it is damaged, cut short, too large, or of a kind that is not read.
    fn whole(self) -> Result<Decoded> {
        let depth = self.depth;
        self.with(|mut rows| {
            let shape = rows.shape();
            shape.check(shape.size.height, depth)?;
            rows.next(shape.size.height)
        })
    }

    /// The picture turned upright.
    fn oriented(self, orientation: Orientation) -> Result<Undecoded<'a>> {
        if orientation == Orientation::NoTransforms {
            return Ok(self);
        }
        let upright = self.whole()?.with(|picture| Ok(held(picture.oriented(orientation)?)))?;
        Ok(Decoded { is_turned: true, ..upright })
    }
}

fn held<'a>(picture: Picture) -> Box<dyn Rows + 'a> {
    Box::new(InMemoryRows::new(picture))
}

/// The picture of a PNG.
fn from_png<'a>(file: impl BufRead + Seek + 'a) -> Result<Undecoded<'a>> {
    let (picture, depth, orientation) = png::open(file)?;
    let (format, carried) = (FileFormat::Png, CarriedTags::default());
    let stored = Decoded { picture, format, depth, is_premultiplied: false, carried, is_turned: false };
    stored.oriented(orientation)
}

/// The picture of a page of a TIFF.
fn from_page<'a>(mut file: impl Read + Seek + 'a, page: &Directory) -> Result<Undecoded<'a>> {
    let orientation = tiff::orientation(&mut file, page).and_then(Orientation::from_exif);
    let carried = CarriedTags::read(&mut file, page)?;
    let rows = TiffRows::open(file, page)?;
    let (depth, is_premultiplied) = (rows.depth(), rows.is_premultiplied());
    let (picture, format) = (Box::new(rows), FileFormat::Tiff);
    let stored =
        Decoded { picture: picture as Box<dyn Rows>, format, depth, is_premultiplied, carried, is_turned: false };
    stored.oriented(orientation.unwrap_or(Orientation::NoTransforms))
}

/// An opened picture file. A TIFF has one page or several; a file of another format is a single page.
pub struct PictureFile<'a> {
    path: &'a Path,
    format: FileFormat,
    /// Directories of the pages of a TIFF; empty for other formats.
    pages: Vec<Directory>,
}

impl PictureFile<'_> {
    /// Opens a file, recognises its format by its contents, and reads the list of its pages.
    ///
    /// # Errors
    /// When it cannot be read or is no picture of a known format; the error names the file.
    pub fn open(path: &Path) -> Result<PictureFile<'_>> {
        let open = || -> Result<PictureFile> {
            let mut file = BufReader::new(files::open(path)?);
            let format = format_of(&files::read_prefix(&mut file, FileFormat::SIGNATURE_BYTES)?)?;
            let pages = if format == FileFormat::Tiff { tiff::pages(&mut file)? } else { Vec::new() };
            Ok(PictureFile { path, format, pages })
        };
        open().with_context(|| path.display().to_string())
    }

    pub fn pages(&self) -> usize {
        self.pages.len().max(1)
    }

    /// The directory of a page of a TIFF. The file may have been replaced since it was opened.
    fn directory(&self, index: usize) -> Result<&Directory> {
        self.pages.get(index).with_context(|| format!("it has no page {} any more", index + 1))
    }

    /// Estimates the bytes of memory that decoding page `index` (from 0) takes, without the rows that the reader
    /// receives. Only a TIFF has more than one page; for other formats `index` is ignored.
    ///
    /// # Errors
    /// When the file cannot be read, a TIFF has no such page, or the page is damaged or of a kind that is not read; if
    /// it has to be decoded as a whole, also when it is too large.
    pub fn held_bytes(&self, index: usize) -> Result<u64> {
        let mut file = BufReader::new(files::open(self.path)?);
        Ok(match self.format {
            FileFormat::Png => match png::held_bytes(&mut file)? {
                Some(bytes) => bytes,
                None => {
                    file.rewind()?;
                    png::header(file)?.samples * WORK
                }
            },
            FileFormat::Tiff => {
                let page = self.directory(index)?;
                let is_turned = tiff::orientation(&mut file, page).is_some_and(|number| number > 1);
                let whole = if is_turned { tiff::samples(&mut file, page)? * WORK } else { 0 };
                TiffRows::open(file, page)?.held_bytes() + whole
            }
            format => raster::header(file, format)?.samples * WORK,
        })
    }

    /// Opens page `index` (from 0) to be read row by row, turned upright. Only a TIFF has more than one page; for other
    /// formats `index` is ignored.
    ///
    /// # Errors
    /// When the file cannot be read, a TIFF has no such page, or the page is of a kind that is not read; if it has to
    /// be decoded as a whole, also when it is damaged, cut short or too large.
    pub fn page(&self, index: usize) -> Result<Undecoded<'static>> {
        let file = BufReader::new(files::open(self.path)?);
        match self.format {
            FileFormat::Png => from_png(file),
            FileFormat::Tiff => from_page(file, self.directory(index)?),
            format => raster::decode(&files::read(self.path)?, format)?.with(|picture| Ok(held(picture))),
        }
    }
}

fn check_pages(pages: usize) -> Result<()> {
    ensure!(pages == 1, "it has {pages} pages, of which one would be used: split it into files of one page");
    Ok(())
}

/// Bytes for each sample of a picture while it is worked on: 8 bits as decoded and 16, or 16 bits twice, for a copy in
/// halves, in other channels, or cropped.
const WORK: u64 = 4;

/// Advice at the end of the message that there is not enough memory for a picture.
pub const CURE: &str = "reduce the picture, or cut it into parts";

/// Decodes the picture file at `path`. Returns the picture with the channels of its file, turned upright by its EXIF
/// data or TIFF's orientation tag, then the format and the bit depth of the file.
///
/// # Errors
/// When the file cannot be read, is no picture of a known format, is damaged, cut short or too large, or has several
/// pages; the error names the file.
pub fn read_picture(path: &Path) -> Result<(Picture, FileFormat, Depth)> {
    let read = || {
        // A large file of another kind is not read to its end.
        format_of(&files::read_prefix(files::open(path)?, FileFormat::SIGNATURE_BYTES)?)?;
        decode(&files::read(path)?)
    };
    let Decoded { picture, format, depth, .. } = read().with_context(|| path.display().to_string())?;
    Ok((picture, format, depth))
}

/// Decodes the `bytes` of a picture file as [`read_picture`] does.
///
/// # Errors
/// As [`read_picture`], but the error does not name the file.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded> {
    match format_of(bytes)? {
        FileFormat::Png => from_png(Cursor::new(bytes))?.whole(),
        FileFormat::Tiff => {
            let pages = tiff::pages(&mut Cursor::new(bytes))?;
            check_pages(pages.len())?;
            from_page(Cursor::new(bytes), &pages[0])?.whole()
        }
        format => raster::decode(bytes, format),
    }
}

/// Reserves the memory for decoding the pictures in `paths` and working on them, until the `Reservation` is dropped.
/// Waits while other threads hold too much of a common bound, at most 1 GiB. Sizes come from the files' headers; a file
/// that cannot be read counts as 0 bytes.
///
/// # Errors
/// When the pictures need more memory than is left to the process.
pub fn turn(paths: &[impl AsRef<Path>]) -> Result<Reservation> {
    let samples = |path: &Path| -> Result<u64> { Ok(Header::read(path)?.samples) };
    let samples: u64 = paths.iter().map(|path| samples(path.as_ref()).unwrap_or(0)).sum();
    let what = paths.first().map(|path| path.as_ref().display().to_string()).unwrap_or_default();
    Reservation::take(samples.saturating_mul(WORK), format_args!("working on {what}"), CURE)
}

/// Reads the size of a picture from the header of its file: that of the picture of [`read_picture`], turned upright.
///
/// # Errors
/// When the file cannot be read, is no picture of a known format, has a damaged header, is too large, or has several
/// pages; the error names the file.
pub fn picture_size(path: &Path) -> Result<Size> {
    let read = || -> Result<_> {
        let Header { size, orientation, pages, .. } = Header::read(path)?;
        check_pages(pages)?;
        Ok(match is_transposed(orientation) {
            true => Size { width: size.height, height: size.width },
            false => size,
        })
    };
    read().with_context(|| path.display().to_string())
}

/// The properties of a picture file that its header tells.
pub(super) struct Header {
    /// Size of the first page, as it is stored.
    pub(super) size: Size,
    pub(super) orientation: Orientation,
    pub(super) pages: usize,
    /// Number of samples (pixels times channels) of the largest page.
    pub(super) samples: u64,
}

impl Header {
    fn read(path: &Path) -> Result<Header> {
        let mut file = BufReader::new(files::open(path)?);
        let start = files::read_prefix(&mut file, FileFormat::SIGNATURE_BYTES)?;
        file.rewind()?;
        match format_of(&start)? {
            FileFormat::Tiff => {
                let pages = tiff::pages(&mut file)?;
                let samples = pages.iter().map(|page| tiff::samples(&mut file, page).unwrap_or(0)).max();
                let orientation = tiff::orientation(&mut file, &pages[0]).and_then(Orientation::from_exif);
                Ok(Header {
                    size: tiff::size(&mut file, &pages[0])?,
                    orientation: orientation.unwrap_or(Orientation::NoTransforms),
                    pages: pages.len(),
                    samples: samples.unwrap_or(0),
                })
            }
            FileFormat::Png => png::header(file),
            format => raster::header(file, format),
        }
    }
}

/// The format of a file by its first bytes.
///
/// # Errors
/// When they are those of no format that is read.
fn format_of(bytes: &[u8]) -> Result<FileFormat> {
    FileFormat::from_start(bytes).context("not a PNG, JPEG, TIFF, WebP or BMP image")
}

/// Writes `image` to `path` as a PNG, atomically: a file that is there already is replaced only by a complete one.
///
/// # Errors
/// When a PNG cannot hold the samples of `image`, such as 32-bit floats, or the file cannot be written.
pub fn write_png(path: &Path, image: &DynamicImage) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).with_context(|| format!("cannot write {}", path.display()))?;
    write_atomically(path, &bytes.into_inner())
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
        decode(bytes).expect("it is whole").picture
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
                // The image crate does not mark alpha in a TIFF, so that it is read as a band.
                let found = Picture { has_extra_band: false, ..found };
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
        // A slope changes by at most 16 of 255 levels in compression.
        assert!(largest.is_some_and(|largest| largest <= 16 * 257), "{largest:?}");
        let deep = ImageBuffer::from_pixel(4, 4, Luma([40000_u16]));
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            assert!(decoded(&encoded(&deep.clone().into(), format)).samples.iter().all(|&sample| sample == 40000));
        }
    }

    #[test]
    fn a_palette_becomes_the_colours_that_it_names() {
        let mut bytes = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut bytes, 4, 1);
        encoder.set_color(::png::ColorType::Indexed);
        encoder.set_depth(::png::BitDepth::Eight);
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
                assert!(decode(&whole[..whole.len() - missing]).is_err(), "{format:?} without {missing} bytes");
            }
            // The last bytes may hold nothing of the picture: a file without them is refused, or complete.
            for missing in 1..64 {
                if let Ok(found) = decode(&whole[..whole.len() - missing]) {
                    assert!(found.picture == picture, "{format:?} without {missing} bytes is another picture");
                }
            }
        }
        assert!(decode(b"GIF89a").is_err_and(|error| error.to_string().starts_with("not a PNG, JPEG, TIFF")));
    }

    #[test]
    fn a_picture_stands_as_its_file_notes() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let path = dir.path().join("x.png");
        // Each orientation of the EXIF standard: the upright size, and the upright order of the samples [[1, 2, 3], [4,
        // 5, 6]].
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
        let error = |bytes: &[u8]| decode(bytes).map(drop).map_err(|error| format!("{error:#}"));
        let rgb = error(&encoded(&floats.into(), ImageFormat::Tiff)).expect_err("32 bits");
        assert!(rgb.contains("32-bit floats"), "{rgb}");
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
        assert!(grey.contains("scale them to 0 to 65535 and save it with 16 bits"), "{grey}");
    }

    #[test]
    fn a_picture_that_is_too_large_is_refused_before_it_takes_memory() {
        let mut bytes = encoded(&ImageBuffer::from_pixel(1, 1, Rgb([0_u8; 3])).into(), ImageFormat::Bmp);
        // Width and height in the header.
        for at in [18, 22] {
            bytes[at..at + 4].copy_from_slice(&30_000_u32.to_le_bytes());
        }
        let error = decode(&bytes).map(drop).expect_err("2.5 GiB").to_string();
        assert!(error.contains("2575 MiB when decoded, of 512 at most"), "{error}");
    }
}
