//! Products of bf16 by the tiles of AMX, registers of 16 rows of 64 bytes: 16 pairs of bf16, or 16 sums of f32.

use super::{Run, Target};
use crate::engine::simd::InstructionSet;

/// Rows of a tile, pairs of a row, and sums of a row.
const SIDE: usize = 16;

/// Rows and columns of sums that are made at once: two tiles of rows by two of columns.
pub(super) const BLOCK: usize = 2 * SIDE;

/// Rows of words for a tile that are not as far apart in memory as a tile needs, or fewer than it has.
#[repr(C, align(64))]
struct Words<const COLUMNS: usize>([[u32; COLUMNS]; SIDE]);

/// The sums of a block.
#[repr(C, align(64))]
struct Sums([[f32; BLOCK]; BLOCK]);

/// Addresses of the rows of two tiles of pixels and of two of columns, and the words from each row to the next.
#[derive(Clone, Copy)]
struct Chunk {
    a: [*const u32; 2],
    a_pitch: [isize; 2],
    b: *const u32,
    b_pitch: usize,
}

/// Computes what [`tile`](super::tile) does, for 32 rows by 32 columns of pairs of bf16 as words, whose neighbours in a
/// row of `a` are contiguous. By `tdpbf16ps`, of 16 pairs the products of the lower and of the upper numbers are added
/// up apart, each sum rounded, and then together to the sum so far.
///
/// # Safety
/// As there. Unless `MODEL`, the machine has AMX, and the thread has the tiles of [`with_tiles`].
#[inline(always)]
pub(super) unsafe fn tile<const MODEL: bool, const M: usize>(
    a: &[*const u32; M],
    b: *const u32,
    steps: [usize; 2],
    runs: &[Run],
    target: Target<f32, M>,
) {
    assert!(M == BLOCK && steps[0] == 1, "a block of rows that lie as tiles take them");
    let halves = [&a[..SIDE], &a[SIDE..]];
    let pitches = halves.map(pitch);
    let mut sums = Sums([[0.0; BLOCK]; BLOCK]);
    let mut rows = [const { Words([[0; SIDE]; SIDE]) }; 2];
    let mut columns = Words([[0; BLOCK]; SIDE]);
    // SAFETY: the caller's promise; what lies in the local arrays is as large as tiles.
    unsafe {
        if !MODEL {
            instructions::zero();
        }
        for run in runs {
            for done in (0..run.count).step_by(SIDE) {
                let count = SIDE.min(run.count - done);
                let mut chunk =
                    Chunk { a: [b; 2], a_pitch: [0; 2], b: b.add(run.b + done * steps[1]), b_pitch: steps[1] };
                for half in 0..2 {
                    let at = run.a + done;
                    (chunk.a[half], chunk.a_pitch[half]) = match pitches[half] {
                        Some(pitch) if count == SIDE => (halves[half][0].add(at), pitch),
                        _ => {
                            let words = &mut rows[half].0;
                            for (row, words) in halves[half].iter().zip(words.iter_mut()) {
                                std::ptr::copy_nonoverlapping(row.add(at), words.as_mut_ptr(), count);
                                words[count..].fill(0);
                            }
                            (words.as_ptr().cast(), SIDE as isize)
                        }
                    };
                }
                if count < SIDE {
                    for (i, words) in columns.0.iter_mut().enumerate() {
                        match i < count {
                            true => std::ptr::copy_nonoverlapping(chunk.b.add(i * steps[1]), words.as_mut_ptr(), BLOCK),
                            false => words.fill(0),
                        }
                    }
                    (chunk.b, chunk.b_pitch) = (columns.0.as_ptr().cast(), BLOCK);
                }
                if MODEL {
                    model(&mut sums, chunk);
                } else {
                    instructions::multiply(chunk);
                }
            }
        }
        if !MODEL {
            instructions::store(&mut sums);
        }
        for (to, sums) in target.start.iter().zip(&sums.0).take(target.rows) {
            for (j, &sum) in sums[..target.columns].iter().enumerate() {
                let to = to.add(j);
                *to = if target.adds { *to + sum } else { sum };
            }
        }
    }
}

/// Words from each of the rows to the next, if all of them are as far apart.
#[inline(always)]
fn pitch(rows: &[*const u32]) -> Option<isize> {
    let distance = |i: usize| (rows[i + 1] as isize).wrapping_sub(rows[i] as isize) / size_of::<u32>() as isize;
    (1..SIDE - 1).all(|i| distance(i) == distance(0)).then(|| distance(0))
}

