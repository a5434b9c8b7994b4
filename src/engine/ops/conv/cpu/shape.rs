//! The shapes of tiles, by instruction set.

use pulp::{Simd, WithSimd};

use crate::engine::kernel::cpu::{Packed, Real};
use crate::engine::simd::InstructionSet;

/// Shape of a tile: rows, and vectors of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TileShape {
    M6N1,
    M12N1,
    M12N2,
    M6N4,
    /// The block of the tiles of AMX.
    M32N2,
}

impl TileShape {
    /// The shape for products of operands that are packed as `P`, where `set` makes those of `T`.
    pub fn of<T: Real, P: Packed<T>>(set: InstructionSet, columns: usize) -> TileShape {
        if P::IN_TILES { TileShape::M32N2 } else { TileShape::new::<T>(P::set(set), columns) }
    }

    /// The shape that keeps the multipliers busy: with AVX2 a vector is two registers of 16, with AVX-512 one of 32.
    pub fn new<T: Real>(set: InstructionSet, columns: usize) -> TileShape {
        match (set, columns.div_ceil(T::LANES)) {
            (InstructionSet::Portable | InstructionSet::Avx2, _) => TileShape::M6N1,
            (InstructionSet::Avx512 | InstructionSet::Avx512Bf16 | InstructionSet::Amx, ..=1) => TileShape::M12N1,
            (InstructionSet::Avx512 | InstructionSet::Avx512Bf16 | InstructionSet::Amx, 2) => TileShape::M12N2,
            (InstructionSet::Avx512 | InstructionSet::Avx512Bf16 | InstructionSet::Amx, _) => TileShape::M6N4,
        }
    }

    /// Runs `work` with this shape, in the version that was compiled for products of operands that are packed as `P`.
    pub fn run<T: Real, P: Packed<T>>(self, set: InstructionSet, work: impl TiledWork) {
        P::run(set, Tiled { shape: self, work });
    }

    pub fn rows(self) -> usize {
        match self {
            TileShape::M6N1 | TileShape::M6N4 => 6,
            TileShape::M12N1 | TileShape::M12N2 => 12,
            TileShape::M32N2 => 32,
        }
    }

    /// Vectors of columns.
    pub fn vectors(self) -> usize {
        match self {
            TileShape::M6N1 | TileShape::M12N1 => 1,
            TileShape::M12N2 | TileShape::M32N2 => 2,
            TileShape::M6N4 => 4,
        }
    }
}

/// The work of a task, in tiles of `M` rows and `N` vectors of columns.
pub(super) trait TiledWork {
    /// True if the shape is [`TileShape::M32N2`].
    const IN_TILES: bool = false;

    fn run<S: Simd, const M: usize, const N: usize>(self, simd: S);
}

/// Rows of a smaller tile, for what is left over.
pub(super) const FEW_ROWS: usize = 4;

/// True if the next of `rest` rows are best computed by a tile of [`FEW_ROWS`] rows, and not of `M`: a tile of six
/// would compute rows that are not there.
#[inline(always)]
pub(super) fn takes_few_rows<const M: usize>(rest: usize) -> bool {
    M == 6 && matches!(rest, 1..=4 | 8)
}

/// A work with the shape of its tiles.
struct Tiled<W> {
    shape: TileShape,
    work: W,
}

/// True for instruction sets with registers for the larger shapes, which are compiled for these alone.
pub(super) struct HasManyRegisters<S>(S);

impl<S: Simd> HasManyRegisters<S> {
    pub const VALUE: bool = S::REGISTER_COUNT >= 32;
}

impl<W: TiledWork> WithSimd for Tiled<W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Tiled { shape, work } = self;
        if W::IN_TILES {
            work.run::<S, 32, 2>(simd);
        } else if HasManyRegisters::<S>::VALUE {
            match shape {
                TileShape::M6N1 => work.run::<S, 6, 1>(simd),
                TileShape::M12N1 => work.run::<S, 12, 1>(simd),
                TileShape::M12N2 => work.run::<S, 12, 2>(simd),
                TileShape::M6N4 => work.run::<S, 6, 4>(simd),
                TileShape::M32N2 => unreachable!("the shape of work in tiles"),
            }
        } else {
            assert!(shape == TileShape::M6N1, "the shape of this instruction set");
            work.run::<S, 6, 1>(simd);
        }
    }
}
