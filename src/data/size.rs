//! The size of a picture, as people write it: `256` for a square, `512x256` for width by height.

use std::{fmt, str::FromStr};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// Width and height in pixels. Sides of a size that is parsed from text are from 1 to [`Size::LONGEST`]; those of a
/// picture may be longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Size {
    /// Longest side, in pixels, that a text may ask for: a longer one is likely a typing error.
    pub const LONGEST: usize = 4096;

    pub fn square(side: usize) -> Size {
        Size { width: side, height: side }
    }

    pub fn pixels(self) -> usize {
        self.width * self.height
    }

    /// True if both sizes have the same ratio of width to height: to 1 %, or to the rounding of a side to whole pixels.
    pub fn has_aspect_ratio_of(self, other: Size) -> bool {
        // Sides come from headers of files: their products need not fit in fewer bits.
        let [[width, height], [others_width, others_height]] =
            [self, other].map(|size| [size.width as u128, size.height as u128]);
        let (ours, theirs) = (width * others_height, others_width * height);
        let apart = ours.abs_diff(theirs);
        // A side of one picture that is half a pixel longer makes half of a side of the other.
        let longest = width.max(height).max(others_width).max(others_height);
        100 * apart <= ours.min(theirs) || 2 * apart <= longest
    }

    /// Returns the size of the left or the right half: half the width, the same height.
    ///
    /// # Errors
    /// When the width is odd.
    pub fn half(self) -> Result<Size> {
        ensure!(self.width.is_multiple_of(2), "{} is no side-by-side pair, its width is odd", self.sides());
        Ok(Size { width: self.width / 2, ..self })
    }

    /// Returns both sides as text, those of a square too: `256x256`.
    pub fn sides(self) -> String {
        format!("{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Size> {
        let (width, height) = text.split_once(['x', 'X']).unwrap_or((text, text));
        let side = |digits: &str| digits.trim().parse().ok().filter(|side| (1..=Size::LONGEST).contains(side));
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Size { width, height }),
            _ => bail!(
                "`{text}` is not an image size: write a side such as 256, or WIDTHxHEIGHT such as 512x256, \
                 each side from 1 to {}",
                Size::LONGEST
            ),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.width == self.height {
            true => write!(f, "{}", self.width),
            false => write!(f, "{}x{}", self.width, self.height),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

/// A size as it stands in a file: a bare number or the text of the command line.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an image size is a number such as 256 or a text such as \"512x256\"")]
enum Written {
    Side(i64),
    Text(String),
}

impl TryFrom<Written> for Size {
    type Error = anyhow::Error;

    fn try_from(written: Written) -> Result<Size> {
        match written {
            Written::Side(side) => side.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_compared_to_a_percent_or_a_pixel() {
        let same = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| text.parse::<Size>().expect(text));
            assert_eq!(a.has_aspect_ratio_of(b), b.has_aspect_ratio_of(a), "{a} {b}");
            a.has_aspect_ratio_of(b)
        };
        for (a, b) in [("256", "64"), ("512x256", "100x50"), ("1000x1000", "1000x1010"), ("100x75", "33x25")] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [("256", "256x128"), ("1000x1000", "1000x1011"), ("8x8", "8x9"), ("20x20", "24x20")] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for (text, width, height) in [("256", 256, 256), ("512x256", 512, 256), ("1x4096", 1, 4096)] {
            let size: Size = text.parse().expect(text);
            assert_eq!(size, Size { width, height });
            assert_eq!(size.to_string(), text);
        }
        assert_eq!("64X64".parse::<Size>().expect("a capital X is fine").to_string(), "64");
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "0", "x", "12x", "x12", "0x5", "-3", "1.5", "65536", "4x4x4", "99999999999999999999"] {
            let message = text.parse::<Size>().expect_err(text).to_string();
            assert!(message.contains(&format!("`{text}`")) && message.contains("512x256"), "{message}");
        }
    }

    #[test]
    fn stands_in_a_toml_file_as_a_text_or_a_number() {
        #[derive(Serialize, Deserialize)]
        struct Table {
            size: Size,
        }
        let read = |text: &str| toml::from_str::<Table>(text).map(|table| table.size);
        assert_eq!(read("size = 64"), Ok(Size::square(64)));
        assert_eq!(read("size = \"96x64\""), Ok(Size { width: 96, height: 64 }));
        assert!(read("size = -1").is_err());
        assert!(read("size = 1.5").expect_err("a fraction").to_string().contains("512x256"));
        let text = toml::to_string(&Table { size: Size { width: 96, height: 64 } }).expect("it is a plain table");
        assert_eq!(text.trim(), "size = \"96x64\"");
    }
}
