//! A file in memory, seen with some of its bytes replaced.

use std::io::{Cursor, Read, Result, Seek, SeekFrom};

pub struct Overlay<'a> {
    file: Cursor<&'a [u8]>,
    /// The position of each, and its bytes.
    patches: Vec<(u64, Vec<u8>)>,
}

impl<'a> Overlay<'a> {
    pub fn new(file: &'a [u8], patches: Vec<(u64, Vec<u8>)>) -> Overlay<'a> {
        Overlay { file: Cursor::new(file), patches }
    }
}

impl Read for Overlay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let start = self.file.position();
        let length = self.file.read(buffer)?;
        for (at, bytes) in &self.patches {
            for (place, &byte) in (*at..).zip(bytes) {
                if let Some(index) = place.checked_sub(start).filter(|&index| index < length as u64) {
                    buffer[index as usize] = byte;
                }
            }
        }
        Ok(length)
    }
}

impl Seek for Overlay<'_> {
    fn seek(&mut self, position: SeekFrom) -> Result<u64> {
        self.file.seek(position)
    }
}
