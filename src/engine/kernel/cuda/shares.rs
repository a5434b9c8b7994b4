//! Tiles that several blocks share, each with a part of a long sum (`kernels/tickets.cuh`).

use super::{Context, PtrMut, Scratch};

/// Blocks that draw their tickets together.
const RUN: usize = 16;

/// Tiles of a result, each of which `shares` blocks compute together: the last of them to be done adds up their sums,
/// in an order that depends on their number alone.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    pub tiles: usize,
    pub shares: usize,
    /// Elements of f32 that each block has a sum of.
    pub elements: usize,
}

impl Shares {
    /// Returns the number of blocks.
    pub fn blocks(&self) -> usize {
        self.tiles * self.shares
    }

    /// Runs of blocks, whose sums are added up in turn; 0 if there is only one.
    fn runs(&self) -> usize {
        if self.shares > RUN { self.shares.div_ceil(RUN) } else { 0 }
    }

    /// Returns the scratch memory for the sums and tickets of all blocks: none if no tile is shared.
    pub fn scratch(&self) -> Scratch {
        match self.shares {
            1 => Scratch::default(),
            shares => Scratch {
                bytes: self.tiles * (shares + self.runs()) * self.elements * size_of::<f32>(),
                tickets: self.tiles * (self.runs() + 1),
                shares,
            },
        }
    }
}

impl Context<'_> {
    /// Returns the addresses of the sums and tickets of `shares`, or null if no tile is shared.
    ///
    /// # Panics
    /// If the step's scratch memory is not that of `shares`.
    pub fn shared(&self, shares: &Shares) -> (PtrMut<f32>, PtrMut<u32>) {
        self.shared_behind(shares, Scratch::default())
    }

    /// As [`Context::shared`], behind the scratch memory and the tickets that other tiles of the step use.
    ///
    /// # Panics
    /// If the step's scratch memory ends before that of `shares`.
    pub fn shared_behind(&self, shares: &Shares, used: Scratch) -> (PtrMut<f32>, PtrMut<u32>) {
        match shares.shares {
            1 => (PtrMut::NULL, PtrMut::NULL),
            _ => (self.workspace().offset(used.bytes / size_of::<f32>()), self.tickets().offset(used.tickets)),
        }
    }
}
