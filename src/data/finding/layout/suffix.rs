//! Pairs told apart by a suffix in one folder: `0_A.png` and `0_B.png`, `x-photo.jpg` and `x-label.png`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use super::words::{is_separator, side_of};
use crate::data::decoding::picture_size;

/// The result of [`find`]: the suffixes that tell the two files of a pair apart.
#[derive(Debug, PartialEq, Eq)]
pub enum Suffixes {
    /// The suffixes of A and of B, in this order. All files have one of them, and a partner with the other.
    Pairs([String; 2]),
    /// Words for both sides pair some files and not all: the names of such a pair, and the name of a file that is left
    /// over.
    Unclear { pair: [String; 2], left_over: String },
    /// No suffixes.
    None,
}

/// Finds the two suffixes of file names that tell inputs from targets: without them, the files of each split (one
/// element of `splits`) form two sets of equal names.
///
/// Digits are no suffix: `x1.png` and `x2.png` number a series. Of words for the two sides (`_input`, `_target`) one
/// pair is enough. Other words need at least two pairs, and are refused where all files are twice as wide as high: such
/// files are more likely side-by-side pairs.
pub fn find(splits: &[&[PathBuf]]) -> Suffixes {
    let stems: Vec<Vec<&str>> =
        splits.iter().filter_map(|files| stems(files)).filter(|stems| !stems.is_empty()).collect();
    if stems.len() != splits.iter().filter(|files| !files.is_empty()).count() {
        return Suffixes::None;
    }
    let Some((first, others)) = stems.first().and_then(|stems| stems.split_first()) else { return Suffixes::None };
    let candidates: BTreeSet<[&str; 2]> = others.iter().filter_map(|other| suffixes_of(first, other)).collect();
    let pairs = stems.iter().map(Vec::len).sum::<usize>() / 2;
    let sets: Vec<HashSet<&str>> = stems.iter().map(|stems| stems.iter().copied().collect()).collect();
    for suffixes in candidates {
        if stems.iter().zip(&sets).all(|(stems, all)| divides(stems, all, suffixes)) {
            let is_known = sides_of(suffixes).is_some();
            if !is_known && (pairs < 2 || are_squares_side_by_side(splits)) {
                return Suffixes::None;
            }
            return Suffixes::Pairs(in_order(suffixes).map(str::to_owned));
        }
    }
    match stems.iter().find_map(|stems| left_over(stems)) {
        Some(unclear) if !are_squares_side_by_side(splits) => unclear,
        _ => Suffixes::None,
    }
}

/// Joins those of `files` whose stems differ only in the two `suffixes`, of A and of B, which [`find`] has returned.
/// Returns pairs `[a, b]` in the order of the bytes of A's path; files without a partner are left out.
pub fn pairs(files: &[PathBuf], suffixes: &[String; 2]) -> Vec<[PathBuf; 2]> {
    let suffixes = suffixes.each_ref().map(String::as_str);
    let mut pairs: BTreeMap<&str, [Option<&PathBuf>; 2]> = BTreeMap::new();
    for file in files {
        if let Some((rest, side)) =
            file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| rest(stem, suffixes))
        {
            pairs.entry(rest).or_default()[side] = Some(file);
        }
    }
    let mut pairs: Vec<[PathBuf; 2]> =
        pairs.into_values().filter_map(|[a, b]| Some([a?.clone(), b?.clone()])).collect();
    pairs.sort_by(|[a, _], [b, _]| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    pairs
}

/// The stems of `files`; `None` if one is not Unicode.
fn stems(files: &[PathBuf]) -> Option<Vec<&str>> {
    files.iter().map(|file| file.file_stem()?.to_str()).collect()
}

/// The suffixes that tell two names of one beginning apart, from where a word begins.
fn suffixes_of<'a>(one: &'a str, other: &'a str) -> Option<[&'a str; 2]> {
    let common = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    let mut at = common.map_or(one.len().min(other.len()), |((at, _), _)| at);
    while !(begins_word(one, at) && begins_word(other, at)) || one[..at].ends_with(is_separator) {
        at = one[..at].char_indices().next_back()?.0;
    }
    let suffixes = [&one[at..], &other[at..]];
    let is_word = |suffix: &str| !suffix.trim_start_matches(is_separator).starts_with(|c: char| c.is_numeric());
    (at > 0 && one != other && suffixes.into_iter().all(is_word)).then_some(suffixes)
}

