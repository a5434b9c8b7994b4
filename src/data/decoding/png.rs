//! Pictures in PNG files: read by rows, written by rows.

use std::io::{BufRead, ErrorKind, Seek, Write};

use anyhow::{Result, anyhow, ensure};
use image::metadata::Orientation;
use png::{BitDepth, ColorType, Compression, Decoder, DecodingError, Encoder, Limits, Reader, Transformations};

use crate::data::decoding::file::Header;
use crate::data::decoding::limit::{check_bytes, zeroed};
use crate::data::decoding::picture::{WIDEN, narrow};
use crate::data::decoding::rows::{InMemoryRows, Rows, Shape};
use crate::data::decoding::{Depth, Picture};
use crate::data::size::Size;

/// Bytes that the decoder may take for colour profiles and texts. A profile of half a megabyte can unpack to half a
/// gigabyte.
const BESIDE: usize = 64 << 20;

/// Bytes, and rows of the decoded picture, that the decoder unpacks ahead at most.
const AHEAD: (u64, u64) = (512 << 10, 5);

/// Bytes of a chunk of a PNG that is written.
const CHUNK: usize = 64 << 10;

/// Decoder of a PNG that is not interlaced, row by row.
pub struct PngRows<R: BufRead + Seek> {
    reader: Reader<R>,
    shape: Shape,
    depth: Depth,
    /// Rows that have not been read yet.
    left: usize,
    /// One row as it is decoded, big-endian.
    row: Vec<u8>,
}

/// Opens a PNG. Returns its rows, which are not turned upright, its bit depth, and the orientation in its EXIF data. An
/// interlaced PNG is decoded as a whole at this point.
///
/// # Errors
/// When the file is damaged, cut short, an animation, or of a kind that is not read, or a row (of an interlaced PNG,
/// the picture) is too large.
pub fn open<'a>(file: impl BufRead + Seek + 'a) -> Result<(Box<dyn Rows + 'a>, Depth, Orientation)> {
    let mut reader = reader(file)?;
    let (shape, depth) = kind(&reader);
    let orientation = orientation(&reader);
    if reader.info().interlaced {
        shape.check(shape.size.height, depth)?;
        let mut stored = zeroed(shape.bytes(shape.size.height, depth) as usize)?;
        reader.next_frame(&mut stored).map_err(explained)?;
        let mut samples = zeroed(shape.size.pixels() * shape.channels)?;
        to_samples(&stored, depth, &mut samples);
        return Ok((Box::new(InMemoryRows::new(shape.rows(samples))), depth, orientation));
    }
    let row = zeroed(shape.bytes(1, depth) as usize)?;
    Ok((Box::new(PngRows { reader, shape, depth, left: shape.size.height, row }), depth, orientation))
}

/// Reads the header of a PNG.
///
/// # Errors
/// When it is damaged, of a kind that is not read, or the decoded picture would be too large.
pub fn header(file: impl BufRead + Seek) -> Result<Header> {
    let reader = reader(file)?;
    let (shape, depth) = kind(&reader);
    shape.check(shape.size.height, depth)?;
    let samples = (shape.size.pixels() * shape.channels) as u64;
    Ok(Header { size: shape.size, orientation: orientation(&reader), pages: 1, samples })
}

/// Estimates the bytes of memory that reading the rows takes, without the rows that the reader receives. Returns `None`
/// if the picture has to be decoded as a whole first, because it is interlaced or not stored upright.
///
/// # Errors
/// As [`open`].
pub fn held_bytes(file: impl BufRead + Seek) -> Result<Option<u64>> {
    let reader = reader(file)?;
    let (shape, depth) = kind(&reader);
    let is_by_rows = !reader.info().interlaced && orientation(&reader) == Orientation::NoTransforms;
    Ok(is_by_rows.then(|| AHEAD.0 + AHEAD.1 * shape.bytes(1, depth)))
}

/// A decoder that has read everything in front of the samples.
fn reader<R: BufRead + Seek>(file: R) -> Result<Reader<R>> {
    let mut decoder = Decoder::new_with_limits(file, Limits { bytes: BESIDE });
    // Samples of few bits become 8 bits, a palette its colours, and a transparent colour alpha.
    decoder.set_transformations(Transformations::EXPAND);
    // A row with the most channels and bits: the decoder may add alpha to those of the header.
    let row = 8 * decoder.read_header_info().map_err(explained)?.width as usize;
    check_bytes(row as u64)?;
    // The decoder counts a row with the rest.
    decoder.set_limits(Limits { bytes: BESIDE + row });
    let reader = decoder.read_info().map_err(explained)?;
    let info = reader.info();
    let frames = info.animation_control.map_or(1, |animation| animation.num_frames);
    ensure!(frames <= 1, "it is an animation of {frames} pictures, of which one would be used: save them one by one");
    // The decoder accepts a palette that ends within a colour, and panics at the first row.
    let palette = info.palette.as_ref().map_or(0, |palette| palette.len());
    ensure!(palette.is_multiple_of(3), "its palette has {palette} bytes, which make no whole colours");
    Ok(reader)
}

