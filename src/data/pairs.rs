//! Pairs of pictures, and their sources.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::decoding::Picture;
use super::size::Size;

/// The direction of translation: the side of a pair, A or B, that is the input; the other one is the target. A is the
/// left half of a file and B the right half. Of two files A is that in the folder `A`, the one with the suffix of A, or
/// the one beside the `.png`, such as the `.jpg` of the CMP facades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// A is the input, B the target.
    #[value(name = "a-to-b")]
    #[serde(rename = "a-to-b")]
    AToB,
    /// B is the input, A the target.
    #[value(name = "b-to-a")]
    #[serde(rename = "b-to-a")]
    BToA,
}

impl Direction {
    /// Returns the direction in words, such as `from A to B`.
    pub fn describe(self) -> &'static str {
        match self {
            Direction::AToB => "from A to B",
            Direction::BToA => "from B to A",
        }
    }
}

/// Random variations of a pair, drawn anew each time it is seen. Input and target share every draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// Always the same picture.
    None,
    /// Mirrored left to right half of the time.
    Flip,
    /// A crop at a random offset, then mirrored half of the time.
    Jitter,
}

/// An input and its target, the picture that it should be translated into. They are of equal size; their channels may
/// differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub input: Picture,
    pub target: Picture,
}

/// A data set of pairs: the same number in every epoch, each determined by the epoch and an index.
pub trait Pairs: Send + Sync {
    /// Number of pairs in an epoch.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pair at `index` (below [`len`](Pairs::len)) of `epoch` (from 0), at the size that it is cropped from.
    /// Folders ignore the epoch; the built-in facades are new in every epoch.
    ///
    /// # Errors
    /// When a file can no longer be read.
    fn pair(&self, epoch: u64, index: usize) -> anyhow::Result<Pair>;

    /// The size of each pair's pictures, by index, if the pairs are the same in every epoch; else `None`.
    fn fixed_sizes(&self) -> Option<Vec<Size>> {
        None
    }

    /// A name for the pair at `index`, for messages.
    fn name(&self, index: usize) -> String {
        format!("pair {}", index + 1)
    }

    /// A hash of the data. A resumed run is refused when it differs.
    fn fingerprint(&self) -> u64;
}

/// FNV-1a in 64 bits: a hash that is the same on every machine and in every release, which the standard library's is
/// not.
pub(crate) struct Fnv(pub(crate) u64);

impl Fnv {
    pub(crate) fn new() -> Fnv {
        Fnv(0xCBF2_9CE4_8422_2325)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    pub(crate) fn write_u64(&mut self, value: u64) {
        self.write(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::feeding::{Preprocess, ResizeFilter};

    #[test]
    fn fnv_gives_its_published_values() {
        for (text, hash) in
            [("", 0xCBF2_9CE4_8422_2325), ("a", 0xAF63_DC4C_8601_EC8C), ("foobar", 0x8594_4171_F739_67E8)]
        {
            let mut fnv = Fnv::new();
            fnv.write(text.as_bytes());
            assert_eq!(fnv.0, hash, "{text:?}");
        }
    }

    #[test]
    fn options_have_one_spelling_on_the_command_line_and_in_files() {
        #[derive(Serialize)]
        struct Table<T> {
            option: T,
        }
        fn check<T: ValueEnum + Serialize>() {
            for option in T::value_variants() {
                let name = option.to_possible_value().map(|value| value.get_name().to_owned());
                let text = toml::to_string(&Table { option: option.clone() }).expect("it is a plain table");
                assert_eq!(Some(text.trim()), name.map(|name| format!("option = \"{name}\"")).as_deref());
            }
        }
        check::<Direction>();
        check::<Augment>();
        check::<Preprocess>();
        check::<ResizeFilter>();
        assert_eq!(Direction::from_str("b-to-a", false), Ok(Direction::BToA));
    }
}
