//! Detection of single pictures among side-by-side files, by the seam in the middle. Where the halves of a pair meet
//! there is an edge; a single picture has none there.
//!
//! Shape alone does not tell them apart: two upright pictures of 2:3 make a file of 4:3, as cameras do.

use crate::base::words::count;
use crate::data::decoding::Picture;
use crate::data::feeding::halves::OTHER_LAYOUTS;

/// Distances from the middle of the columns that it is compared with. They are multiples of 8, since the middle is
/// often a border between two blocks of a JPEG, which is an edge of its own.
const DISTANCES: [usize; 4] = [8, 16, 24, 32];

/// Least ratio of the mean difference across the middle to that across the other columns that counts as an edge. In the
/// median of a folder, single photographs were measured to have 0.85 to 1.05, also as JPEG of quality 30, pairs 3.5 to
/// 17, and pairs of a texture and the same texture 2.2 and more. One in seven photographs has more than 1.5, one in
/// fifty pairs less.
const EDGE: f64 = 1.5;

/// The mean difference along a column below which the column is plain, as samples of 16 bits: 8 of 255. On a plain
/// background, such as the white around a drawing, the halves of a pair meet without an edge. Noise of a deviation of 4
/// makes 3, a background that fades by 60 from top to bottom 4; 95 % of whole photographs have more than 13.
const PLAIN: f64 = 8.0 * 257.0;

/// Number of parts of a column. The difference along a column is taken over the height of a part, over which a picture
/// changes and a gradient does not.
const PARTS: usize = 16;

/// Counts of side-by-side files: of all, and of those without a seam, which look like single pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seams {
    files: usize,
    without: usize,
}

impl Seams {
    pub fn add(&mut self, is_missing: bool) {
        self.files += 1;
        self.without += usize::from(is_missing);
    }

    /// Returns a warning if more than half of the files have no seam, else `None`. A few without one prove nothing:
    /// halves of a pair may happen to meet alike.
    pub fn warning(&self) -> Option<String> {
        let Seams { files, without } = *self;
        (2 * without > files).then(|| {
            let have = if without == 1 { "has" } else { "have" };
            format!(
                "Warning   {without} of {} {have} no edge in the middle, where the halves of a pair meet: they may be \
                 single pictures. {OTHER_LAYOUTS}",
                count(files, "file")
            )
        })
    }
}

/// True if a side-by-side file, given as a whole, has no seam: no edge between its left and its right half, so that it
/// looks like a single picture. False where the picture is too narrow, or too plain in the middle, to tell.
pub fn is_missing(file: &Picture) -> bool {
    let middle = file.size.width / 2;
    let others = DISTANCES.iter().filter(|&&distance| distance < middle);
    let others: Vec<f64> = others
        .flat_map(|distance| [middle - distance, middle + distance])
        .map(|column| difference(file, [column - 1, column], 0))
        .collect();
    if others.is_empty() {
        return false;
    }
    let usual = others.iter().sum::<f64>() / others.len() as f64;
    let apart = file.size.height.div_ceil(PARTS);
    let is_plain = [middle - 1, middle].iter().any(|&column| difference(file, [column; 2], apart) < PLAIN);
    !is_plain && difference(file, [middle - 1, middle], 0) < EDGE * usual
}

