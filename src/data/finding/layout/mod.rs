//! Detection of the layout of the pairs in a folder.
//!
//! A data set has up to three splits, `train`, `val` and `test`, or is flat. Whatever its layout, a split is a list of
//! [`Source`]s; later stages do not depend on the layout.

mod names;
mod nothing;
mod sides;
mod suffix;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::base::words as text;
use crate::data::finding::listing::{ending, list, pictures, skip_folders};
pub use names::{Joined, Named, join, join_folded};
use sides::Sides;
use suffix::Suffixes;

/// The layout of a data set: the files in which the two sides of a pair, A and B, are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One file, A in its left half and B in its right half.
    SideBySide,
    /// Two files of one name, in two folders of these names, that of A first.
    Folders([String; 2]),
    /// Two files of one stem in one folder, B a `.png` and A of another ending, as in the CMP facade database: there it
    /// is `.jpg`.
    Stems,
    /// Two files in one folder whose stems differ in these suffixes, that of A first.
    Suffixes([String; 2]),
}

/// The one or two files of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One file: A in its left half, B in its right half.
    Halves(PathBuf),
    /// Two files: that of A, that of B.
    Files([PathBuf; 2]),
}

impl Source {
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Source::Halves(file) => std::slice::from_ref(file),
            Source::Files(files) => files,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Source::Halves(file) => write!(f, "{}", file.display()),
            Source::Files([a, b]) => write!(f, "{} and {}", a.display(), b.display()),
        }
    }
}

/// Names of the splits of a data set, which are those of their folders. The empty name is for pairs that lie in the
/// folder of the data set itself.
pub const SPLITS: [&str; 4] = ["train", "val", "test", ""];

const NO_PARTNER: &str = "no partner";
const BESIDE_TRAIN: &str = "beside train/";

/// The pairs that [`find`] has found in a folder, and the files that belong to no pair.
#[derive(Debug)]
pub struct Found {
    pub layout: Layout,
    /// True if the two files of a pair have names that are equal only apart from case and Unicode form.
    pub is_folded: bool,
    /// The pairs of each of [`SPLITS`], in the order of the bytes of A's file names.
    splits: [Vec<Source>; 4],
    /// The folders of A and B of each of [`SPLITS`], for pairs in two folders.
    sides: [Option<[PathBuf; 2]>; 4],
    /// Files that belong to no pair, each with the reason, and folders that are not searched.
    pub skipped: Vec<(PathBuf, String)>,
    /// A line for each group of files of which it is unclear which belong to the pair.
    pub unclear: Vec<String>,
    /// A reason to doubt that the files are meant as earlier versions read them.
    doubt: Option<String>,
}

/// Finds the pairs in `dir`. The first of these layouts that there is, is taken:
///
/// 1. Folders `A` and `B`: `A/train` and `B/train`, `train/A` and `train/B`, `trainA` and `trainB`, or `A` and `B`
///    alone.
/// 2. Such folders under other words for the sides (see `sides::by_words`), if no pictures lie in the folder of a split
///    or in `dir` itself.
/// 3. Files of equal stem, of which one is a `.png` ([`Layout::Stems`]), if most stems have such a pair.
/// 4. Files whose stems differ in two suffixes ([`Layout::Suffixes`]), if all files do.
/// 5. Side-by-side files.
///
/// Files that were taken as pairs by earlier versions are taken so again, since the fingerprint of a run's data depends
/// on it. Callers that do not resume such a run call [`Found::ensure_certain`].
///
/// # Errors
/// When there is no such folder, it has no pairs, or of the folders of two sides one is missing or there are several;
/// the error says what was looked for.
pub fn find(dir: &Path) -> Result<Found> {
    ensure!(dir.exists(), "there is no folder {}: check the path of the data", dir.display());
    ensure!(dir.is_dir(), "{} is a file: give the folder that holds the pictures", dir.display());
    let found = match sides::a_and_b(dir) {
        Ok(Some(sides)) => in_folders(dir, sides)?,
        Ok(None) => in_named_folders_or_beside(dir)?,
        // One of the two folders may have another name of its side.
        Err(error) => in_folders(dir, sides::by_words(dir).ok().flatten().ok_or(error)?)?,
    };
    if found.splits.iter().all(Vec::is_empty) && found.unclear.is_empty() {
        bail!("{}", nothing::no_pairs_message(&found, dir)?);
    }
    Ok(found)
}

