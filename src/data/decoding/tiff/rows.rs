//! Rows of a picture in a TIFF, a row of strips or tiles at a time.
//!
//! The tiff crate unpacks strips and tiles. The meaning of the samples is determined here, because the crate drops
//! bands whose meaning it does not know: the file is presented to it as grey with one band for each sample.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use anyhow::{Context, Result, anyhow, ensure};
use tiff::decoder::{Decoder, Limits};

use super::directory::{Directory, tag};
use super::kind::{self, Colors, ExtraSample, Kind};
use super::overlay::Overlay;
use crate::data::decoding::limit::{check_bytes, zeroed};
use crate::data::decoding::rows::{RowBuffer, Rows, Shape};
use crate::data::decoding::{Depth, Picture, jpeg};
use crate::data::size::Size;

pub struct TiffRows<R: Read + Seek> {
    decoder: Decoder<Overlay<R>>,
    kind: Kind,
    chunks: Chunks,
    /// Red, green and blue of each palette index.
    palette: Vec<[u16; 3]>,
    /// Index of the next row of strips or tiles.
    next: usize,
    pieces: RowBuffer,
}

/// The strips of a page, or its tiles.
struct Chunks {
    width: usize,
    height: usize,
    /// Offset and length of each in the file, in bytes.
    extents: Vec<[u64; 2]>,
    jpeg_tables: Option<Vec<u8>>,
    file_bytes: u64,
}

impl<R: Read + Seek> TiffRows<R> {
    /// Opens a page for decoding, row by row from the top. The rows are not turned upright.
    ///
    /// # Errors
    /// When the page is of a kind that is not read, damaged, or its strips or tiles are too large.
    pub fn open(mut file: R, page: &Directory) -> Result<TiffRows<R>> {
        let kind = Kind::read(&mut file, page)?;
        let chunks = Chunks::read(&mut file, page, &kind)?;
        let palette = if kind.colors == Colors::Palette { palette(&mut file, page, &kind)? } else { Vec::new() };
        let header = page.header;
        let photometric = page.entry(tag::PHOTOMETRIC).context("the TIFF does not say what its samples mean")?;
        let first = header.bytes(page.at, if header.is_bigtiff { 8 } else { 4 });
        // The crate sees grey with any number of bands, which it returns unchanged.
        let grey = header.bytes(1, photometric.number_size());
        let mut patches = vec![(header.first_offset_at(), first), (photometric.at, grey)];
        // The crate fails at some LZW tiles that reach beyond the picture, because it skips that part. It is shown a
        // picture of whole tiles, which it returns in full.
        let sides = [(tag::WIDTH, kind.size.width, chunks.width), (tag::HEIGHT, kind.size.height, chunks.height)];
        for (tag, side, of_chunk) in sides.into_iter().filter(|_| page.entry(tag::TILE_OFFSETS).is_some()) {
            let Some(entry) = page.entry(tag) else { continue };
            let whole = side.next_multiple_of(of_chunk) as u64;
            if whole < 1 << (8 * entry.number_size()).min(32) {
                patches.push((entry.at, header.bytes(whole, entry.number_size())));
            }
        }
        let mut limits = Limits::default();
        limits.decoding_buffer_size = chunks.bytes(&kind) as usize;
        limits.intermediate_buffer_size = limits.decoding_buffer_size.max(chunks.file_bytes as usize);
        limits.ifd_value_size = chunks.file_bytes as usize;
        let decoder = Decoder::new(Overlay::new(file, patches)?).map_err(explained)?.with_limits(limits);
        Ok(TiffRows { decoder, kind, chunks, palette, next: 0, pieces: RowBuffer::default() })
    }

    pub fn depth(&self) -> Depth {
        match self.kind.colors {
            Colors::Palette if self.palette.as_flattened().iter().any(|sample| sample % 257 != 0) => Depth::Sixteen,
            _ => self.kind.depth(),
        }
    }

    /// Estimates the bytes of memory that decoding takes, without the rows that the reader receives: a row of strips or
    /// tiles as it is stored, as samples and as colours, each of which counts 2 bytes a sample.
    pub fn held_bytes(&self) -> u64 {
        let row = self.kind.size.width.max(self.chunks.width) * self.kind.samples.max(self.kind.channels());
        3 * 2 * (self.chunks.height * row) as u64
    }

    /// True if the file stores colours multiplied by alpha. The decoded rows have them divided by it.
    pub fn is_premultiplied(&self) -> bool {
        self.kind.last == Some(ExtraSample::PremultipliedAlpha)
    }