/// The mean absolute difference between the colours of a column and those of another one, `down` rows below.
fn difference(file: &Picture, [a, b]: [usize; 2], down: usize) -> f64 {
    let channels = file.channels;
    let colors = if file.has_alpha() { channels - 1 } else { channels };
    let row = file.size.width * channels;
    let rows = file.size.height.saturating_sub(down);
    let sum: u64 = (0..rows)
        .map(|y| {
            let [a, b] = [y * row + a * channels, (y + down) * row + b * channels];
            let pairs = file.samples[a..a + colors].iter().zip(&file.samples[b..b + colors]);
            pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        })
        .sum();
    sum as f64 / (rows * colors).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::size::Size;

    /// A grey picture of values of 8 bits.
    fn picture(width: usize, height: usize, value: impl Fn(usize, usize) -> f64) -> Picture {
        let values: Vec<u8> = (0..width * height).map(|i| value(i % width, i / width).round() as u8).collect();
        Picture::from_bytes(Size { width, height }, 1, &values)
    }

    /// Slanting waves, which every column cuts alike.
    fn waves(x: usize, y: usize) -> f64 {
        128.0 + 100.0 * (0.1 * x as f64 + 0.3 * y as f64).sin()
    }

    #[test]
    fn one_picture_goes_on_and_two_meet_in_an_edge() {
        for (width, height) in [(128, 96), (130, 64), (18, 64)] {
            assert!(is_missing(&picture(width, height, waves)), "{width}x{height}");
            // Another picture, and the same one again.
            let half = width / 2;
            assert!(!is_missing(&picture(width, height, |x, y| waves(x, if x < half { y } else { 2 * y }))));
            assert!(!is_missing(&picture(width, height, |x, y| waves(x % half, y + x / half))));
        }
        // The same columns with one value for another: only the difference counts.
        assert!(is_missing(&picture(128, 96, |x, y| 255.0 - waves(x, y))));
    }

    #[test]
    fn an_edge_is_one_and_a_half_times_as_strong_as_others() {
        // Columns that differ by 10 from their neighbours, on bars; the left half is brighter by `more`.
        let with_edge = |more: f64| {
            let value = |x: usize, y: usize| 40 + 100 * (y / 12 % 2) + 10 * (x % 2);
            picture(128, 96, |x, y| value(x, y) as f64 + if x < 64 { more } else { 0.0 })
        };
        assert!(is_missing(&with_edge(0.0)) && is_missing(&with_edge(4.0)));
        assert!(!is_missing(&with_edge(5.0)));
    }

    #[test]
    fn blocks_of_a_jpeg_are_no_seam() {
        let blocks = |x: usize, y: usize| waves(x / 8 * 8, y) + (x % 8) as f64 / 8.0;
        assert!(is_missing(&picture(128, 96, blocks)));
    }

    #[test]
    fn plain_backgrounds_are_left_out() {
        let around = |back: fn(usize) -> f64| {
            picture(128, 96, move |x, y| if (16..48).contains(&(x % 64)) { waves(x, y) } else { back(y) })
        };
        for file in [around(|_| 255.0), around(|y| (y * 7 % 5) as f64), around(|y| 200.0 - 0.6 * y as f64)] {
            assert!(!is_missing(&file));
        }
        assert!(is_missing(&around(|y| waves(0, y))));
    }

    #[test]
    fn what_is_too_small_or_transparent_is_not_looked_at() {
        for (width, height) in [(16, 64), (2, 2), (128, 1)] {
            assert!(!is_missing(&picture(width, height, waves)), "{width}x{height}");
        }
        let opaque = picture(128, 96, waves);
        let alpha = |value: fn(usize) -> u16| {
            let samples = opaque.samples.iter().enumerate().flat_map(|(i, &grey)| [grey, value(i % 128)]).collect();
            Picture::new(opaque.size, 2, samples)
        };
        assert!(is_missing(&alpha(|x| if x < 64 { 0 } else { u16::MAX })));
        // A band is a colour like the others.
        let band = Picture { has_extra_band: true, ..alpha(|x| if x < 64 { 0 } else { u16::MAX }) };
        assert!(!is_missing(&band));
    }

    #[test]
    fn most_files_are_a_reason_to_warn() {
        let warning = |without: usize, with: usize| {
            let mut seams = Seams::default();
            (0..without + with).for_each(|file| seams.add(file < without));
            seams.warning()
        };
        for (without, with) in [(0, 0), (0, 9), (1, 1), (2, 3)] {
            assert_eq!(warning(without, with), None);
        }
        let starts = |without, with, start| warning(without, with).is_some_and(|line| line.starts_with(start));
        assert!(starts(
            3,
            2,
            "Warning   3 of 5 files have no edge in the middle, where the halves of a pair meet: they"
        ));
        assert!(starts(1, 0, "Warning   1 of 1 file has no edge in the middle"));
    }
}
