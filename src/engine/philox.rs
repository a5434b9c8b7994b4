//! Philox4x32-10, the random number generator of the project.
//!
//! A counter-based generator: the bits at a counter are a pure function of (key, counter), so nothing has to be stored
//! to draw the same number again. Dropout masks are recomputed in the backward pass, every device draws the same bits,
//! and a resumed run needs only its seed and its position.
//!
//! Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Returns four random 32-bit words, a pure function of `counter` and `key`: Philox4x32 with ten rounds, after which
/// the words depend on every bit of both.
#[inline(always)]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c, mut k] = [counter, [key[0], key[1], 0, 0]];
    for _ in 0..10 {
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c[0]);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1]), 0, 0];
    }
    c
}

/// The results of [`philox4x32`] for `N` counters: `counter`, and those that follow it in its first word. They are
/// computed side by side, in vector instructions.
#[inline(always)]
pub fn philox4x32_groups<const N: usize>(counter: [u32; 4], key: [u32; 2]) -> [[u32; 4]; N] {
    // Words of 64 bits, of which the upper halves have no meaning: products are as wide, and vector instructions
    // multiply the lower halves.
    let low = |word: u64| word & 0xFFFF_FFFF;
    let [first, c1, c2, c3] = counter;
    let mut c0: [u64; N] = std::array::from_fn(|i| u64::from(first.wrapping_add(i as u32)));
    let [mut c1, mut c2, mut c3] = [c1, c2, c3].map(|word| [u64::from(word); N]);
    let mut k = key;
    for _ in 0..10 {
        let p0: [u64; N] = std::array::from_fn(|i| u64::from(MULTIPLIERS[0]) * low(c0[i]));
        let p1: [u64; N] = std::array::from_fn(|i| u64::from(MULTIPLIERS[1]) * low(c2[i]));
        c0 = std::array::from_fn(|i| (p1[i] >> 32) ^ c1[i] ^ u64::from(k[0]));
        c2 = std::array::from_fn(|i| (p0[i] >> 32) ^ c3[i] ^ u64::from(k[1]));
        (c1, c3) = (p1, p0);
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    std::array::from_fn(|i| [c0[i], c1[i], c2[i], c3[i]].map(|word| word as u32))
}

/// Splits a seed into the two words of a Philox key, the low 32 bits first.
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// The purpose of a [`Stream`] of random numbers, such as initial weights or the order of training pairs. Streams of
/// different purposes are independent under the same seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights; the index counts the parameters of all networks.
    Init = 1,
    /// The order of the training pairs; the index is the epoch.
    Shuffle = 2,
    /// Crop and flip; the index counts the pairs since the start of training.
    Augment = 3,
    /// The built-in facades; the index is the number of the picture.
    Facade = 4,
    /// The pairs that are held out when a data set is split; the index is 0.
    Split = 5,
    /// The holes in a photograph; the index is a hash of its name.
    Holes = 6,
}

/// A sequence of random draws for one seed, purpose and index. The n-th draw is a function of (seed, purpose, index, n)
/// alone.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    block: u64,
    words: [u32; 4],
    used: usize,
}

impl Stream {
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Stream {
        // A key of its own for every (purpose, index), so that no stream runs into its neighbour. The last counter word
        // keeps this derivation apart from the counters that dropout uses under the same seed.
        let counter = [purpose as u32, index as u32, (index >> 32) as u32, u32::MAX];
        let [low, high, ..] = philox4x32(counter, key(seed));
        Stream { key: [low, high], block: 0, words: [0; 4], used: 4 }
    }

    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox4x32([self.block as u32, (self.block >> 32) as u32, 0, 0], self.key);
            self.block += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Draws a number uniform in [0, 1), a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Draws a number uniform in [low, high); rounding can give `high` itself.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Draws an integer uniform in 0..n, without modulo bias (Lemire, "Fast Random Integer Generation in an Interval",
    /// 2019).
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        debug_assert!(n > 0, "an empty range has nothing to draw");
        let reject_under = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(n);
            if product as u32 >= reject_under {
                return (product >> 32) as u32;
            }
        }
    }

    /// Draws true with probability `p`, else false.
    pub fn chance(&mut self, p: f32) -> bool {
        self.uniform() < p
    }

    /// Draws a number of the standard normal distribution, by Box and Muller's transform in f64.
    pub fn normal(&mut self) -> f32 {
        // 1 - u lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - f64::from(self.uniform())).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(self.uniform());
        (radius * angle.cos()) as f32
    }

    /// Shuffles `items` in place, every order equally likely (Fisher and Yates).
    ///
    /// # Panics
    /// If there are 2^32 items or more.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let n = u32::try_from(last + 1).expect("a data set has fewer than 2^32 pairs");
            items.swap(last, self.below(n) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors that the authors publish with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn known_answers() {
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32(counter, key), expected);
            let groups = philox4x32_groups::<4>(counter, key);
            for (i, words) in groups.into_iter().enumerate() {
                let [first, a, b, c] = counter;
                assert_eq!(words, philox4x32([first.wrapping_add(i as u32), a, b, c], key));
            }
        }
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_index_and_repeat_themselves() {
        let draw = |seed, purpose, index| {
            let mut stream = Stream::new(seed, purpose, index);
            [0; 6].map(|_: i32| stream.next_u32())
        };
        let base = draw(1, Purpose::Init, 0);
        assert_eq!(base, draw(1, Purpose::Init, 0));
        for other in [draw(2, Purpose::Init, 0), draw(1, Purpose::Shuffle, 0), draw(1, Purpose::Init, 1)] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut stream = Stream::new(3, Purpose::Init, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(stream.normal())).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        // Five standard errors: 5 / sqrt(20000) and 5 sqrt(2 / 20000).
        assert!(mean.abs() <= 0.036, "mean {mean}");
        assert!((variance - 1.0).abs() <= 0.05, "variance {variance}");
    }

    #[test]
    fn shuffle_is_a_permutation_and_below_reaches_every_value() {
        let mut stream = Stream::new(9, Purpose::Shuffle, 4);
        let mut items: Vec<usize> = (0..100).collect();
        stream.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        let mut seen = [false; 7];
        (0..400).for_each(|_| seen[stream.below(7) as usize] = true);
        assert_eq!(seen, [true; 7]);
    }
}