    /// The next row of strips or tiles.
    fn piece(&mut self) -> Result<Vec<u16>> {
        let Size { width, height } = self.kind.size;
        let bands = self.kind.samples;
        let rows = self.chunks.height.min(height.saturating_sub(self.next * self.chunks.height));
        let mut samples = zeroed(rows * width * bands)?;
        let (columns, rows_of_chunks) = (width.div_ceil(self.chunks.width), height.div_ceil(self.chunks.height));
        let planes = if self.kind.is_planar { bands } else { 1 };
        for (plane, column) in (0..planes).flat_map(|plane| (0..columns).map(move |column| (plane, column))) {
            let index = (plane * rows_of_chunks + self.next) * columns + column;
            let left = column * self.chunks.width;
            let pixels = self.chunks.width.min(width - left);
            let (stored, row_bytes) = self.chunk(index, pixels, rows)?;
            for (stored, row) in stored.chunks_exact(row_bytes).zip(samples.chunks_exact_mut(width * bands)) {
                let row = &mut row[left * bands..(left + pixels) * bands];
                match self.kind.is_planar {
                    true => self.kind.unpack(stored, row[plane..].iter_mut().step_by(bands)),
                    false => self.kind.unpack(stored, row.iter_mut()),
                }
            }
        }
        self.next += 1;
        self.colored(samples)
    }

    /// The unpacked bytes of strip or tile `index`, of which `width` by `height` pixels lie in the picture, and the
    /// bytes of one of its rows.
    fn chunk(&mut self, index: usize, width: usize, height: usize) -> Result<(Vec<u8>, usize)> {
        let extent = self.chunks.extents.get(index).context("the TIFF has too few strips or tiles")?;
        let [offset, length] = *extent;
        let end = offset.checked_add(length).filter(|&end| end <= self.chunks.file_bytes);
        end.context("the TIFF is damaged or cut short: a strip or tile lies beyond its end")?;
        if self.kind.compression == kind::JPEG {
            let mut data = zeroed(length as usize)?;
            self.decoder.inner().seek(SeekFrom::Start(offset))?;
            self.decoder.inner().read_exact(&mut data)?;
            let frame = jpeg::check(self.chunks.jpeg_tables.as_deref(), &data)?;
            let [frame_width, frame_height] = [frame.width, frame.height].map(usize::from);
            ensure!(
                frame_width == self.chunks.width && (height..=self.chunks.height).contains(&frame_height),
                "a strip or tile of the TIFF is of another size than the TIFF says"
            );
        }
        let index = u32::try_from(index)?;
        let (chunk_width, chunk_height) = self.decoder.chunk_data_dimensions(index);
        ensure!(
            chunk_width as usize >= width && chunk_height as usize >= height,
            "a strip or tile of the TIFF is of {chunk_width}x{chunk_height} pixels and not of {width}x{height}"
        );
        let in_chunk = if self.kind.is_planar { 1 } else { self.kind.samples };
        let row_bytes = (chunk_width as usize * in_chunk * self.kind.bits).div_ceil(8);
        let bytes = chunk_height as usize * row_bytes;
        let length = self.decoder.image_chunk_buffer_layout(index).map_err(explained)?.len;
        ensure!(length == bytes, "a strip or tile of the TIFF holds {length} bytes and not {bytes}");
        let mut stored = zeroed(bytes)?;
        self.decoder.read_chunk_bytes(index, &mut stored).map_err(explained)?;
        Ok((stored, row_bytes))
    }

    /// The colours of interleaved samples.
    fn colored(&self, mut samples: Vec<u16>) -> Result<Vec<u16>> {
        let kind = &self.kind;
        if kind.is_signed {
            refuse_negative(&samples, kind)?;
        }
        match kind.colors {
            Colors::Grey | Colors::Rgb => {}
            Colors::InvertedGrey => {
                samples.iter_mut().step_by(kind.samples).for_each(|sample| *sample = u16::MAX - *sample);
            }
            Colors::Palette => samples = paletted(&samples, &self.palette)?,
            Colors::Cmyk => samples = from_cmyk(&samples, kind),
        }
        if self.is_premultiplied() {
            divide_by_alpha(&mut samples, kind.channels());
        }
        Ok(samples)
    }
}

impl<R: Read + Seek> Rows for TiffRows<R> {
    fn shape(&self) -> Shape {
        let kind = &self.kind;
        Shape { size: kind.size, channels: kind.channels(), has_extra_band: kind.last == Some(ExtraSample::Band) }
    }

    fn next(&mut self, count: usize) -> Result<Picture> {
        let mut pieces = std::mem::take(&mut self.pieces);
        let rows = pieces.rows(&self.shape(), count, || self.piece())?;
        self.pieces = pieces;
        Ok(rows)
    }
}