fn in_named_folders_or_beside(dir: &Path) -> Result<Found> {
    let mut loose = 0;
    for split in SPLITS {
        loose += list(&dir.join(split))?.len();
    }
    let named = sides::by_words(dir).and_then(|sides| sides.map(|sides| in_folders(dir, sides)).transpose());
    if loose == 0 {
        return named?.map_or_else(|| in_one_folder(dir), Ok);
    }
    let mut found = in_one_folder(dir)?;
    if let Ok(Some(named)) = named
        && let Layout::Folders([a, b]) = &named.layout
    {
        let pairs = named.splits.iter().map(Vec::len).sum::<usize>();
        let doubt = || {
            format!(
                "{}: are its pairs the {} in it, or the {} in folders {a}/ and {b}/? move the others elsewhere",
                dir.display(),
                text::count(loose, "picture"),
                text::count(pairs, "pair")
            )
        };
        found.doubt = found.doubt.or_else(|| (pairs > loose).then(doubt));
    }
    Ok(found)
}

/// The pairs of files that lie in two folders, or below them where the folders hold no pictures themselves.
fn in_folders(dir: &Path, sides: Sides) -> Result<Found> {
    let Sides { names, folders } = sides;
    let mut found = Found::new(Layout::Folders(names), folders);
    let mut looked_into: Vec<PathBuf> = SPLITS.map(|split| dir.join(split)).into_iter().collect();
    looked_into.extend(found.sides.iter().flatten().flatten().cloned());
    let mut listed: [[Vec<Named>; 2]; 4] = Default::default();
    let mut skipped = Vec::new();
    for (folders, files) in found.sides.iter().zip(&mut listed) {
        for (folder, files) in folders.iter().flatten().zip(files) {
            *files = pictures(folder, &mut skipped)?.into_iter().map(Named::by_stem).collect();
        }
    }
    if listed.iter().flatten().all(Vec::is_empty) {
        skipped.clear();
        for ((split, folders), files) in SPLITS.iter().zip(&found.sides).zip(&mut listed) {
            for (folder, files) in folders.iter().flatten().zip(files) {
                let below = sides::nested(folder, split.is_empty(), &mut skipped, &mut looked_into)?;
                *files = below.into_iter().map(|file| Named::below(folder, file)).collect();
            }
        }
    }
    found.skipped = skipped;
    found.join_sides(dir, listed);
    for split in SPLITS {
        let beside = pictures(&dir.join(split), &mut found.skipped)?;
        let why = match &found.layout {
            Layout::Folders([a, b]) => format!("beside {a}/ and {b}/"),
            _ => String::new(),
        };
        found.skipped.extend(beside.into_iter().map(|file| (file, why.clone())));
    }
    skip_folders(&looked_into.iter().collect::<Vec<_>>(), &mut found.skipped)?;
    found.drop_what_lies_beside_train();
    Ok(found)
}

/// The pairs of one or two files that lie in `dir` or in the folders of its splits.
fn in_one_folder(dir: &Path) -> Result<Found> {
    let mut found = Found::new(Layout::SideBySide, Default::default());
    let listed = SPLITS.map(|split| pictures(&dir.join(split), &mut found.skipped));
    let mut files: [Vec<PathBuf>; 4] = Default::default();
    for (files, of_part) in files.iter_mut().zip(listed) {
        *files = of_part?;
    }
    if are_stems(files.iter().flatten()) {
        found.layout = Layout::Stems;
        for (split, files) in files.into_iter().enumerate() {
            let (b, a) = files.into_iter().map(Named::by_stem).partition(|one| ending(&one.file) == "png");
            let joined = join([a, b]);
            let expected = ["with another ending", "with .png"].map(str::to_owned);
            found.take(split, joined, expected, &BTreeSet::new());
        }
    } else {
        let suffixes = found.suffixes(dir, &mut files);
        for (split, files) in files.into_iter().enumerate() {
            found.splits[split] = match &suffixes {
                Some(suffixes) => suffix::pairs(&files, suffixes).into_iter().map(Source::Files).collect(),
                None => files.into_iter().map(Source::Halves).collect(),
            };
        }
        found.layout = suffixes.map_or(Layout::SideBySide, Layout::Suffixes);
    }
    skip_folders(&SPLITS.map(|split| dir.join(split)).each_ref(), &mut found.skipped)?;
    found.drop_what_lies_beside_train();
    Ok(found)
}

