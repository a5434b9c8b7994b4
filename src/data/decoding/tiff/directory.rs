//! The directories of a TIFF (TIFF 6.0, section 2; BigTIFF): tags, and the positions of their values.
//!
//! The tiff crate interprets a directory as a whole or refuses it. They are read here to name the contents of a file,
//! to tell pages from thumbnails, and to carry tags over.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail, ensure};

/// Most entries of all directories of a file: they may overlap, so a small file could claim any number of them.
const MOST_ENTRIES: u64 = 1 << 20;

/// Most bytes of the values of a tag that are read into memory.
const MOST_VALUE_BYTES: u64 = 64 << 20;

pub mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const SUBFILE_TYPE: u16 = 255;
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTE_COUNTS: u16 = 279;
    pub const PLANAR_CONFIGURATION: u16 = 284;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
}

/// The header of a TIFF: byte order, and width of the offsets in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub is_big_endian: bool,
    /// True if offsets have 64 bits (BigTIFF).
    pub is_bigtiff: bool,
}

impl Header {
    /// Returns the position in the file, in bytes, of the field that holds the offset of the first directory.
    pub fn first_offset_at(self) -> u64 {
        if self.is_bigtiff { 8 } else { 4 }
    }

    fn offset_bytes(self) -> usize {
        if self.is_bigtiff { 8 } else { 4 }
    }

    /// The unsigned number in `bytes`, 8 of them at most.
    fn number(self, bytes: &[u8]) -> u64 {
        let join = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        match self.is_big_endian {
            true => bytes.iter().fold(0, join),
            false => bytes.iter().rev().fold(0, join),
        }
    }

    /// Encodes `value` in `length` bytes, 8 at most, in the byte order of the file. Higher bytes of `value` are cut
    /// off.
    pub fn bytes(self, value: u64, length: usize) -> Vec<u8> {
        let mut bytes = value.to_le_bytes()[..length].to_vec();
        if self.is_big_endian {
            bytes.reverse();
        }
        bytes
    }
}

/// An entry of an image file directory: the type of a tag's values, their count and their offset in the file.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The type's number, such as 3 for SHORT.
    pub kind: u16,
    count: u64,
    /// Offset of the first value in the file, in bytes.
    pub at: u64,
}

impl Entry {
    /// Returns the size in bytes of the numbers that a value consists of, within which the byte order applies: 4 for a
    /// rational, which is two numbers of 4 bytes, else the size of the type. 0 for an unknown type.
    pub fn number_size(&self) -> usize {
        match self.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 5 | 9 | 10 | 11 | 13 => 4,
            12 | 16 | 17 | 18 => 8,
            _ => 0,
        }
    }

    /// Bytes of all values.
    fn length(&self) -> Option<u64> {
        // A rational is two numbers.
        let numbers = if matches!(self.kind, 5 | 10) { 2 } else { 1 };
        self.count.checked_mul((self.number_size() * numbers) as u64)
    }
}

/// An image file directory (IFD) of a TIFF: the tags that describe one page, with their values still in the file.
#[derive(Clone, Debug)]
pub struct Directory {
    pub header: Header,
    /// Offset of the directory in the file, in bytes.
    pub at: u64,
    entries: BTreeMap<u16, Entry>,
}

/// Reads the directories of a TIFF and returns those of its pages, in the order of the file: all but thumbnails,
/// reduced pictures and masks. If all are such, the first one is the only page.
///
/// # Errors
/// When the file is no TIFF, a directory lies beyond its end, or the list of directories has no end or too many tags.
pub fn pages(file: &mut (impl Read + Seek)) -> Result<Vec<Directory>> {
    let header = header(file)?;
    let mut at = header.number(&bytes(file, header.first_offset_at(), header.offset_bytes())?);
    let (mut pages, mut first, mut seen, mut entries) = (Vec::new(), None, BTreeSet::new(), 0);
    while at != 0 {
        ensure!(seen.insert(at), "the TIFF's list of directories is a circle");
        let (directory, count, next) = read(file, header, at)?;
        entries += count;
        ensure!(entries <= MOST_ENTRIES, "the TIFF's directories have more than {MOST_ENTRIES} tags");
        if is_page(&directory, file) {
            pages.push(directory);
        } else {
            first.get_or_insert(directory);
        }
        at = next;
    }
    if pages.is_empty() {
        pages.extend(first);
    }
    ensure!(!pages.is_empty(), "the TIFF holds no picture");
    Ok(pages)
}