impl Chunks {
    /// The strips or tiles of a page.
    ///
    /// # Errors
    /// When they are larger than any picture needs: a decoder would allocate the memory that they claim.
    fn read(file: &mut (impl Read + Seek), page: &Directory, kind: &Kind) -> Result<Chunks> {
        let tile = [tag::TILE_WIDTH, tag::TILE_HEIGHT].map(|tag| page.number(file, tag));
        let rows = page.number(file, tag::ROWS_PER_STRIP)?.unwrap_or(u64::MAX);
        let [width, height] = match tile {
            [Ok(Some(width)), Ok(Some(height))] if page.entry(tag::TILE_OFFSETS).is_some() => [width, height],
            _ => [kind.size.width as u64, rows.min(kind.size.height as u64)],
        };
        ensure!(width > 0 && height > 0, "the TIFF has strips or tiles of {width}x{height} pixels");
        let in_chunk = (kind.samples * kind.bits.div_ceil(8)) as u128;
        let bytes = u128::from(width) * u128::from(height) * in_chunk;
        check_bytes(u64::try_from(bytes).unwrap_or(u64::MAX)).context("one of its strips or tiles")?;
        let [offsets, lengths] = match page.entry(tag::TILE_OFFSETS) {
            Some(_) => [tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS],
            None => [tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS],
        };
        let extents = page.numbers(file, offsets)?.into_iter().zip(page.numbers(file, lengths)?);
        Ok(Chunks {
            width: width as usize,
            height: height as usize,
            extents: extents.map(|(offset, length)| [offset, length]).collect(),
            jpeg_tables: if kind.compression == kind::JPEG { page.raw(file, tag::JPEG_TABLES)? } else { None },
            file_bytes: file.seek(SeekFrom::End(0))?,
        })
    }

    /// Bytes of one strip or tile, unpacked, in whole bytes for each sample.
    fn bytes(&self, kind: &Kind) -> u64 {
        (self.width * self.height * kind.samples * kind.bits.div_ceil(8)) as u64
    }
}

fn explained(error: tiff::TiffError) -> anyhow::Error {
    match error {
        tiff::TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            anyhow!("the TIFF is damaged or cut short: a strip or tile ends too early")
        }
        // The text of the error includes its causes.
        error => anyhow!("the TIFF is damaged or of a rare kind: {error}"),
    }
}

impl Kind {
    /// Unpacks a row of samples from its bytes. Samples of 16 bits are two bytes in this machine's order.
    fn unpack<'a>(&self, stored: &[u8], samples: impl Iterator<Item = &'a mut u16>) {
        // Palette indices are not scaled.
        let widen = |most: u16| if self.colors == Colors::Palette { 1 } else { u16::MAX / most };
        match self.bits {
            16 => {
                let words = stored.chunks_exact(2).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]));
                samples.zip(words).for_each(|(sample, word)| *sample = word);
            }
            8 => {
                let widen = widen(255);
                samples.zip(stored).for_each(|(sample, &byte)| *sample = u16::from(byte) * widen);
            }
            bits => {
                let most = (1_u16 << bits) - 1;
                let widen = widen(most);
                for (x, sample) in samples.enumerate() {
                    let shift = 8 - bits - x * bits % 8;
                    *sample = (u16::from(stored[x * bits / 8] >> shift) & most) * widen;
                }
            }
        }
    }
}

/// Refuses negative samples. Signed samples from 0 on equal unsigned ones.
fn refuse_negative(samples: &[u16], kind: &Kind) -> Result<()> {
    let signed = |sample: u16| match kind.bits {
        8 => i32::from((sample / 257) as u8 as i8),
        _ => i32::from(sample as i16),
    };
    let least = samples.iter().map(|&sample| signed(sample)).min().unwrap_or_default();
    ensure!(
        least >= 0,
        "its samples are signed and some are below 0, such as {least}, which {} bits from 0 on cannot hold: add an \
         offset to all files and save them as unsigned integers",
        kind.bits
    );
    Ok(())
}

/// The colours of all indices.
fn palette(file: &mut (impl Read + Seek), page: &Directory, kind: &Kind) -> Result<Vec<[u16; 3]>> {
    let map = page.numbers(file, tag::COLOR_MAP)?;
    let entries = 1 << kind.bits;
    ensure!(map.len() == 3 * entries, "the TIFF's palette has {} numbers and not {}", map.len(), 3 * entries);
    let mut map: Vec<u16> = map.into_iter().map(|number| number as u16).collect();
    // Some programs write 8-bit colours, or leave the lower half of 16 bits empty.
    if map.iter().all(|&number| number <= 255) {
        map.iter_mut().for_each(|number| *number *= 257);
    } else if map.iter().all(|&number| number % 256 == 0) {
        map.iter_mut().for_each(|number| *number = (*number >> 8) * 257);
    }
    Ok((0..entries).map(|index| [0, 1, 2].map(|channel| map[channel * entries + index])).collect())
}

fn paletted(indices: &[u16], palette: &[[u16; 3]]) -> Result<Vec<u16>> {
    let mut samples = zeroed(3 * indices.len())?;
    for (pixel, &index) in samples.chunks_exact_mut(3).zip(indices) {
        pixel.copy_from_slice(&palette[usize::from(index)]);
    }
    Ok(samples)
}

/// RGB from CMYK as the image crate computes it: `(1 - c) (1 - k)` in floats, cut to the file's bits.
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

/// Divides colours by alpha and rounds them. Where alpha is 0, they become 0.
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