/// True if the letter at `at` does not go on with the word or the number before it.
fn begins_word(name: &str, at: usize) -> bool {
    let (Some(before), Some(after)) = (name[..at].chars().next_back(), name[at..].chars().next()) else { return true };
    match (before.is_alphabetic(), after.is_alphabetic()) {
        (true, true) => before.is_lowercase() && after.is_uppercase(),
        (false, false) => !(before.is_numeric() && after.is_numeric()),
        _ => true,
    }
}

/// A name without its suffix, and the index of the suffix. One suffix may end in the other.
fn rest<'a>(name: &'a str, suffixes: [&str; 2]) -> Option<(&'a str, usize)> {
    let longer = usize::from(suffixes[1].len() > suffixes[0].len());
    [longer, 1 - longer].into_iter().find_map(|side| Some((name.strip_suffix(suffixes[side])?, side)))
}

/// True if each name has one of the suffixes and the name with the other suffix exists. `all` are the names as a set.
/// Ends at the first name that fails, since most candidates fail.
fn divides(stems: &[&str], all: &HashSet<&str>, suffixes: [&str; 2]) -> bool {
    let mut counts = [0, 0];
    for stem in stems {
        let Some((rest, side)) = rest(stem, suffixes) else { return false };
        if !all.contains(&*format!("{rest}{}", suffixes[1 - side])) {
            return false;
        }
        counts[side] += 1;
    }
    // The counts are equal, so that no name serves two others: `x` and `x_mask` for `x_mask_mask`.
    all.len() == stems.len() && counts[0] == counts[1]
}

/// The sides that two suffixes stand for, if these are words for both.
fn sides_of(suffixes: [&str; 2]) -> Option<[usize; 2]> {
    let [Some(one), Some(other)] = suffixes.map(|suffix| side_of(suffix.trim_start_matches(is_separator))) else {
        return None;
    };
    (one != other).then_some([one, other])
}

/// The suffixes in order, that of A first: the word for A, or the one whose partner is a word for B; else in the order
/// of the bytes.
fn in_order([one, other]: [&str; 2]) -> [&str; 2] {
    let side = |suffix: &str| side_of(suffix.rsplit(is_separator).next().unwrap_or_default());
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    match (side(first), side(second)) {
        (Some(1), Some(0) | None) | (None, Some(0)) => [second, first],
        _ => [first, second],
    }
}

/// A pair by words for both sides and a name that is left over, if at least half of all names, without their words,
/// have both.
fn left_over(stems: &[&str]) -> Option<Suffixes> {
    let mut groups: BTreeMap<&str, [Option<&str>; 2]> = BTreeMap::new();
    for stem in stems {
        let at = stem.char_indices().rev().take_while(|(_, letter)| letter.is_alphabetic()).last().map(|(at, _)| at);
        // A word may begin within the trailing letters, as in `houseA`.
        let at =
            at.and_then(|at| (at..stem.len()).rev().find(|&at| stem.is_char_boundary(at) && begins_word(stem, at)));
        let word = at
            .filter(|at| *at > 0)
            .and_then(|at| Some((stem[..at].trim_end_matches(is_separator), side_of(&stem[at..])?)));
        match word {
            Some((rest, side)) if !rest.is_empty() => groups.entry(rest).or_default()[side] = Some(stem),
            _ => drop(groups.entry(stem).or_default()),
        }
    }
    let (mut pairs, mut others) = (Vec::new(), Vec::new());
    for (rest, group) in &groups {
        match *group {
            [Some(a), Some(b)] => pairs.push([a, b]),
            [a, b] => others.push(a.or(b).unwrap_or(rest)),
        }
    }
    let (pair, left_over) = (pairs.first()?.map(str::to_owned), (*others.first()?).to_owned());
    (pairs.len() >= others.len()).then_some(Suffixes::Unclear { pair, left_over })
}