/// Size, channels and depth of the decoded rows.
fn kind(reader: &Reader<impl BufRead + Seek>) -> (Shape, Depth) {
    let (width, height) = reader.info().size();
    let size = Size { width: width as usize, height: height as usize };
    let (color, bits) = reader.output_color_type();
    let channels = match color {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb | ColorType::Indexed => 3,
        ColorType::Rgba => 4,
    };
    let depth = if bits == BitDepth::Sixteen { Depth::Sixteen } else { Depth::Eight };
    (Shape { size, channels, has_extra_band: false }, depth)
}

/// The orientation in the EXIF data in front of the samples. Data that cannot be read count as none.
fn orientation(reader: &Reader<impl BufRead + Seek>) -> Orientation {
    let exif = reader.info().exif_metadata.as_deref();
    exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

fn explained(error: DecodingError) -> anyhow::Error {
    match error {
        DecodingError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            anyhow!("the PNG file is cut short")
        }
        // The text of the error includes its causes.
        error => anyhow!("the PNG file is damaged or of a rare kind: {error}"),
    }
}

fn to_samples(stored: &[u8], depth: Depth, samples: &mut [u16]) {
    match depth {
        Depth::Eight => samples.iter_mut().zip(stored).for_each(|(sample, &byte)| *sample = u16::from(byte) * WIDEN),
        Depth::Sixteen => {
            let words = stored.chunks_exact(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
            samples.iter_mut().zip(words).for_each(|(sample, word)| *sample = word);
        }
    }
}

impl<R: BufRead + Seek> Rows for PngRows<R> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn next(&mut self, count: usize) -> Result<Picture> {
        let row = self.shape.size.width * self.shape.channels;
        let mut samples = zeroed(count * row)?;
        for samples in samples.chunks_exact_mut(row) {
            self.reader.read_row(&mut self.row).map_err(explained)?;
            to_samples(&self.row, self.depth, samples);
        }
        self.left -= count;
        if self.left == 0 {
            // This also reads the rest of the samples, and their checksums.
            self.reader.read_row(&mut self.row).map_err(explained)?;
        }
        Ok(self.shape.rows(samples))
    }
}

