//! The compressed data of one scan: blocks of 64 coefficients of one channel or several.

use anyhow::{Context, Result, bail, ensure};

use super::huffman::{Bits, Table};

/// Largest product of a DC coefficient and its quantisation step. Samples from -128 to 127 give 1024; rounding and
/// encoders that overshoot on purpose go a little beyond.
const LARGEST_DC: i64 = 2048;

/// Largest product of an AC coefficient and its quantisation step, twice that of a DC coefficient.
const LARGEST: i64 = 4096;

/// A component (channel) of a JPEG: its description in the frame header, and the coefficients that the scans checked so
/// far contain.
#[derive(Debug)]
pub struct Component {
    pub id: u8,
    /// Sampling factors: blocks in a minimum coded unit (MCU), horizontally and vertically.
    pub sampling: [usize; 2],
    quantization: usize,
    /// Blocks that hold its samples, horizontally and vertically.
    blocks: [usize; 2],
    /// MCUs of the picture, horizontally and vertically.
    units: [usize; 2],
    /// A bit for each coefficient of each block (in whole MCUs), set if the coefficient is not zero: later scans of a
    /// progressive file depend on it.
    nonzero: Vec<u64>,
    /// Lower bits of each coefficient that are still missing; `None` before its first scan.
    missing: [Option<u8>; 64],
    is_progressive: bool,
}

impl Component {
    pub fn new(id: u8, sampling: u8, quantization: u8) -> Result<Component> {
        let sampling = [usize::from(sampling >> 4), usize::from(sampling & 15)];
        ensure!(
            sampling.iter().all(|factor| (1..=4).contains(factor)) && quantization < 4,
            "the JPEG file is damaged: a channel of its header"
        );
        Ok(Component {
            id,
            sampling,
            quantization: usize::from(quantization),
            blocks: [0; 2],
            units: [0; 2],
            nonzero: Vec::new(),
            missing: [None; 64],
            is_progressive: false,
        })
    }

    /// True if the scans checked so far contain all bits of all coefficients.
    pub fn is_complete(&self) -> bool {
        self.missing.iter().all(|missing| *missing == Some(0))
    }

    /// Marks all bits of all coefficients as read, for a file whose scans cannot be checked.
    pub fn skip(&mut self) {
        self.missing = [Some(0); 64];
    }
}

/// Computes the numbers of blocks and MCUs of each of `components` for a picture of `size`, `[width, height]` in
/// pixels. `is_progressive` is true for a progressive JPEG (SOF2), whose scans need a record of nonzero coefficients.
pub fn count_blocks(components: &mut [Component], size: [usize; 2], is_progressive: bool) {
    let most = [0, 1].map(|axis| components.iter().map(|component| component.sampling[axis]).max().unwrap_or(1));
    for component in components {
        for axis in 0..2 {
            let samples = (size[axis] * component.sampling[axis]).div_ceil(most[axis]);
            component.blocks[axis] = samples.div_ceil(8);
            component.units[axis] = size[axis].div_ceil(8 * most[axis]);
        }
        component.is_progressive = is_progressive;
        if is_progressive {
            let [width, height] = [0, 1].map(|axis| component.units[axis] * component.sampling[axis]);
            component.nonzero = vec![0; width * height];
        }
    }
}

pub struct Scan<'a> {
    /// The components of the scan: index in the frame, number of the DC table, number of the AC table.
    pub parts: Vec<(usize, usize, usize)>,
    pub is_progressive: bool,
    /// First coefficient of the scan, in zigzag order; 0 is the DC coefficient.
    pub first: usize,
    /// Last coefficient of the scan, in zigzag order.
    pub last: usize,
    /// Successive approximation: the lowest bit that an earlier scan contains; 0 in a first scan.
    pub high: u8,
    /// Successive approximation: the lowest bit that this scan contains.
    pub low: u8,
    pub quantization: &'a [Option<[u16; 64]>; 4],
    pub dc: &'a [Option<Table>; 4],
    pub ac: &'a [Option<Table>; 4],
    pub restart_interval: usize,
}

