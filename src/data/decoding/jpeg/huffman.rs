//! Huffman codes of a JPEG, and the bit stream that they are read from.

use anyhow::{Context, Result, ensure};

/// Symbol and length of the code that begins the next 16 bits, for all values of these; the length is 0 if there is no
/// code.
pub struct Table(Vec<(u8, u8)>);

impl Table {
    /// The codes with `counts` of each length from 1 to 16, in the order of their `symbols`. `None` when there are more
    /// than fit.
    pub fn new(counts: &[u8], symbols: &[u8]) -> Option<Table> {
        let mut table = vec![(0, 0); 1 << 16];
        let (mut next, mut symbols) = (0, symbols.iter());
        for (length, &count) in (1_u8..).zip(counts) {
            let codes = 1 << (16 - length);
            for &symbol in symbols.by_ref().take(usize::from(count)) {
                table.get_mut(next..next + codes)?.fill((symbol, length));
                next += codes;
            }
        }
        Some(Table(table))
    }
}

/// The bits between two markers.
pub struct Bits {
    /// Bytes without the zeros that are stuffed behind 0xFF.
    bytes: Vec<u8>,
    /// Position of the next bit.
    position: usize,
}

impl Bits {
    /// The bits of `data`, which holds no marker.
    pub fn new(data: &[u8]) -> Bits {
        let mut bytes = Vec::with_capacity(data.len());
        let mut is_after_ff = false;
        for &byte in data {
            if !(is_after_ff && byte == 0) {
                bytes.push(byte);
            }
            is_after_ff = byte == 0xFF;
        }
        Bits { bytes, position: 0 }
    }

    /// The next `count` bits, 16 at most; zeros beyond the end, which [`Bits::finish`] notices.
    pub fn take(&mut self, count: u8) -> u32 {
        let bits = self.peek() >> (16 - u32::from(count));
        self.position += usize::from(count);
        bits
    }

    fn peek(&self) -> u32 {
        let byte = |index: usize| u32::from(self.bytes.get(index).copied().unwrap_or(0));
        let index = self.position / 8;
        let word = byte(index) << 16 | byte(index + 1) << 8 | byte(index + 2);
        word >> (8 - self.position % 8) & 0xFFFF
    }

    /// The next symbol by `table`.
    ///
    /// # Errors
    /// When there is no such code.
    pub fn symbol(&mut self, table: &Table) -> Result<u8> {
        let (symbol, length) = table.0[self.peek() as usize];
        ensure!(length > 0, "the JPEG file is damaged: its data have a code that does not exist");
        self.position += usize::from(length);
        Ok(symbol)
    }

    /// Asserts that the data have not run out.
    ///
    /// # Errors
    /// When more bits were taken than there are.
    pub fn ensure_inside(&self) -> Result<()> {
        let is_inside = self.position <= 8 * self.bytes.len();
        is_inside.then_some(()).context("the JPEG file is damaged: some of its data are missing")
    }

    /// Asserts that the data end here.
    ///
    /// # Errors
    /// When more bits were taken than there are, or some are left other than padding bits of the last byte and fill
    /// bytes.
    pub fn finish(&self) -> Result<()> {
        self.ensure_inside()?;
        let left = &self.bytes[self.position.div_ceil(8)..];
        let is_fill = left.iter().all(|&byte| byte == 0) || left.iter().all(|&byte| byte == 0xFF);
        ensure!(is_fill, "the JPEG file is damaged: its data are longer than its picture");
        Ok(())
    }
}
