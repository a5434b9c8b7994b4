//! Huffman codes of a JPEG, and the bit stream that they are read from.

use anyhow::{Context, Result, ensure};

/// A Huffman table of a JPEG as a lookup table: for each value of the next 16 bits, the symbol of the code that they
/// begin with and the length of that code in bits. The length is 0 if they begin with no code.
pub struct Table(Vec<(u8, u8)>);

impl Table {
    /// Builds the table of a DHT segment: `counts[i]` codes of `i + 1` bits, for up to 16 lengths, which stand for the
    /// `symbols` in this order. Returns `None` if there are more codes than that many bits can tell apart.
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

/// A reader of the bits between two markers of a JPEG, the highest bit of each byte first.
pub struct Bits {
    /// Bytes without the zeros that are stuffed behind 0xFF.
    bytes: Vec<u8>,
    /// Position of the next bit.
    position: usize,
}

impl Bits {
    /// Begins to read `data`, the bytes between two markers. The zero bytes that are stuffed behind 0xFF are left out.
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

    /// Takes the next `count` bits, 16 at most, as a number with the first bit highest. Beyond the end they are zeros,
    /// which [`Bits::ensure_inside`] and [`Bits::finish`] notice.
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

    /// Takes the next code of `table` and returns its symbol.
    ///
    /// # Errors
    /// When the next bits are no code of `table`.
    pub fn symbol(&mut self, table: &Table) -> Result<u8> {
        let (symbol, length) = table.0[self.peek() as usize];
        ensure!(length > 0, "the JPEG file is damaged: its data have a code that does not exist");
        self.position += usize::from(length);
        Ok(symbol)
    }

    /// Checks that the bits taken so far were all there.
    ///
    /// # Errors
    /// When more bits were taken than there are.
    pub fn ensure_inside(&self) -> Result<()> {
        let is_inside = self.position <= 8 * self.bytes.len();
        is_inside.then_some(()).context("the JPEG file is damaged: some of its data are missing")
    }

    /// Checks that the data end at the current position.
    ///
    /// # Errors
    /// When more bits were taken than there are, or when something is left besides the padding bits of the last byte
    /// and fill bytes (all 0x00 or all 0xFF).
    pub fn finish(&self) -> Result<()> {
        self.ensure_inside()?;
        let left = &self.bytes[self.position.div_ceil(8)..];
        let is_fill = left.iter().all(|&byte| byte == 0) || left.iter().all(|&byte| byte == 0xFF);
        ensure!(is_fill, "the JPEG file is damaged: its data are longer than its picture");
        Ok(())
    }
}
