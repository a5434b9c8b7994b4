//! The values of the pictures of a data set: their range, alpha and bands, and the part that the networks do not see.

use crate::base::words::count;
use crate::data::decoding::Picture;
use crate::data::decoding::picture::Depth;

/// A warning is due if a side uses less than one part in this of the range of its bits.
const NARROW: u16 = 8;

/// Statistics of the samples of one side (A or B), over one picture or several: range, alpha and bands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    pictures: usize,
    /// Least and greatest sample of the colours, of 16 bits; `None` before the first picture.
    range: Option<(u16, u16)>,
    is_16_bit: bool,
    with_alpha: usize,
    with_band: usize,
    /// Pixels of the pictures with alpha.
    pixels: u64,
    not_opaque: u64,
}

impl Side {
    pub fn new(picture: &Picture, depth: Depth) -> Side {
        let (has_alpha, channels) = (picture.has_alpha(), picture.channels);
        let (mut least, mut most, mut not_opaque) = (u16::MAX, 0, 0);
        for pixel in picture.samples.chunks_exact(channels) {
            let colors = if has_alpha { &pixel[..channels - 1] } else { pixel };
            for &sample in colors {
                least = least.min(sample);
                most = most.max(sample);
            }
            not_opaque += u64::from(has_alpha && pixel[channels - 1] < u16::MAX);
        }
        Side {
            pictures: 1,
            range: Some((least, most)),
            is_16_bit: depth == Depth::Sixteen,
            with_alpha: usize::from(has_alpha),
            with_band: usize::from(picture.has_band()),
            pixels: if has_alpha { picture.size.pixels() as u64 } else { 0 },
            not_opaque,
        }
    }

    fn add(&mut self, other: &Side) {
        self.pictures += other.pictures;
        self.range = match (self.range, other.range) {
            (Some((a, b)), Some((least, most))) => Some((a.min(least), b.max(most))),
            (mine, others) => mine.or(others),
        };
        self.is_16_bit |= other.is_16_bit;
        self.with_alpha += other.with_alpha;
        self.with_band += other.with_band;
        self.pixels += other.pixels;
        self.not_opaque += other.not_opaque;
    }

    /// A description such as `1000 to 1400 of 0 to 65535`, in the numbers of the deepest file.
    fn describe(&self) -> Option<String> {
        let (least, most) = self.range?;
        let (unit, white) = if self.is_16_bit { (1, u16::MAX) } else { (257, 255) };
        Some(format!("{} to {} of 0 to {white}", least / unit, most / unit))
    }
}

/// Statistics of the samples of A and of B, and the number of channels that the networks see of each.
#[derive(Clone, Debug, Default)]
pub struct Values {
    sides: [Side; 2],
    /// Channels that the networks see.
    channels: [usize; 2],
}

impl Values {
    pub fn new(channels: [usize; 2]) -> Values {
        Values { channels, ..Values::default() }
    }

    pub fn add(&mut self, sides: [Side; 2]) {
        self.sides.iter_mut().zip(&sides).for_each(|(sum, side)| sum.add(side));
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &Side, usize)> {
        let [a, b] = &self.sides;
        [("A", a, self.channels[0]), ("B", b, self.channels[1])].into_iter().filter(|(_, side, _)| side.pictures > 0)
    }