/// State of a scan from block to block; a restart resets it.
#[derive(Default)]
struct State {
    /// The last DC coefficient of each part.
    dc: [i64; 4],
    /// Blocks that have no more coefficients in this scan.
    empty: u32,
}

impl Scan<'_> {
    /// Decodes the data of the scan, which begin at `bytes[at]`, without computing a picture, and records in
    /// `components` which coefficients they contain. Returns the index of the marker behind them.
    ///
    /// # Errors
    /// When the data are damaged or cut short, or the scan cannot follow those before it.
    pub fn check(&self, components: &mut [Component], bytes: &[u8], at: usize) -> Result<usize> {
        self.note(components)?;
        let units = match self.parts.as_slice() {
            [(only, ..)] => components[*only].blocks,
            [(first, ..), ..] => components[*first].units,
            [] => [0; 2],
        };
        let total = units[0] * units[1];
        let interval = if self.restart_interval == 0 { total } else { self.restart_interval };
        let (mut at, mut done, mut restarts) = (at, 0, 0_u8);
        while done < total {
            let end = end_of_segment(bytes, at);
            ensure!(end < bytes.len(), "the JPEG file is cut short");
            let mut bits = Bits::new(&bytes[at..end]);
            let mut state = State::default();
            for unit in done..total.min(done + interval) {
                self.unit(components, unit, units[0], &mut bits, &mut state)?;
                // Zeros behind the end might be valid codes for a long time.
                bits.ensure_inside()?;
            }
            bits.finish()?;
            ensure!(state.empty == 0, "the JPEG file is damaged: its blocks are more than its picture");
            done += interval;
            at = end;
            if done < total {
                let mut behind = end;
                let marker = super::next_marker(bytes, &mut behind)?;
                ensure!(marker == 0xD0 + restarts % 8, "the JPEG file is damaged: a restart marker is missing");
                restarts = (restarts + 1) % 8;
                at = behind;
            }
        }
        Ok(at)
    }

    /// Records the bits of coefficients that the scan brings, and refuses a scan that cannot come now.
    fn note(&self, components: &mut [Component]) -> Result<()> {
        let damaged = "the JPEG file is damaged: a scan that cannot come here";
        ensure!(self.first <= self.last && self.last < 64, damaged);
        ensure!(!self.is_progressive || (self.first == 0) == (self.last == 0), damaged);
        ensure!(self.first == 0 || self.parts.len() == 1, damaged);
        for &(component, ..) in &self.parts {
            let missing = &mut components[component].missing;
            ensure!(self.first == 0 || missing[0].is_some(), damaged);
            for bits in &mut missing[self.first..=self.last] {
                let is_next = match *bits {
                    None => self.high == 0,
                    Some(bits) => bits == self.high && self.high == self.low + 1,
                };
                ensure!(is_next, damaged);
                *bits = Some(self.low);
            }
        }
        Ok(())
    }

    /// Checks one block of the only component, or all blocks of an MCU.
    fn unit(
        &self,
        components: &mut [Component],
        unit: usize,
        units_per_row: usize,
        bits: &mut Bits,
        state: &mut State,
    ) -> Result<()> {
        let (x, y) = (unit % units_per_row, unit / units_per_row);
        let is_single = self.parts.len() == 1;
        for part in 0..self.parts.len() {
            let component = &mut components[self.parts[part].0];
            let [width, height] = if is_single { [1, 1] } else { component.sampling };
            for index in 0..width * height {
                let (column, row) = (x * width + index % width, y * height + index / width);
                let block = row * component.units[0] * component.sampling[0] + column;
                self.block(component, part, block, bits, state)?;
            }
        }
        Ok(())
    }

    fn block(
        &self,
        component: &mut Component,
        part: usize,
        block: usize,
        bits: &mut Bits,
        state: &mut State,
    ) -> Result<()> {
        let steps = self.quantization[component.quantization].as_ref();
        let steps = steps.context("the JPEG file is damaged: a quantization table is missing")?;
        if self.first == 0 {
            self.mean(part, i64::from(steps[0]), bits, state)?;
        }
        if self.last == 0 {
            return Ok(());
        }
        let table = self.ac.get(self.parts[part].2).and_then(Option::as_ref);
        let table = table.context("the JPEG file is damaged: a Huffman table is missing")?;
        match self.high {
            0 => self.coefficients(component, block, table, steps, bits, state),
            _ => self.refinement(&mut component.nonzero[block], table, bits, state),
        }
    }

    /// Checks a DC coefficient.
    fn mean(&self, part: usize, step: i64, bits: &mut Bits, state: &mut State) -> Result<()> {
        if self.high > 0 {
            bits.take(1);
            return Ok(());
        }
        let table = self.dc.get(self.parts[part].1).and_then(Option::as_ref);
        let size = bits.symbol(table.context("the JPEG file is damaged: a Huffman table is missing")?)?;
        ensure!(size <= 11, IMPOSSIBLE);
        if size > 0 {
            let value = i64::from(bits.take(size));
            // A value whose first bit is 0 is negative.
            let is_negative = value >> (size - 1) == 0;
            state.dc[part] += if is_negative { value - (1 << size) + 1 } else { value };
        }
        ensure!((state.dc[part] << self.low).abs() * step <= LARGEST_DC + step, IMPOSSIBLE);
        Ok(())
    }

    /// Checks the first bits of AC coefficients.
    fn coefficients(
        &self,
        component: &mut Component,
        block: usize,
        table: &Table,
        steps: &[u16; 64],
        bits: &mut Bits,
        state: &mut State,
    ) -> Result<()> {
        if state.empty > 0 {
            state.empty -= 1;
            return Ok(());
        }
        let mut index = self.first.max(1);
        while index <= self.last {
            let symbol = bits.symbol(table)?;
            let (run, size) = (symbol >> 4, symbol & 15);
            if size == 0 && run < 15 {
                ensure!(self.is_progressive || run == 0, IMPOSSIBLE);
                state.empty = (1 << run) - 1 + bits.take(run);
                break;
            }
            index += usize::from(run);
            ensure!(index <= self.last && size <= 10, IMPOSSIBLE);
            if size > 0 {
                let least = i64::from(steps[index]) << (size - 1) << self.low;
                ensure!(least <= LARGEST, IMPOSSIBLE);
                bits.take(size);
                if component.is_progressive {
                    component.nonzero[block] |= 1 << index;
                }
            }
            index += 1;
        }
        Ok(())
    }

    /// Checks one more bit of AC coefficients.
    fn refinement(&self, nonzero: &mut u64, table: &Table, bits: &mut Bits, state: &mut State) -> Result<()> {
        let mut index = self.first;
        while state.empty == 0 && index <= self.last {
            let symbol = bits.symbol(table)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            match size {
                0 if run < 15 => {
                    state.empty = (1 << run) + bits.take(run);
                    break;
                }
                0 => {}
                1 => {
                    bits.take(1);
                }
                _ => bail!(IMPOSSIBLE),
            }
            loop {
                ensure!(index <= self.last, IMPOSSIBLE);
                if *nonzero >> index & 1 == 1 {
                    bits.take(1);
                } else if run == 0 {
                    *nonzero |= u64::from(size) << index;
                    index += 1;
                    break;
                } else {
                    run -= 1;
                }
                index += 1;
            }
        }
        if state.empty > 0 {
            state.empty -= 1;
            // Only coefficients that are already nonzero have a correction bit.
            for _ in (index..=self.last).filter(|index| *nonzero >> index & 1 == 1) {
                bits.take(1);
            }
        }
        Ok(())
    }
}

const IMPOSSIBLE: &str = "the JPEG file is damaged: its data have a value that no picture has";

/// The end of the data from `at` on: the next marker of any kind, or the file's end.
fn end_of_segment(bytes: &[u8], at: usize) -> usize {
    let is_marker = |pair: &[u8]| pair[0] == 0xFF && pair[1] != 0;
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.windows(2).position(is_marker).unwrap_or(rest.len())
}

/// Returns the index of the marker that ends the data of a scan, which begin at `bytes[at]`, or the length of `bytes`
/// if there is none. Restart markers belong to the data.
pub fn end_of_data(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = end_of_segment(bytes, at);
        match bytes.get(at + 1) {
            Some(0xD0..=0xD7 | 0xFF) => at += 1,
            _ => return at,
        }
    }
}