/// Encodes the picture that `rows` yields, of which no row has been read yet, as a PNG with samples of `depth`.
///
/// # Errors
/// Those of `rows`, or when the file cannot be written.
pub fn write(file: impl Write, rows: &mut dyn Rows, depth: Depth) -> Result<()> {
    let Shape { size: Size { width, height }, channels, .. } = rows.shape();
    let mut encoder = Encoder::new(file, width.try_into()?, height.try_into()?);
    encoder.set_color([ColorType::Grayscale, ColorType::GrayscaleAlpha, ColorType::Rgb, ColorType::Rgba][channels - 1]);
    encoder.set_depth(match depth {
        Depth::Eight => BitDepth::Eight,
        Depth::Sixteen => BitDepth::Sixteen,
    });
    encoder.set_compression(Compression::Fast);
    let mut header = encoder.write_header()?;
    let mut writer = header.stream_writer_with_size(CHUNK)?;
    let mut bytes = Vec::new();
    for _ in 0..height {
        let samples = rows.next(1)?.samples;
        bytes.clear();
        match depth {
            Depth::Eight => bytes.extend(samples.iter().map(|&sample| narrow(sample))),
            Depth::Sixteen => bytes.extend(samples.iter().flat_map(|sample| sample.to_be_bytes())),
        }
        writer.write_all(&bytes)?;
    }
    writer.finish()?;
    Ok(header.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageReader};

    use super::*;
    use crate::data::decoding::file::decode;

    /// A PNG chunk.
    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut crc = u32::MAX;
        for &byte in kind.iter().chain(data) {
            crc ^= u32::from(byte);
            (0..8).for_each(|_| crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 });
        }
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &(!crc).to_be_bytes()].concat()
    }

    fn header(width: u32, height: u32, bits: u8, color: u8, interlaced: u8) -> Vec<u8> {
        let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, color, 0, 0, interlaced]].concat();
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header)].concat()
    }

    fn refused(bytes: &[u8]) -> String {
        format!("{:#}", decode(bytes).map(drop).expect_err("it is not read"))
    }

    /// A file of noise, 37x19, with a bit depth and a colour type. Interlaced, the same bytes are another picture.
    fn file(bits: u8, color: u8, interlaced: bool, transparent: bool) -> Vec<u8> {
        let (width, height) = (37_usize, 19_usize);
        let samples = [1, 0, 3, 1, 2, 0, 4][usize::from(color)];
        let row = |width: usize| (width * samples * usize::from(bits)).div_ceil(8);
        // The columns and rows of each pass, by their starts and steps.
        let passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
        let passes = if interlaced { &passes[..] } else { &[(0, 0, 1, 1)] };
        let mut bytes = Vec::new();
        for &(left, top, x_step, y_step) in passes {
            let [columns, rows] = [(width - left).div_ceil(x_step), (height - top).div_ceil(y_step)];
            for y in 0..rows {
                bytes.push((y % 5) as u8);
                bytes.extend((0..row(columns)).map(|x| (x * 167 + y * 31 + x / 7) as u8));
            }
        }
        let mut file = header(width as u32, height as u32, bits, color, interlaced.into());
        if color == 3 {
            let palette: Vec<u8> = (0..3 << bits).map(|i: u32| (i * 91 + i / 5) as u8).collect();
            file.extend(chunk(b"PLTE", &palette));
        }
        if transparent {
            let transparent = [0, 9, 0, 8, 0, 7];
            file.extend(chunk(b"tRNS", &transparent[..[2, 0, 6, 2][usize::from(color)]]));
        }
        let mut compressed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        compressed.write_all(&bytes).expect("in memory");
        // Samples in two chunks.
        let compressed = compressed.finish().expect("in memory");
        let (first, second) = compressed.split_at(compressed.len() / 2);
        [file, chunk(b"IDAT", first), chunk(b"IDAT", second), chunk(b"IEND", &[])].concat()
    }

    #[test]
    fn every_kind_is_read_by_rows_to_the_samples_of_the_image_crate() {
        let kinds: [(u8, &[u8], bool); 5] = [
            (0, &[1, 2, 4, 8, 16], true),
            (2, &[8, 16], true),
            (3, &[1, 2, 4, 8], true),
            (4, &[8, 16], false),
            (6, &[8, 16], false),
        ];
        for (color, depths, may_be_transparent) in kinds {
            for &bits in depths {
                for (interlaced, transparent) in [(false, false), (true, false), (false, true), (true, true)] {
                    if transparent && !may_be_transparent {
                        continue;
                    }
                    let what = format!("color {color}, {bits} bits, {interlaced} {transparent}");
                    let file = file(bits, color, interlaced, transparent);
                    let by_image = ImageReader::with_format(Cursor::new(&file), image::ImageFormat::Png).decode();
                    let by_image: DynamicImage = by_image.unwrap_or_else(|error| panic!("{what}: {error}"));
                    let expected = Picture::from_image(by_image).expect("8 or 16 bits");
                    assert_eq!(decode(&file).expect(&what).picture, expected, "{what}");
                    let (mut rows, depth, _) = open(Cursor::new(&file)).expect(&what);
                    assert_eq!(depth, if bits == 16 { Depth::Sixteen } else { Depth::Eight }, "{what}");
                    let pieces = [1, 7, 2, 9].map(|count| rows.next(count).expect(&what).samples);
                    assert_eq!(rows.shape().rows(pieces.concat()), expected, "{what}");
                }
            }
        }
    }

    #[test]
    fn an_animation_is_refused_with_the_number_of_its_pictures() {
        let mut png = Vec::new();
        let mut encoder = Encoder::new(&mut png, 2, 1);
        encoder.set_animated(3, 0).expect("it may be animated");
        let mut writer = encoder.write_header().expect("a header");
        (0..3).for_each(|frame| writer.write_image_data(&[frame, 9]).expect("a frame"));
        writer.finish().expect("an end");
        let error = refused(&png);
        assert!(error.contains("an animation of 3 pictures"), "{error}");
    }

    #[test]
    fn a_file_with_any_damaged_byte_is_refused_or_the_same_picture() {
        for file in [file(8, 2, false, false), file(8, 2, true, false)] {
            let picture = decode(&file).expect("it is whole").picture;
            for at in 0..file.len() {
                let mut damaged = file.clone();
                damaged[at] ^= 0x10;
                assert!(decode(&damaged).map_or(true, |found| found.picture == picture), "byte {at}");
            }
        }
    }

    #[test]
    fn headers_that_lie_about_the_size_are_refused() {
        for (bits, color, interlaced) in [(8, 2, 0), (16, 6, 0), (16, 6, 1), (8, 2, 1)] {
            let file = [header(30_000, 20_000, bits, color, interlaced), chunk(b"IDAT", &[0x78, 0x9C])].concat();
            let error = refused(&file);
            assert!(error.contains("MiB when decoded, of 512 at most"), "{error}");
        }
        // A single row.
        let file = [header(1 << 30, 1, 16, 6, 0), chunk(b"IDAT", &[0x78, 0x9C])].concat();
        let error = format!("{:#}", open(Cursor::new(&file)).map(drop).expect_err("8 GiB"));
        assert!(error.contains("8192 MiB when decoded, of 512 at most"), "{error}");
    }
}