    /// Returns lines for a report: the range of the samples of A and of B, then alpha and bands that are dropped.
    pub fn lines(&self) -> Vec<String> {
        let ranges: Vec<String> =
            self.each().filter_map(|(name, side, _)| Some(format!("{name} {}", side.describe()?))).collect();
        let mut lines = Vec::new();
        if !ranges.is_empty() {
            lines.push(format!("Values    {}", ranges.join(", ")));
        }
        for (name, side, channels) in self.each().filter(|(.., channels)| !channels.is_multiple_of(2)) {
            if side.with_alpha > 0 {
                let percent = 100.0 * side.not_opaque as f64 / side.pixels as f64;
                let hidden = match side.not_opaque {
                    0 => "all of it is opaque".to_owned(),
                    _ => format!("{percent:.1} % of the pixels are not opaque, their hidden colours are used"),
                };
                lines.push(format!("Alpha     dropped from {} of {name}; {hidden}", count(side.with_alpha, "picture")));
            }
            if side.with_band > 0 {
                let pictures = count(side.with_band, "picture");
                lines.push(format!(
                    "Bands     the last band of {pictures} of {name} is dropped: {} channels keep it",
                    channels + 1
                ));
            }
        }
        lines
    }

    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, side, channels) in self.each() {
            if let (Some((least, most)), Some(range)) = (side.range, side.describe())
                && most - least < u16::MAX / NARROW
            {
                warnings.push(format!(
                    "Warning   {name} uses {:.1} % of its range ({range}), so that the networks see hardly any \
                     difference: rescale its files to the full range, or give each class a colour of its own",
                    100.0 * f64::from(most - least) / f64::from(u16::MAX)
                ));
            }
            let without = side.pictures - side.with_alpha - side.with_band;
            if channels.is_multiple_of(2) && without > 0 {
                let which = if channels == 2 { "second" } else { "fourth" };
                let files = match without == side.pictures {
                    true => format!("no picture of {name} has"),
                    false => format!("{without} of {} of {name} have no", count(side.pictures, "picture")),
                };
                let article = if without == side.pictures { "a " } else { "" };
                warnings.push(format!(
                    "Warning   {files} {article}{which} channel: there the networks see the greatest value, opaque, \
                     everywhere"
                ));
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::size::Size;

    fn picture(channels: usize, has_extra_band: bool, samples: &[u16]) -> Picture {
        let size = Size { width: samples.len() / channels, height: 1 };
        Picture { size, channels, has_extra_band, samples: samples.to_vec() }
    }

    fn values(channels: [usize; 2], pairs: &[[&Picture; 2]], depth: Depth) -> Values {
        let mut values = Values::new(channels);
        pairs.iter().for_each(|pair| values.add(pair.map(|picture| Side::new(picture, depth))));
        values
    }

    #[test]
    fn a_range_narrower_than_an_eighth_is_warned_of() {
        let wide = picture(1, false, &[0, 65535]);
        for (most, is_narrow) in [(1400, true), (1000 + 8190, true), (1000 + 8191, false)] {
            let narrow = picture(1, false, &[1000, most]);
            let found = values([1, 1], &[[&narrow, &wide]], Depth::Sixteen);
            let expected = format!("Values    A 1000 to {most} of 0 to 65535, B 0 to 65535 of 0 to 65535");
            assert_eq!(found.lines(), [expected]);
            assert_eq!(found.warnings().len(), usize::from(is_narrow), "{most}");
        }
        let labels = picture(1, false, &[0, 19 * 257]);
        let found = values([1, 1], &[[&wide, &labels], [&wide, &picture(1, false, &[257])]], Depth::Eight);
        assert_eq!(found.lines(), ["Values    A 0 to 255 of 0 to 255, B 0 to 19 of 0 to 255"]);
        assert!(found.warnings()[0].starts_with("Warning   B uses 7.5 % of its range (0 to 19 of 0 to 255)"));
    }

    #[test]
    fn alpha_and_bands_that_are_dropped_are_told_and_count_as_no_colours() {
        let wide = picture(1, false, &[0, 65535]);
        let alpha = picture(2, false, &[0, 65535, 40000, 0, 9, 0, 9, 5]);
        let found = values([3, 3], &[[&alpha, &wide], [&wide, &wide]], Depth::Sixteen);
        assert_eq!(
            found.lines()[1..],
            ["Alpha     dropped from 1 picture of A; 75.0 % of the pixels are not opaque, their hidden colours are \
                 used"]
        );
        let constant = picture(2, false, &[700, 0, 800, 65535]);
        assert_eq!(values([2, 1], &[[&constant, &wide]], Depth::Sixteen).warnings().len(), 1);
        let band = picture(4, true, &[0, 0, 0, 65535]);
        let found = values([3, 3], &[[&band, &wide]], Depth::Sixteen);
        assert_eq!(found.lines()[1..], ["Bands     the last band of 1 picture of A is dropped: 4 channels keep it"]);
        assert_eq!(values([4, 3], &[[&band, &wide]], Depth::Sixteen).lines().len(), 1);
    }

    #[test]
    fn channels_that_files_do_not_have_are_warned_of() {
        let [rgb, rgba] = [picture(3, false, &[0, 0, 65535]), picture(4, false, &[0, 0, 65535, 3])];
        let found = values([4, 3], &[[&rgb, &rgb]], Depth::Sixteen).warnings();
        assert_eq!(
            found,
            ["Warning   no picture of A has a fourth channel: there the networks see the greatest value, opaque, \
                 everywhere"]
        );
        let found = values([4, 3], &[[&rgb, &rgb], [&rgba, &rgb]], Depth::Sixteen).warnings();
        assert_eq!(
            found,
            ["Warning   1 of 2 pictures of A have no fourth channel: there the networks see the greatest value, \
                 opaque, everywhere"]
        );
        assert!(values([4, 3], &[[&rgba, &rgb]], Depth::Sixteen).warnings().is_empty());
    }
}