impl Found {
    fn new(layout: Layout, sides: [Option<[PathBuf; 2]>; 4]) -> Found {
        let (skipped, unclear) = (Vec::new(), Vec::new());
        Found { layout, is_folded: false, splits: Default::default(), sides, skipped, unclear, doubt: None }
    }

    /// Refuses pairs of which the files may well be meant otherwise than [`find`] took them.
    ///
    /// # Errors
    /// When there is such a doubt; the error says which.
    pub fn ensure_certain(&self) -> Result<()> {
        match &self.doubt {
            None => Ok(()),
            Some(doubt) => bail!("{doubt}"),
        }
    }

    /// Returns the pairs of a split, one of [`SPLITS`], in the order of the bytes of A's file names; none for any other
    /// name.
    pub fn split(&self, name: &str) -> &[Source] {
        SPLITS.iter().zip(&self.splits).find(|(split, _)| **split == name).map_or(&[], |(_, sources)| sources)
    }

    /// Returns the path of `file` relative to the folder of its side (A or B). In layouts without such folders it is
    /// the file name.
    pub fn below_side<'a>(&self, file: &'a Path) -> &'a Path {
        let mut sides = self.sides.iter().flatten().flatten();
        // The folder of a split lies in that of the flat ones.
        let below = sides.find_map(|side| file.strip_prefix(side).ok());
        below.unwrap_or(Path::new(file.file_name().unwrap_or_default()))
    }

    /// Joins the files in two folders to pairs. Names that differ in case or Unicode form are equal if no two names of
    /// the data set are equal byte for byte; otherwise only the latter are pairs, as in earlier versions.
    fn join_sides(&mut self, dir: &Path, listed: [[Vec<Named>; 2]; 4]) {
        let splits = listed.map(join);
        let is_folded = splits.iter().all(|joined| joined.pairs.is_empty());
        for (split, mut joined) in splits.into_iter().enumerate() {
            let Some(sides) = &self.sides[split] else { continue };
            let expected = sides.each_ref().map(|side| format!("in {}", below(dir, side)));
            let folded = join_folded(joined.alone.clone());
            let mut near = BTreeSet::new();
            if is_folded {
                self.is_folded |= !folded.pairs.is_empty();
                joined = Joined { unclear: [joined.unclear, folded.unclear].concat(), ..folded };
            } else {
                near.extend(folded.pairs.into_iter().flatten().map(|one| one.file));
            }
            self.take(split, joined, expected, &near);
        }
    }

    /// Adds the pairs of a split. `expected` says where the partner of a B would be, and that of an A; the files of
    /// `near` have one whose name differs in case or Unicode form.
    fn take(&mut self, split: usize, joined: Joined, expected: [String; 2], near: &BTreeSet<PathBuf>) {
        let Joined { pairs, alone: [a, b], unclear } = joined;
        self.splits[split] = pairs.into_iter().map(|pair| Source::Files(pair.map(|one| one.file))).collect();
        self.unclear.extend(unclear);
        let [of_b, of_a] = expected;
        for (alone, expected) in [(a, of_a), (b, of_b)] {
            let why = |file: &PathBuf| match near.contains(file) {
                true => format!("its partner {expected} differs in case or Unicode form: rename one"),
                false => format!("{NO_PARTNER} {expected}"),
            };
            self.skipped.extend(alone.into_iter().map(|one| (why(&one.file), one.file)).map(|(why, file)| (file, why)));
        }
    }

    /// The suffixes that tell the files of a pair apart, if any do. Files beside a folder `train` need not have them.
    fn suffixes(&mut self, dir: &Path, files: &mut [Vec<PathBuf>; 4]) -> Option<[String; 2]> {
        let has_train = !files[0].is_empty();
        let [splits @ .., flat] = files.each_ref().map(Vec::as_slice);
        let found = if has_train { suffix::find(&splits) } else { suffix::find(&[&splits[..], &[flat]].concat()) };
        match found {
            Suffixes::Pairs(suffixes) => {
                if has_train {
                    self.skipped.extend(files[3].drain(..).map(|file| (file, BESIDE_TRAIN.to_owned())));
                }
                Some(suffixes)
            }
            Suffixes::Unclear { pair: [a, b], left_over } => {
                self.doubt = Some(format!(
                    "{}: {a} and {b} look like the two files of a pair, but {left_over} like none of such two: sort \
                     them into two folders, under equal names; {} joins these",
                    dir.display(),
                    join_command("INPUTS", "TARGETS")
                ));
                None
            }
            Suffixes::None => None,
        }
    }

    /// Removes the loose files beside a folder `train`, which are not its pairs.
    fn drop_what_lies_beside_train(&mut self) {
        let [train, _, _, flat] = &mut self.splits;
        if !train.is_empty() {
            let files = flat.drain(..).flat_map(|source| source.files().to_vec());
            self.skipped.extend(files.map(|file| (file, BESIDE_TRAIN.to_owned())));
        }
    }
}