/// The model of four `tdpbf16ps`, which take subnormal numbers for zero where this does not.
///
/// # Safety
/// The rows of the chunk are readable.
#[inline(always)]
unsafe fn model(sums: &mut Sums, chunk: Chunk) {
    let upper = |word: u32| f32::from_bits(word & 0xFFFF_0000);
    let lower = |word: u32| f32::from_bits(word << 16);
    for (i, sums) in sums.0.iter_mut().enumerate() {
        let (half, row) = (i / SIDE, i % SIDE);
        let (mut even, mut odd) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
        for k in 0..SIDE {
            // SAFETY: the caller's promise.
            let (a, b) = unsafe {
                let a = *chunk.a[half].offset(row as isize * chunk.a_pitch[half]).add(k);
                (a, &*chunk.b.add(k * chunk.b_pitch).cast::<[u32; BLOCK]>())
            };
            for ((even, odd), &b) in even.iter_mut().zip(&mut odd).zip(b) {
                *even = lower(a).mul_add(lower(b), *even);
                *odd = upper(a).mul_add(upper(b), *odd);
            }
        }
        for ((sum, even), odd) in sums.iter_mut().zip(even).zip(odd) {
            *sum += even + odd;
        }
    }
}

/// Runs `work` with the tiles of this thread as products take them, and gives them back: they belong to a thread.
///
/// # Panics
/// If the machine has no AMX.
pub(super) fn with_tiles<R>(work: impl FnOnce() -> R) -> R {
    assert!(InstructionSet::Amx.is_available(), "AMX");
    // SAFETY: the line above.
    unsafe { instructions::configure() };
    let result = work();
    // SAFETY: as above.
    unsafe { instructions::release() };
    result
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod instructions {
    use std::arch::asm;

    use super::{BLOCK, Chunk, SIDE, Sums};

    /// The memory operand of `ldtilecfg`: eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    pub unsafe fn configure() {
        let mut configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        configuration.row_bytes[..8].fill(4 * SIDE as u16);
        configuration.rows[..8].fill(SIDE as u8);
        // SAFETY: the caller's promise; the operand has 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly)) }
    }

    pub unsafe fn release() {
        // SAFETY: the caller's promise.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }

    /// Sets the sums, tiles 0 to 3, to zero.
    #[inline(always)]
    pub unsafe fn zero() {
        // SAFETY: the caller's promise. No code of the compiler uses tiles.
        unsafe { asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem)) }
    }

    /// Adds the products of a chunk to the sums.
    #[inline(always)]
    pub unsafe fn multiply(chunk: Chunk) {
        // SAFETY: the caller's promise; each tile reads 16 rows of 64 bytes.
        unsafe {
            asm!(
                "tileloadd tmm6, [{b} + {b_pitch}]",
                "tileloadd tmm4, [{upper} + {upper_pitch}]",
                "tileloadd tmm7, [{right} + {b_pitch}]",
                "tileloadd tmm5, [{lower} + {lower_pitch}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                b = in(reg) chunk.b,
                right = in(reg) chunk.b.add(SIDE),
                b_pitch = in(reg) 4 * chunk.b_pitch,
                upper = in(reg) chunk.a[0],
                upper_pitch = in(reg) 4 * chunk.a_pitch[0],
                lower = in(reg) chunk.a[1],
                lower_pitch = in(reg) 4 * chunk.a_pitch[1],
                options(nostack, readonly)
            );
        }
    }

    /// Copies the sums to memory.
    #[inline(always)]
    pub unsafe fn store(sums: &mut Sums) {
        let start = sums.0.as_mut_ptr().cast::<f32>();
        // SAFETY: the caller's promise; the four tiles are a block of sums.
        unsafe {
            asm!(
                "tilestored [{0} + {4}], tmm0",
                "tilestored [{1} + {4}], tmm1",
                "tilestored [{2} + {4}], tmm2",
                "tilestored [{3} + {4}], tmm3",
                in(reg) start,
                in(reg) start.add(SIDE),
                in(reg) start.add(SIDE * BLOCK),
                in(reg) start.add(SIDE * BLOCK + SIDE),
                in(reg) 4 * BLOCK,
                options(nostack)
            );
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod instructions {
    use super::{Chunk, Sums};

    pub unsafe fn configure() {}
    pub unsafe fn release() {}
    pub unsafe fn zero() {}
    pub unsafe fn multiply(_: Chunk) {}
    pub unsafe fn store(_: &mut Sums) {}
}