/// True if all files are twice as wide as high. False if a size cannot be read.
fn are_squares_side_by_side(splits: &[&[PathBuf]]) -> bool {
    let is_twice_as_wide = |file: &PathBuf| picture_size(file).is_ok_and(|size| size.width == 2 * size.height);
    splits.iter().copied().flatten().all(is_twice_as_wide)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    fn look(names: &[&str]) -> Suffixes {
        find(&[&names.iter().map(PathBuf::from).collect::<Vec<_>>()])
    }

    fn suffixes(a: &str, b: &str) -> Suffixes {
        Suffixes::Pairs([a.to_owned(), b.to_owned()])
    }

    #[test]
    fn two_suffixes_of_all_names_are_pairs_whose_words_say_which_is_a() {
        let cases: [(&[&str], _); 9] = [
            (&["0_A.png", "0_B.png", "1_A.png", "1_B.png"], suffixes("_A", "_B")),
            (&["0_b.png", "0_a.png"], suffixes("_a", "_b")),
            (&["x_target.png", "x_input.png"], suffixes("_input", "_target")),
            (&["x-label.png", "x-photo.jpg", "y-label.png", "y-photo.jpg"], suffixes("-photo", "-label")),
            (&["1a.png", "1b.png", "12a.png", "12b.png"], suffixes("a", "b")),
            (&["houseA.png", "houseB.png", "carA.png", "carB.png"], suffixes("A", "B")),
            (&["x.jpg", "x_mask.png", "y.jpg", "y_mask.png"], suffixes("", "_mask")),
            (&["1_day.png", "1_night.png", "2_day.png", "2_night.png"], suffixes("_day", "_night")),
            (&["1_real_A.png", "1_real_B.png"], suffixes("_A", "_B")),
        ];
        for (names, expected) in cases {
            assert_eq!(look(names), expected, "{names:?}");
        }
        // Words of one side, or of none: in the order of the bytes, unless one of them is known.
        assert_eq!(in_order(["_night", "_day"]), ["_day", "_night"]);
        assert_eq!(in_order(["_gt", "_hazy"]), ["_hazy", "_gt"]);
        assert_eq!(in_order(["_zzz", "_input"]), ["_input", "_zzz"]);
    }

    #[test]
    fn other_names_are_no_suffixes() {
        for names in [
            &["frame001.png", "frame002.png"][..],
            &["x_1.png", "x_2.png", "y_1.png", "y_2.png"],
            &["x.png", "x_2.png"],
            &["cat.png", "dog.png"],
            &["a.png", "b.png"],
            // A single pair of unknown words is too little.
            &["img_cat.png", "img_dog.png"],
            &["1_cat.png", "1_dog.png", "2_cat.png"],
            &["input.png", "target.png"],
            &["x.png", "x_mask.png", "x_mask_mask.png"],
            &["x_A.png", "x_A.jpg", "x_B.png", "x_B.jpg"],
            &["x.png"],
            &[],
        ] {
            assert_eq!(look(names), Suffixes::None, "{names:?}");
        }
    }

    #[test]
    fn names_that_only_nearly_are_pairs_are_unclear() {
        for names in [
            &["0_A.png", "0_B.png", "0_C.png"][..],
            &["0_A.png", "0_B.png", "1_A.png", "1_B.png", "2_A.png"],
            &["0_real_A.png", "0_real_B.png", "0_fake_B.png"],
        ] {
            assert!(matches!(look(names), Suffixes::Unclear { .. }), "{names:?}");
        }
        // One such name among many is one among many.
        assert_eq!(look(&["x_A.png", "x_B.png", "cat.png", "dog.png", "cow.png"]), Suffixes::None);
    }

    #[test]
    fn all_parts_have_the_same_suffixes() {
        let part = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let [train, test, other] =
            [&["1_A.png", "1_B.png"], &["2_A.png", "2_B.png"], &["3_x.png", "3_y.png"]].map(|n| part(n));
        assert_eq!(find(&[&train, &[], &test]), suffixes("_A", "_B"));
        assert!(!matches!(find(&[&train, &other]), Suffixes::Pairs(_)));
        assert_eq!(pairs(&train, &["_A".into(), "_B".into()]), [["1_A.png", "1_B.png"].map(PathBuf::from)]);
    }

    /// Two versions of each side-by-side pair, as augmentation leaves them.
    #[test]
    fn squares_side_by_side_stay_so_unless_the_words_are_known() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let drawn = |names: &[&str], width: u32| {
            let files: Vec<PathBuf> = names.iter().map(|name| dir.path().join(name)).collect();
            for file in &files {
                RgbImage::new(width, 8).save(file).expect("a picture for the test");
            }
            find(&[&files])
        };
        let names = ["1_plain.png", "1_mirrored.png", "2_plain.png", "2_mirrored.png"];
        assert_eq!(drawn(&names, 16), Suffixes::None);
        assert_eq!(drawn(&names, 8), suffixes("_mirrored", "_plain"));
        assert_eq!(drawn(&["1_A.png", "1_B.png"], 16), suffixes("_A", "_B"));
    }
}
