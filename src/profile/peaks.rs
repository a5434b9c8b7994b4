//! The peaks of the CPU, measured: multiply-adds of registers, and memory that is read and written.

use std::fmt::{self, Display, Formatter};
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use serde::Serialize;

use super::rows::Row;
use crate::base::words::count;
use crate::engine::kernel::cpu::Real;
use crate::engine::simd::{InstructionSet, vectorized};

/// Measurements of a peak, of which the best counts.
const REPETITIONS: usize = 5;

/// Duration of a measurement of multiply-adds.
const REPETITION: Duration = Duration::from_millis(10);

/// Multiply-adds of a chain between two looks at the clock.
const ROUND: usize = 4096;

/// Elements of each of two arrays, 256 MiB together: more than caches hold.
const ELEMENTS: usize = 32 << 20;

/// Elements of a task.
const CHUNK: usize = 1 << 16;

/// The peaks of the CPU, of all threads in use together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peaks {
    /// Name of the instruction set in use.
    pub instruction_set: &'static str,
    pub threads: usize,
    /// Arithmetic in f32, two for each multiply-add, in GFLOP/s.
    pub gflop_per_s: f64,
    /// Bytes of memory that are read or written, in GB/s.
    pub gb_per_s: f64,
}

impl Peaks {
    /// Measures the peaks of the instruction set that the CPU device uses, on the threads of the current rayon pool, in
    /// less than half a second.
    ///
    /// # Errors
    /// When `PIXTAPE_CPU` names an instruction set that cannot be used.
    pub fn measure() -> Result<Peaks> {
        let set = InstructionSet::chosen()?;
        // As many vectors as a tile of products has: of 16 registers of AVX2, 6 take 12; AVX-512 has 32 registers.
        let multiply_adds = best(|| on_all_threads::<6>(set).max(on_all_threads::<12>(set)));
        Ok(Peaks {
            instruction_set: set.name(),
            threads: rayon::current_num_threads(),
            gflop_per_s: 2.0 * multiply_adds / 1e9,
            gb_per_s: memory_bytes() / 1e9,
        })
    }

    /// Returns `row`, whose time was measured on the CPU, with its rates and the larger of their shares of the peaks.
    pub fn rated(&self, row: Row) -> Row {
        // A thousand a microsecond are a billion a second.
        let billions = |amount: u64| row.us.filter(|&us| us > 0.0 && amount > 0).map(|us| amount as f64 / us / 1e3);
        let (gflop_per_s, gb_per_s) = (billions(row.flop), billions(row.distinct_bytes));
        let of_arithmetic = gflop_per_s.map(|rate| (rate / self.gflop_per_s, "arithmetic"));
        let of_memory = gb_per_s.map(|rate| (rate / self.gb_per_s, "memory"));
        let shares = of_arithmetic.into_iter().chain(of_memory);
        let (peak_share, bound) = shares.max_by(|(a, _), (b, _)| a.total_cmp(b)).unzip();
        Row { gflop_per_s, gb_per_s, peak_share, bound, ..row }
    }
}

impl Display for Peaks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Peaks { instruction_set, threads, gflop_per_s, gb_per_s } = self;
        let threads = count(*threads, "thread");
        write!(
            f,
            "{gflop_per_s:.1} GFLOP/s of f32 multiply-adds by {instruction_set} on {threads}, {gb_per_s:.1} GB/s of \
             memory read and written"
        )
    }
}

fn best(rate: impl Fn() -> f64) -> f64 {
    (0..REPETITIONS).map(|_| rate()).fold(0.0, f64::max)
}

/// Multiply-adds in `N` vectors, each of them a chain of its own, which stay in registers.
struct Chains<const N: usize>;

impl<const N: usize> WithSimd for Chains<N> {
    type Output = ();

