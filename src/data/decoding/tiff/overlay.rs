//! A file, seen with some of its bytes replaced.

use std::io::{Read, Result, Seek, SeekFrom};

pub struct Overlay<R> {
    file: R,
    at: u64,
    /// Offset of each patch, and its bytes.
    patches: Vec<(u64, Vec<u8>)>,
}

impl<R: Seek> Overlay<R> {
    pub fn new(mut file: R, patches: Vec<(u64, Vec<u8>)>) -> Result<Overlay<R>> {
        file.rewind()?;
        Ok(Overlay { file, at: 0, patches })
    }
}

impl<R: Read> Read for Overlay<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = self.file.read(buffer)?;
        for (at, bytes) in &self.patches {
            for (position, &byte) in (*at..).zip(bytes) {
                if let Some(index) = position.checked_sub(self.at).filter(|&index| index < length as u64) {
                    buffer[index as usize] = byte;
                }
            }
        }
        self.at += length as u64;
        Ok(length)
    }
}

impl<R: Seek> Seek for Overlay<R> {
    fn seek(&mut self, position: SeekFrom) -> Result<u64> {
        self.at = self.file.seek(position)?;
        Ok(self.at)
    }
}
