//! Detection of damage in JPEG files (ITU T.81), which decoders silently fill with grey.
//!
//! The compressed data are decoded code by code, without computing a picture. Every block of every scan has to be
//! there, every code has to exist, every coefficient has to be in range, restart markers have to come in order, and a
//! scan has to end where its last block ends. A flipped bit may turn the codes after it into others, until one is
//! invalid. A flipped bit that only changes the value of a coefficient cannot be noticed, because a JPEG has no
//! checksum. The tests measure how much is noticed.

mod huffman;
mod scan;

use anyhow::{Context, Result, bail, ensure};

use self::huffman::Table;
use self::scan::{Component, Scan};
use crate::data::decoding::limit::check_bytes;

/// Largest number of scans in a file. Each goes over the whole picture, however few bytes it has.
const MOST_SCANS: usize = 1000;

/// Marker codes behind their 0xFF.
mod marker {
    pub const SOI: u8 = 0xD8;
    pub const EOI: u8 = 0xD9;
    pub const SOS: u8 = 0xDA;
    pub const DQT: u8 = 0xDB;
    pub const DHT: u8 = 0xC4;
    pub const DRI: u8 = 0xDD;
    pub const APP0: u8 = 0xE0;
}

/// The frame header of a JPEG (SOF), and for each of its components the coefficients that the scans checked so far
/// contain.
#[derive(Debug)]
pub struct Frame {
    pub width: u16,
    pub height: u16,
    is_progressive: bool,
    components: Vec<Component>,
}

/// Checks that the JPEG stream `file` is complete and, as far as can be noticed, undamaged, and returns its frame
/// header. `tables` is a second stream with quantisation and Huffman tables that `file` may use, as JPEGs in a TIFF do.
///
/// # Errors
/// When it is damaged, cut short, too large, or of a kind that is not read.
pub fn check(tables: Option<&[u8]>, file: &[u8]) -> Result<Frame> {
    let mut checker = Checker::default();
    if let Some(tables) = tables {
        checker.run(tables).context("the tables of its JPEG data")?;
    }
    checker.run(file)?;
    let frame = checker.frame.context("the JPEG file is damaged: it has no picture")?;
    for component in &frame.components {
        ensure!(component.is_complete(), "the JPEG file is damaged: some of its scans are missing");
    }
    Ok(frame)
}

#[derive(Default)]
struct Checker {
    frame: Option<Frame>,
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart_interval: usize,
    scans: usize,
    /// True for a frame of motion JPEG, which may rely on tables that are not in it.
    is_motion_jpeg: bool,
}

