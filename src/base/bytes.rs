//! Sizes in bytes, as they are typed and printed.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use anyhow::{Error, Result, bail};

/// Number of bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;

/// The suffixes that are read, each 1024 times the one before it.
const SUFFIXES: &str = "KMGT";

/// A number of bytes. Parsed from text such as `500M`, `20G` or `20GiB`, with suffixes in powers of 1024 and a value
/// above 0; displayed in bytes, MiB or GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<ByteSize> {
        let upper = text.to_ascii_uppercase();
        let start = upper.find(|c: char| !c.is_ascii_digit()).unwrap_or(upper.len());
        let (digits, suffix) = upper.split_at(start);
        let letter = suffix.strip_suffix("IB").unwrap_or(suffix);
        let power = match suffix {
            "" => Some(0),
            _ if letter.len() == 1 => SUFFIXES.find(letter).map(|index| index as u32 + 1),
            _ => None,
        };
        let bytes = power.zip(digits.parse::<u64>().ok()).and_then(|(power, n)| n.checked_mul(1024_u64.pow(power)));
        match bytes {
            Some(bytes) if bytes > 0 => Ok(ByteSize(bytes)),
            _ => bail!("'{text}' is no size: a whole number of bytes, or with K, M, G or T behind it, like 20G"),
        }
    }
}

impl Display for ByteSize {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < MIB => write!(f, "{bytes} bytes"),
            bytes if bytes < 1024 * MIB => write!(f, "{} MiB", bytes.div_ceil(MIB)),
            bytes => write!(f, "{:.1} GiB", bytes as f64 / (1024 * MIB) as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        for (text, bytes) in [("1", 1), ("500k", 500 << 10), ("3M", 3 << 20), ("20GiB", 20 << 30), ("1T", 1 << 40)] {
            assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize(bytes));
        }
        for text in ["", "G", "1.5G", "-1", "0", "20GB", "20 G", "1KM", "1iB", "99999999T", "99999999999999999999"] {
            let error = text.parse::<ByteSize>().map_err(|error| error.to_string());
            assert!(error.as_ref().is_err_and(|error| error.contains("no size")), "{text}: {error:?}");
        }
    }

    #[test]
    fn sizes_are_printed_in_one_unit() {
        for (bytes, text) in [(7, "7 bytes"), (MIB + 1, "2 MiB"), (29 * MIB, "29 MiB"), (2048 * MIB, "2.0 GiB")] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