/// The `data pair` command that joins two folders, for error messages.
fn join_command(a: &str, b: &str) -> String {
    format!("`pixtape data pair --a {a} --b {b} --out pairs`")
}

/// True if most stems have two files, one of them a `.png`.
fn are_stems<'a>(files: impl Iterator<Item = &'a PathBuf>) -> bool {
    let mut is_png: BTreeMap<(Option<&Path>, &OsStr), BTreeSet<bool>> = BTreeMap::new();
    for file in files {
        is_png.entry((file.parent(), file.file_stem().unwrap_or_default())).or_default().insert(ending(file) == "png");
    }
    let both = is_png.values().filter(|found| found.len() == 2).count();
    2 * both > is_png.len()
}

/// Returns `path` as text, relative to `dir` if it lies in `dir`.
pub fn below(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::data::finding::listing::NOT_SEARCHED;

    /// A folder with empty files.
    fn folder(paths: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().expect("a folder for the test");
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder for the test");
            fs::write(path, "").expect("a file for the test");
        }
        dir
    }

    fn look(dir: &TempDir) -> Found {
        find(dir.path()).expect("there are pairs")
    }

    /// The files of a split, below the data set.
    fn pairs(dir: &TempDir, found: &Found, split: &str) -> Vec<Vec<String>> {
        let files = |source: &Source| source.files().iter().map(|file| below(dir.path(), file)).collect();
        found.split(split).iter().map(files).collect()
    }

    fn skipped(dir: &TempDir, found: &Found) -> Vec<String> {
        found.skipped.iter().map(|(file, why)| format!("{}: {why}", below(dir.path(), file))).collect()
    }

    #[test]
    fn files_side_by_side_are_taken_in_byte_order_and_the_rest_is_told() {
        let dir = folder(&["b.png", "B.JPG", "a10.jpeg", "a9.webp", ".hidden.png", "notes.txt", "sub.png/inner.png"]);
        let found = look(&dir);
        assert_eq!(found.layout, Layout::SideBySide);
        assert_eq!(pairs(&dir, &found, "").concat(), ["B.JPG", "a10.jpeg", "a9.webp", "b.png"]);
        assert_eq!(
            skipped(&dir, &found),
            [
                ".hidden.png: hidden",
                "notes.txt: not a PNG, JPEG, TIFF, WebP or BMP",
                "sub.png: a folder that is not looked into"
            ]
        );

        let dir = folder(&["train/x.tif", "val/v.png", "test/y.BMP", "loose.png"]);
        let found = look(&dir);
        let splits = SPLITS.map(|split| pairs(&dir, &found, split).concat());
        assert_eq!(splits, [vec!["train/x.tif"], vec!["val/v.png"], vec!["test/y.BMP"], vec![]]);
        assert_eq!(skipped(&dir, &found), ["loose.png: beside train/"]);
    }

    #[test]
    fn folders_of_both_sides_are_joined_by_name_wherever_they_are() {
        for (a, b) in [("A/train", "B/train"), ("train/A", "train/B"), ("trainA", "trainB")] {
            let in_test = [a, b].map(|side| side.replace("train", "test"));
            let files = [
                format!("{a}/2.png"),
                format!("{a}/1.x.jpg"),
                format!("{b}/1.x.png"),
                format!("{b}/2.tif"),
                format!("{a}/only.png"),
                format!("{b}/lonely.png"),
                format!("{}/t.png", in_test[0]),
                format!("{}/t.png", in_test[1]),
            ];
            let dir = folder(&files.each_ref().map(String::as_str));
            let found = look(&dir);
            assert_eq!(found.layout, Layout::Folders(["A".into(), "B".into()]), "{a}");
            let expected =
                [[format!("{a}/1.x.jpg"), format!("{b}/1.x.png")], [format!("{a}/2.png"), format!("{b}/2.tif")]];
            assert_eq!(pairs(&dir, &found, "train"), expected);
            assert_eq!(pairs(&dir, &found, "test").len(), 1);
            let lonely = [format!("{a}/only.png: no partner in {b}"), format!("{b}/lonely.png: no partner in {a}")];
            assert_eq!(skipped(&dir, &found), lonely);
        }
        let dir = folder(&["A/x.png", "B/x.jpg", "beside.png"]);
        let found = look(&dir);
        assert_eq!(pairs(&dir, &found, ""), [["A/x.png", "B/x.jpg"]]);
        assert_eq!(skipped(&dir, &found), ["beside.png: beside A/ and B/"]);
        // Splits that are laid out otherwise are left out, and all of their files are told.
        let dir = folder(&["trainA/x.png", "trainB/x.png", "test/side-by-side.png", "notes.txt"]);
        let expected = ["test/side-by-side.png: beside A/ and B/", "notes.txt: not a PNG, JPEG, TIFF, WebP or BMP"];
        assert_eq!(skipped(&dir, &look(&dir)), expected);
    }

    #[test]
    fn a_photo_and_its_labels_are_joined_by_name() {
        let dir = folder(&["base/nothing.txt", "c2.png", "c1.jpg", "c1.png", "c1.xml", "c2.JPG", "c3.jpg"]);
        let found = look(&dir);
        assert_eq!(found.layout, Layout::Stems);
        assert_eq!(pairs(&dir, &found, ""), [["c1.jpg", "c1.png"], ["c2.JPG", "c2.png"]]);
        assert_eq!(
            skipped(&dir, &found),
            [
                "c1.xml: not a PNG, JPEG, TIFF, WebP or BMP",
                "c3.jpg: no partner with .png",
                "base: a folder that is not looked into"
            ]
        );
        let dir = folder(&["x.tif", "x.png"]);
        assert_eq!(pairs(&dir, &look(&dir), ""), [["x.tif", "x.png"]]);
        // In train/ and test/ alike; the same stem in two splits is no pair.
        let dir = folder(&["train/a.jpg", "train/a.png", "test/b.jpg", "test/b.png"]);
        let found = look(&dir);
        assert_eq!(pairs(&dir, &found, "test"), [["test/b.jpg", "test/b.png"]]);
        assert_eq!(look(&folder(&["train/a.jpg", "test/a.png"])).layout, Layout::SideBySide);
        // One such stem among many files that have none is two files side by side.
        assert_eq!(look(&folder(&["a.jpg", "a.png", "b.png", "c.png"])).layout, Layout::SideBySide);
    }

    #[test]
    fn folders_that_are_not_looked_into_are_told() {
        let told = |paths: &[&str]| {
            let dir = folder(paths);
            let found = look(&dir);
            let told = found.skipped.iter().filter(|(_, why)| why == NOT_SEARCHED);
            told.map(|(folder, _)| below(dir.path(), folder)).collect::<Vec<_>>()
        };
        assert_eq!(told(&["train/1.jpg", "train/cats/2.jpg", "valid/3.jpg", ".git/x"]), ["train/cats", "valid"]);
        assert_eq!(told(&["A/train/1.png", "B/train/1.png", "trainA/2.png", "trainB/2.png"]), ["trainA", "trainB"]);
        assert_eq!(
            told(&["A/1.png", "B/1.png", "A/more/2.png", "C/1.png", "train/x/1.png"]),
            ["train/x", "C", "A/more"]
        );
        // A and B of a split lie in its folder, and folders of splits in A and B.
        assert_eq!(told(&["train/A/1.png", "train/B/1.png", "test/A/2.png", "test/B/2.png"]), [""; 0]);
    }

    #[test]
    fn what_is_missing_or_unclear_is_named() {
        let error = |paths: &[&str]| find(folder(paths).path()).expect_err("no pairs").to_string();
        assert!(error(&["A/x.png"]).contains("has a folder A but no B"));
        assert!(error(&["B/train/x.png"]).contains("has a folder B/train but no A/train"));
        let unmatched = error(&["A/x.png", "B/y.png"]);
        assert!(unmatched.contains("of 2 images") && unmatched.contains("A/x.png has no partner"), "{unmatched}");
        assert!(error(&["notes.txt"]).contains("no images in"));

        let found = look(&folder(&["A/x.png", "A/x.jpg", "B/x.png", "A/y.png", "B/y.png", "B/y.tif"]));
        assert_eq!(found.unclear.len(), 2);
        assert!(found.unclear.iter().all(|line| line.contains("which of them")), "{:?}", found.unclear);
    }
}
