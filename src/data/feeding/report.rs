//! A report on a folder of pairs: its files, and the preparation of the pairs, in words.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use crate::base::words::count as number;
use crate::data::feeding::seam::Seams;
pub use crate::data::feeding::values::Side;
use crate::data::feeding::values::Values;
use crate::data::feeding::{PairOptions, Preprocess, ResizeFilter};
use crate::data::finding::Layout;
use crate::data::finding::listing::describe_left_out;
use crate::data::pairs::{Augment, Direction};
use crate::data::size::Size;

/// Number of names, sizes or kinds that are listed; more are counted.
const NAMED: usize = 6;

/// A report on a folder of pairs: the layout, the number of pairs by split, properties of their files, and what was
/// skipped.
#[derive(Clone, Debug)]
pub struct Report {
    pub dir: PathBuf,
    pub layout: Layout,
    /// True if the two files of a pair have names that are equal only apart from case and Unicode form.
    pub is_folded: bool,
    pub direction: Direction,
    /// Each split that is used: its folder in words (` in train/` and the like, empty for `dir` itself), the number of
    /// its pairs, and their use in words.
    pub splits: Vec<(String, usize, &'static str)>,
    pub properties: FileProperties,
    /// Files that belong to no pair and folders that are not searched, each with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Statistics over the files of all pairs: sizes, kinds, sample values, and side-by-side files without a seam.
#[derive(Clone, Debug, Default)]
pub struct FileProperties {
    /// Number of pairs by the width and height of A and of B, in pixels, before they are resized.
    pub sizes: BTreeMap<[(usize, usize); 2], usize>,
    /// Number of files by kind, such as `8-bit RGB PNG`.
    pub kinds: BTreeMap<String, usize>,
    /// Range of the samples, alpha and bands.
    values: Values,
    pub seams: Seams,
}

impl Report {
    /// Returns the report as lines of text: the layout, the number of pairs of each split, the sizes and the kinds of
    /// their files, the range of the sample values, and the skipped files; then warnings.
    pub fn lines(&self) -> Vec<String> {
        let (input, target) = match self.direction {
            Direction::AToB => ("input", "target"),
            Direction::BToA => ("target", "input"),
        };
        let how = match &self.layout {
            Layout::SideBySide => {
                format!("pairs side by side, the left half (A) is the {input}, the right (B) the {target}")
            }
            Layout::Folders([a, b]) => {
                let but = if self.is_folded { ", but for case and Unicode form," } else { "" };
                let side = |name: &str, side| if name == side { name.to_owned() } else { format!("{name}/ ({side})") };
                let (a, b) = (side(a, "A"), side(b, "B"));
                format!("pairs by name{but} in two folders, {a} is the {input}, {b} the {target}")
            }
            Layout::Suffixes([a, b]) => {
                let name =
                    |suffix: &str| if suffix.is_empty() { "no suffix".to_owned() } else { format!("…{suffix}") };
                let (a, b) = (name(a), name(b));
                format!("pairs by suffix in one folder, {a} (A) is the {input}, {b} (B) the {target}")
            }
            Layout::Stems => format!("pairs by name, the .png (B) is the {target}, the file beside it (A) the {input}"),
        };
        let splits = self.splits.iter().map(|(split, count, use_)| format!("{}{split} {use_}", number(*count, "pair")));
        let mut lines =
            vec![format!("Found     {how}"), format!("Pairs     {}", splits.collect::<Vec<_>>().join(", "))];
        if !self.properties.kinds.is_empty() {
            lines.push(format!("Sizes     {}", self.sizes()));
            lines.push(format!("Files     {}", counted(&self.properties.kinds)));
        }
        lines.extend(self.properties.values.lines());
        lines.extend(self.skipped_line());
        lines.extend(self.properties.values.warnings());
        lines.extend(self.properties.seams.warning());
        lines
    }

    fn sizes(&self) -> String {
        let size = |(width, height): (usize, usize)| format!("{width}x{height}");
        let sizes = &self.properties.sizes;
        if sizes.len() <= NAMED {
            let name = |&[a, b]: &[_; 2]| if a == b { size(a) } else { format!("A {} and B {}", size(a), size(b)) };
            return counted(&sizes.iter().map(|(sides, count)| (name(sides), *count)).collect());
        }
        let all = || sizes.keys().flatten();
        let range = |side: fn(&(usize, usize)) -> usize| {
            (all().map(side).min().unwrap_or_default(), all().map(side).max().unwrap_or_default())
        };
        let ((narrow, wide), (low, high)) = (range(|size| size.0), range(|size| size.1));
        let differ = sizes.iter().filter(|([a, b], _)| a != b).map(|(_, count)| count).sum::<usize>();
        let differing =
            if differ > 0 { format!("; A and B differ in {}", number(differ, "pair")) } else { String::new() };
        format!("{} of them, {narrow} to {wide} wide and {low} to {high} high{differing}", sizes.len())
    }

    fn skipped_line(&self) -> Option<String> {
        let line = || format!("Skipped   {}", describe_left_out(&self.skipped, &self.dir, NAMED));
        (!self.skipped.is_empty()).then(line)
    }
}

/// Describes in one line how each pair is prepared (resized, cropped, mirrored, its channels), to follow
/// [`Report::lines`].
pub fn preparation(options: &PairOptions, augment: Augment) -> String {
    let PairOptions { channels, fit, .. } = options;
    let filter = match fit.resize_filter {
        ResizeFilter::Bicubic => "bicubic",
        ResizeFilter::Bilinear => "bilinear",
    };
    let mut steps = match fit.preprocess {
        Preprocess::ResizeAndCrop => vec![format!("resized to {} ({filter})", fit.load_size.sides())],
        Preprocess::ScaleWidth | Preprocess::ScaleWidthAndCrop => {
            vec![format!("scaled to a width of {} ({filter})", fit.load_size.width)]
        }
        Preprocess::Crop | Preprocess::None => Vec::new(),
    };
    let is_cropped =
        fit.preprocess.crops() && !(fit.preprocess == Preprocess::ResizeAndCrop && fit.load_size == fit.image_size);
    if is_cropped {
        let offset = if augment == Augment::Jitter { "at a random offset" } else { "in the middle" };
        steps.push(format!("cropped to {} {offset}", fit.image_size.sides()));
    }
    if augment != Augment::None {
        steps.push("mirrored half of the time".to_owned());
    }
    if *channels != [3, 3] {
        steps.push(format!("{} in, {} out", number(channels[0], "channel"), channels[1]));
    }
    if steps.is_empty() {
        steps.push("seen as they are".to_owned());
    }
    format!("Prepared  {}", steps.join(", "))
}

impl FileProperties {
    /// Returns the statistics of no files yet. `channels` are those that the networks see of A and of B; channels of
    /// files that are dropped, or that files lack, are reported.
    pub fn new(channels: [usize; 2]) -> FileProperties {
        FileProperties { values: Values::new(channels), ..FileProperties::default() }
    }

    /// Adds the statistics of the samples of A and of B of one pair.
    pub fn values(&mut self, sides: [Side; 2]) {
        self.values.add(sides);
    }

    /// Counts a pair whose sides A and B have these sizes before they are resized.
    pub fn pair(&mut self, sides: [Size; 2]) {
        *self.sizes.entry(sides.map(|size| (size.width, size.height))).or_default() += 1;
    }

    pub fn file(&mut self, kind: String) {
        *self.kinds.entry(kind).or_default() += 1;
    }
}

/// `256x256 (400), 128x128 (2)`, the most frequent first.
fn counted<T: Display>(counts: &BTreeMap<T, usize>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut named: Vec<String> = counts.iter().take(NAMED).map(|(what, count)| format!("{what} ({count})")).collect();
    if counts.len() > NAMED {
        named.push(format!("{} more", counts.len() - NAMED));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::feeding::Fit;
    use crate::data::finding::listing::NOT_SEARCHED;

    fn report() -> Report {
        let mut properties = FileProperties::default();
        for width in [64, 64, 32] {
            properties.pair([Size { width, height: 32 }; 2]);
            properties.file("8-bit RGB PNG".to_owned());
        }
        Report {
            dir: "data".into(),
            layout: Layout::SideBySide,
            is_folded: false,
            direction: Direction::BToA,
            splits: vec![(" in train/".to_owned(), 2, "to learn from"), (" in test/".to_owned(), 1, "held out")],
            properties,
            skipped: Vec::new(),
        }
    }

    #[test]
    fn a_plain_data_set_takes_four_lines() {
        assert_eq!(
            report().lines(),
            [
                "Found     pairs side by side, the left half (A) is the target, the right (B) the input",
                "Pairs     2 pairs in train/ to learn from, 1 pair in test/ held out",
                "Sizes     64x32 (2), 32x32 (1)",
                "Files     8-bit RGB PNG (3)",
            ]
        );
    }

    #[test]
    fn every_layout_says_which_side_is_which() {
        let said = |layout: Layout, is_folded| {
            Report { layout, is_folded, direction: Direction::AToB, ..report() }.lines().remove(0)
        };
        let names = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        for (layout, is_folded, expected) in [
            (Layout::Folders(names("A", "B")), false, "by name in two folders, A is the input, B the target"),
            (
                Layout::Folders(names("A", "B")),
                true,
                "by name, but for case and Unicode form, in two folders, A is the input, B the target",
            ),
            (
                Layout::Folders(names("photos", "labels")),
                false,
                "by name in two folders, photos/ (A) is the input, labels/ (B) the target",
            ),
            (
                Layout::Suffixes(names("_A", "_B")),
                false,
                "by suffix in one folder, …_A (A) is the input, …_B (B) the target",
            ),
            (
                Layout::Suffixes(names("", "_mask")),
                false,
                "by suffix in one folder, no suffix (A) is the input, …_mask (B) the target",
            ),
        ] {
            assert_eq!(said(layout, is_folded), format!("Found     pairs {expected}"));
        }
    }

    #[test]
    fn many_sizes_become_a_range_and_many_names_a_number() {
        let mut report = report();
        for side in 100..120 {
            report.properties.pair([Size { width: side, height: 50 }, Size { width: side, height: 2 * side }]);
        }
        for number in 0..10 {
            report.skipped.push((format!("data/train/{number}.txt").into(), "not a picture".to_owned()));
        }
        report.skipped.push(("data/.x.png".into(), "hidden".to_owned()));
        let lines = report.lines();
        assert_eq!(lines[2], "Sizes     22 of them, 32 to 119 wide and 32 to 238 high; A and B differ in 20 pairs");
        assert_eq!(
            lines[4],
            "Skipped   11 files (hidden: .x.png; not a picture: train/0.txt, train/1.txt, train/2.txt, \
             train/3.txt, train/4.txt, train/5.txt, 4 more)"
        );
        let folder = |name: &str| (name.into(), NOT_SEARCHED.to_owned());
        report.skipped = vec![("data/.x.png".into(), "hidden".to_owned()), folder("data/cats"), folder("data/dogs")];
        let expected = "Skipped   1 file, 2 folders (a folder that is not looked into: cats, dogs; hidden: .x.png)";
        assert_eq!(report.lines()[4], expected);
        report.skipped.remove(0);
        assert_eq!(report.lines()[4], "Skipped   2 folders (a folder that is not looked into: cats, dogs)");
    }

    #[test]
    fn what_will_be_done_is_said_in_order() {
        let (image, load) = (Size::square(256), Size::square(286));
        let said = |preprocess, load, channels, augment| {
            let fit = Fit { preprocess, load_size: load, ..Fit::resize(image) };
            preparation(&PairOptions { fit, channels, ..PairOptions::rgb(image) }, augment)
        };
        assert_eq!(
            said(Preprocess::ResizeAndCrop, load, [1, 3], Augment::Jitter),
            "Prepared  resized to 286x286 (bicubic), cropped to 256x256 at a random offset, mirrored half of the time, \
             1 channel in, 3 out"
        );
        assert_eq!(
            said(Preprocess::ResizeAndCrop, image, [3, 3], Augment::None),
            "Prepared  resized to 256x256 (bicubic)"
        );
        assert_eq!(said(Preprocess::Crop, image, [3, 3], Augment::None), "Prepared  cropped to 256x256 in the middle");
        assert_eq!(
            said(Preprocess::ScaleWidth, image, [3, 3], Augment::Flip),
            "Prepared  scaled to a width of 256 (bicubic), mirrored half of the time"
        );
        assert_eq!(said(Preprocess::None, image, [3, 3], Augment::None), "Prepared  seen as they are");
    }
}