impl Checker {
    /// Checks one stream from its SOI to its EOI. Everything behind that (previews, depth maps, padding) is ignored.
    fn run(&mut self, bytes: &[u8]) -> Result<()> {
        ensure!(bytes.starts_with(&[0xFF, marker::SOI]), "the JPEG file is damaged: it does not begin as one");
        let mut at = 2;
        loop {
            let code = next_marker(bytes, &mut at)?;
            if code == marker::EOI {
                return Ok(());
            }
            // Markers without a segment.
            if matches!(code, 0x01 | marker::SOI | 0xD0..=0xD7) {
                continue;
            }
            let length = bytes.get(at..at + 2).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])));
            let length = length.context("the JPEG file is cut short")?;
            ensure!(length >= 2, "the JPEG file is damaged: a segment of {length} bytes");
            let segment = bytes.get(at + 2..at + length).context("the JPEG file is cut short")?;
            at += length;
            match code {
                marker::DQT => self.quantization_tables(segment)?,
                marker::DHT => self.huffman_tables(segment)?,
                marker::DRI => self.restart_interval = usize::from(number(segment, 0)?),
                marker::SOS => at = self.scan(segment, bytes, at)?,
                marker::APP0 => self.is_motion_jpeg |= segment.starts_with(b"AVI1"),
                0xC0..=0xC2 => self.frame(segment, code == 0xC2)?,
                0xC3 | 0xC5..=0xC7 | 0xCB => {
                    bail!("it is a lossless or hierarchical JPEG, which is not read: save it as PNG")
                }
                0xC9 | 0xCA | 0xCD..=0xCF => {
                    bail!("it is a JPEG of arithmetic coding, which is not read: save it as PNG, or as usual JPEG")
                }
                _ => {}
            }
        }
    }

    fn frame(&mut self, segment: &[u8], is_progressive: bool) -> Result<()> {
        ensure!(self.frame.is_none(), "the JPEG file is damaged: it has two pictures in one");
        let precision = byte(segment, 0)?;
        ensure!(precision == 8, "it is a JPEG of {precision} bits a sample, and 8 are read: save it as PNG");
        let (height, width, count) = (number(segment, 1)?, number(segment, 3)?, usize::from(byte(segment, 5)?));
        ensure!(width > 0 && height > 0, "the JPEG file is damaged: its size is {width}x{height}");
        ensure!((1..=4).contains(&count), "the JPEG file has {count} channels, and up to 4 are read");
        check_bytes(u64::from(width) * u64::from(height) * count as u64)?;
        let mut components = Vec::new();
        for index in 0..count {
            let [id, sampling, table] = [0, 1, 2].map(|offset| byte(segment, 6 + 3 * index + offset));
            components.push(Component::new(id?, sampling?, table?)?);
        }
        // The one component of a grey picture is not subsampled, whatever its header says.
        if let [only] = components.as_mut_slice() {
            only.sampling = [1, 1];
        }
        scan::count_blocks(&mut components, [width, height].map(usize::from), is_progressive);
        self.frame = Some(Frame { width, height, is_progressive, components });
        Ok(())
    }

    fn quantization_tables(&mut self, mut segment: &[u8]) -> Result<()> {
        while let Some((&about, rest)) = segment.split_first() {
            let (is_wide, slot) = (about >> 4 != 0, usize::from(about & 15));
            let length = if is_wide { 128 } else { 64 };
            let values = rest.get(..length).filter(|_| slot < 4);
            let values = values.context("the JPEG file is damaged: a quantization table")?;
            let value = |index: usize| match is_wide {
                true => u16::from_be_bytes([values[2 * index], values[2 * index + 1]]),
                false => u16::from(values[index]),
            };
            self.quantization[slot] = Some(std::array::from_fn(value));
            segment = &rest[length..];
        }
        Ok(())
    }

    fn huffman_tables(&mut self, mut segment: &[u8]) -> Result<()> {
        while !segment.is_empty() {
            let damaged = "the JPEG file is damaged: a Huffman table";
            let (about, counts) = (byte(segment, 0)?, segment.get(1..17).context(damaged)?);
            let symbols: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let symbols = segment.get(17..17 + symbols).context(damaged)?;
            let tables = if about >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = tables.get_mut(usize::from(about & 15)).context(damaged)?;
            *slot = Some(Table::new(counts, symbols).context(damaged)?);
            segment = &segment[17 + symbols.len()..];
        }
        Ok(())
    }

    /// Checks the scan whose header is `segment` and whose data begin at `at`. Returns the end of the data.
    fn scan(&mut self, segment: &[u8], bytes: &[u8], at: usize) -> Result<usize> {
        self.scans += 1;
        ensure!(self.scans <= MOST_SCANS, "the JPEG file has more than {MOST_SCANS} scans");
        let frame = self.frame.as_mut().context("the JPEG file is damaged: a scan before its header")?;
        if self.is_motion_jpeg && self.dc.iter().all(Option::is_none) {
            frame.components.iter_mut().for_each(Component::skip);
            return Ok(scan::end_of_data(bytes, at));
        }
        let count = usize::from(byte(segment, 0)?);
        let mut parts: Vec<(usize, usize, usize)> = Vec::new();
        for index in 0..count {
            let (id, tables) = (byte(segment, 1 + 2 * index)?, byte(segment, 2 + 2 * index)?);
            let component = frame.components.iter().position(|component| component.id == id);
            let component = component.filter(|component| parts.iter().all(|(other, ..)| other != component));
            let component = component.context("the JPEG file is damaged: a scan of an unknown channel")?;
            parts.push((component, usize::from(tables >> 4), usize::from(tables & 15)));
        }
        ensure!((1..=4).contains(&count), "the JPEG file is damaged: a scan of {count} channels");
        let spectrum = [1, 2].map(|offset| byte(segment, 2 * count + offset));
        let [first, last] = [spectrum[0].as_ref(), spectrum[1].as_ref()].map(|byte| byte.copied().unwrap_or(0));
        let bits = byte(segment, 2 * count + 3)?;
        let scan = Scan {
            parts,
            is_progressive: frame.is_progressive,
            first: usize::from(first),
            last: if frame.is_progressive { usize::from(last) } else { 63 },
            high: if frame.is_progressive { bits >> 4 } else { 0 },
            low: if frame.is_progressive { bits & 15 } else { 0 },
            quantization: &self.quantization,
            dc: &self.dc,
            ac: &self.ac,
            restart_interval: self.restart_interval,
        };
        scan.check(&mut frame.components, bytes, at)
    }
}

/// The code of the next marker; `at` is then behind it. Zeros and fill bytes may stand before it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Result<u8> {
    let mut is_after_ff = false;
    loop {
        let byte = *bytes.get(*at).context("the JPEG file is cut short")?;
        *at += 1;
        match (is_after_ff, byte) {
            (_, 0xFF) => is_after_ff = true,
            (_, 0) => is_after_ff = false,
            (true, code) => return Ok(code),
            (false, _) => bail!("the JPEG file is damaged: its segments do not follow each other"),
        }
    }
}

fn byte(segment: &[u8], at: usize) -> Result<u8> {
    segment.get(at).copied().context("the JPEG file is damaged: a segment is too short")
}

fn number(segment: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_be_bytes([byte(segment, at)?, byte(segment, at + 1)?]))
}

#[cfg(test)]
mod tests;