/// True if a directory is neither a reduced picture nor a mask, by either of the two tags that say so.
fn is_page(directory: &Directory, file: &mut (impl Read + Seek)) -> bool {
    let mut number = |tag| directory.number(file, tag).ok().flatten();
    let is_reduced = number(tag::NEW_SUBFILE_TYPE).is_some_and(|bits| bits & 0b101 != 0);
    let is_reduced_of_old = number(tag::SUBFILE_TYPE) == Some(2);
    let is_mask = number(tag::PHOTOMETRIC) == Some(4);
    !is_reduced && !is_reduced_of_old && !is_mask
}

fn header(file: &mut (impl Read + Seek)) -> Result<Header> {
    let start = bytes(file, 0, 4)?;
    let is_big_endian = start.starts_with(b"MM");
    let header = Header { is_big_endian, is_bigtiff: false };
    match header.number(&start[2..]) {
        42 => Ok(header),
        43 => {
            let offsets = bytes(file, 4, 4)?;
            let header = Header { is_bigtiff: true, ..header };
            let [size, zero] = [&offsets[..2], &offsets[2..]].map(|bytes| header.number(bytes));
            ensure!((size, zero) == (8, 0), "the BigTIFF's offsets have {size} bytes, not 8");
            Ok(header)
        }
        version => bail!("the TIFF is of an unknown version, {version}"),
    }
}

/// Reads the directory at offset `at`. Returns it, the number of its tags, repeated ones included, and the offset of
/// the next directory, 0 if there is none.
fn read(file: &mut (impl Read + Seek), header: Header, at: u64) -> Result<(Directory, u64, u64)> {
    let (count_bytes, entry_bytes) = if header.is_bigtiff { (8, 20) } else { (2, 12) };
    let count = header.number(&bytes(file, at, count_bytes)?);
    ensure!(count <= 65_535, "a directory of the TIFF has {count} tags");
    let start = at.saturating_add(count_bytes as u64);
    let table = bytes(file, start, count as usize * entry_bytes)?;
    let mut entries = BTreeMap::new();
    for (number, entry) in table.chunks_exact(entry_bytes).enumerate() {
        let [tag, kind] = [&entry[..2], &entry[2..4]].map(|bytes| header.number(bytes) as u16);
        let (count, value) = entry[4..].split_at(header.offset_bytes());
        let value_at = start + (number * entry_bytes + 4 + header.offset_bytes()) as u64;
        let mut entry = Entry { kind, count: header.number(count), at: value_at };
        // Values that do not fit into the entry lie elsewhere.
        if entry.length().is_none_or(|length| length > header.offset_bytes() as u64) {
            entry.at = header.number(value);
        }
        entries.insert(tag, entry);
    }
    let next = header.number(&bytes(file, start + table.len() as u64, header.offset_bytes())?);
    Ok((Directory { header, at, entries }, count, next))
}

fn bytes(file: &mut (impl Read + Seek), at: u64, length: usize) -> Result<Vec<u8>> {
    const CUT: &str = "the TIFF is damaged or cut short: its tags lie beyond its end";
    file.seek(SeekFrom::Start(at)).context(CUT)?;
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes)?;
    ensure!(bytes.len() == length, CUT);
    Ok(bytes)
}

impl Directory {
    pub fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.get(&tag)
    }

    /// Reads the values of `tag` as bytes, in the byte order of the file. Returns `None` if the directory has no such
    /// tag.
    ///
    /// # Errors
    /// When the values lie beyond the end of the file, or take more than 64 MiB.
    pub fn raw(&self, file: &mut (impl Read + Seek), tag: u16) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entries.get(&tag) else { return Ok(None) };
        let length = entry.length().filter(|&length| length <= MOST_VALUE_BYTES);
        let length = length.with_context(|| format!("tag {tag} of the TIFF has too many values"))?;
        bytes(file, entry.at, length as usize).map(Some)
    }

    /// Reads the values of `tag` as unsigned integers. Returns an empty list if the directory has no such tag.
    ///
    /// # Errors
    /// As [`Directory::raw`], or when the values are no unsigned integers.
    pub fn numbers(&self, file: &mut (impl Read + Seek), tag: u16) -> Result<Vec<u64>> {
        let Some(entry) = self.entries.get(&tag) else { return Ok(Vec::new()) };
        ensure!(matches!(entry.kind, 1 | 3 | 4 | 13 | 16 | 18), "tag {tag} of the TIFF is no unsigned number");
        let raw = self.raw(file, tag)?.unwrap_or_default();
        Ok(raw.chunks_exact(entry.number_size()).map(|bytes| self.header.number(bytes)).collect())
    }

    /// Reads the first value of `tag` as an unsigned integer. Returns `None` if the directory has no such tag, or one
    /// without values.
    ///
    /// # Errors
    /// As [`Directory::numbers`].
    pub fn number(&self, file: &mut (impl Read + Seek), tag: u16) -> Result<Option<u64>> {
        Ok(self.numbers(file, tag)?.first().copied())
    }
}