    #[expect(clippy::needless_range_loop, reason = "loops over constants are unrolled, which keeps sums in registers")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [a, b] = black_box([0.5, 0.25]);
        let (a, b) = (f32::splat(simd, a), f32::splat(simd, b));
        let mut sums = [a; N];
        // Chains that began alike would be computed as one.
        for r in 0..N {
            sums[r] = f32::splat(simd, black_box(r as f32));
        }
        for _ in 0..ROUND {
            for r in 0..N {
                sums[r] = f32::mul_add_vectors(simd, a, b, sums[r]);
            }
        }
        for r in 0..N {
            black_box(sums[r]);
        }
    }
}

/// Returns the multiply-adds a second of all threads, in `N` chains each.
fn on_all_threads<const N: usize>(set: InstructionSet) -> f64 {
    let of_a_thread = |_: rayon::BroadcastContext<'_>| {
        let (start, mut rounds) = (Instant::now(), 0);
        while start.elapsed() < REPETITION {
            set.run(Chains::<N>);
            rounds += 1;
        }
        (rounds * ROUND * N * <f32 as Real>::LANES) as f64 / start.elapsed().as_secs_f64()
    };
    rayon::broadcast(of_a_thread).into_iter().sum()
}

/// Returns the bytes a second that all threads read and write for `y = a x + y`, which reads two arrays and writes one.
fn memory_bytes() -> f64 {
    let [mut x, mut y] = [0, 1].map(|_| vec![0.0f32; ELEMENTS]);
    // Pages that were never written would all be read from one page of zeros.
    [&mut x, &mut y].into_iter().for_each(|array| array.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(1.0)));
    let a = black_box(0.5);
    let mut passes = Vec::new();
    for _ in 0..REPETITIONS {
        let start = Instant::now();
        let tasks = y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
        tasks.for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || y.iter_mut().zip(x).for_each(|(y, &x)| *y += a * x),
            )
        });
        passes.push(start.elapsed());
    }
    black_box(&y);
    let fastest = passes.into_iter().min().unwrap_or_default();
    (3 * ELEMENTS * size_of::<f32>()) as f64 / fastest.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAKS: Peaks = Peaks { instruction_set: "avx2", threads: 2, gflop_per_s: 200.0, gb_per_s: 20.0 };

    fn rated(flop: u64, distinct_bytes: u64, us: Option<f64>) -> Row {
        PEAKS.rated(Row { flop, distinct_bytes, us, ..Row::default() })
    }

    #[test]
    fn the_larger_share_of_the_peaks_decides() {
        // 3 GFLOP and 4 MB in 20 ms: 75 % of the arithmetic, 1 % of the memory.
        let row = rated(3_000_000_000, 4_000_000, Some(20_000.0));
        assert_eq!((row.gflop_per_s, row.gb_per_s), (Some(150.0), Some(0.2)));
        assert_eq!((row.peak_share, row.bound), (Some(0.75), Some("arithmetic")));
        // 2 MFLOP and 30 MB in 2 ms: 0.5 % and 75 %.
        let row = rated(2_000_000, 30_000_000, Some(2_000.0));
        assert_eq!((row.gflop_per_s, row.gb_per_s), (Some(1.0), Some(15.0)));
        assert_eq!((row.peak_share, row.bound), (Some(0.75), Some("memory")));
    }

    #[test]
    fn a_row_without_arithmetic_has_a_share_of_the_memory() {
        let row = rated(0, 50_000_000, Some(2_000.0));
        assert_eq!((row.gflop_per_s, row.gb_per_s), (None, Some(25.0)));
        // Bytes that the caches hold are faster than those of memory.
        assert_eq!((row.peak_share, row.bound), (Some(1.25), Some("memory")));
    }

    #[test]
    fn a_row_that_moves_nothing_or_takes_no_time_has_no_rates() {
        for row in [rated(0, 0, Some(1.0)), rated(8, 8, None), rated(8, 8, Some(0.0))] {
            assert_eq!((row.gflop_per_s, row.gb_per_s), (None, None));
            assert_eq!((row.peak_share, row.bound), (None, None));
        }
    }

    #[test]
    fn peaks_are_told_with_their_units() {
        let expected = "200.0 GFLOP/s of f32 multiply-adds by avx2 on 2 threads, 20.0 GB/s of memory read and written";
        assert_eq!(PEAKS.to_string(), expected);
    }
}
