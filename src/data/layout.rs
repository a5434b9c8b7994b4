//! Where the pairs lie in a folder, found by looking.
//!
//! A data set has up to three parts, `train`, `val` and `test`, or is flat. Whatever its layout, a part is a list of
//! [`Source`]s: from there on nobody asks how the files were laid out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, Result, bail, ensure};

use super::file::{ENDINGS, LOOKED_FOR};

/// How the two sides of a pair are kept together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One file, A in its left half and B in its right half.
    SideBySide,
    /// Two files of one stem, in folders `A` and `B`.
    Folders,
    /// Two files of one stem in one folder, B a `.png` and A of another ending, as in the CMP facade database: there it is `.jpg`.
    Stems,
}

/// The file or the files of one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Side by side.
    Halves(PathBuf),
    /// A and B.
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

/// The parts of a data set by their folders; the empty name is the data set's own.
pub const PARTS: [&str; 4] = ["train", "val", "test", ""];

/// Why a folder is skipped.
pub const NOT_LOOKED_INTO: &str = "a folder that is not looked into";

/// What is in a folder.
#[derive(Debug)]
pub struct Found {
    pub layout: Layout,
    /// The pairs of each of [`PARTS`], in the order of the bytes of A's file names.
    parts: [Vec<Source>; 4],
    /// Files that belong to no pair, each with the reason, and folders [`NOT_LOOKED_INTO`].
    pub skipped: Vec<(PathBuf, String)>,
    /// What makes it unclear which files are pairs.
    pub unclear: Vec<String>,
}

impl Found {
    /// The pairs of one of [`PARTS`].
    pub fn part(&self, name: &str) -> &[Source] {
        PARTS.iter().zip(&self.parts).find(|(part, _)| **part == name).map_or(&[], |(_, sources)| sources)
    }
}

/// Looks into `dir`.
///
/// Folders `A` and `B` are pairs of folders, wherever they are: `A/train` and `B/train`, `train/A` and `train/B`, or `trainA` and
/// `trainB`. Else most stems decide: those with a `.png` and another ending are pairs of files, the others side by side.
///
/// # Errors
/// When there is no such folder, or there are no pairs; says what was looked for.
pub fn find(dir: &Path) -> Result<Found> {
    ensure!(dir.exists(), "there is no folder {}: check the path of the data", dir.display());
    ensure!(dir.is_dir(), "{} is a file: give the folder that holds the pictures", dir.display());
    let mut found =
        Found { layout: Layout::Folders, parts: Default::default(), skipped: Vec::new(), unclear: Vec::new() };
    let mut sides = Vec::new();
    for part in PARTS {
        sides.push(side_folders(dir, part)?);
    }
    if sides.iter().all(Option::is_none) {
        let listed = PARTS.map(|part| list_and_skip(&dir.join(part), &mut found.skipped));
        let mut files = Vec::new();
        for of_part in listed {
            files.push(of_part?);
        }
        found.layout = if are_stems(files.iter().flatten()) { Layout::Stems } else { Layout::SideBySide };
        for (part, files) in files.into_iter().enumerate() {
            found.parts[part] = match found.layout {
                Layout::SideBySide => files.into_iter().map(Source::Halves).collect(),
                _ => {
                    let is_a = |file: &&PathBuf| ending(file) != "png";
                    let (a, b): (Vec<PathBuf>, Vec<PathBuf>) = (
                        files.iter().filter(is_a).cloned().collect(),
                        files.iter().filter(|f| !is_a(f)).cloned().collect(),
                    );
                    found.join(a, b, ["with another ending", "with .png"])
                }
            };
        }
    } else {
        for (part, sides) in sides.iter().enumerate() {
            let Some([a, b]) = sides else { continue };
            let partner = [a, b].map(|side| format!("in {}", below(dir, side)));
            let (a, b) = (list_and_skip(a, &mut found.skipped)?, list_and_skip(b, &mut found.skipped)?);
            found.parts[part] = found.join(a, b, partner.each_ref().map(String::as_str));
        }
        for part in PARTS {
            let beside = list_and_skip(&dir.join(part), &mut found.skipped)?;
            found.skipped.extend(beside.into_iter().map(|file| (file, "beside A/ and B/".to_owned())));
        }
    }
    let parts = PARTS.map(|part| dir.join(part));
    let looked_into: Vec<&PathBuf> = parts.iter().chain(sides.iter().flatten().flatten()).collect();
    skip_folders(&looked_into, &mut found.skipped)?;
    found.drop_what_lies_beside_train();
    if found.parts.iter().all(Vec::is_empty) && found.unclear.is_empty() {
        bail!("{}", found.nothing(dir));
    }
    Ok(found)
}

impl Found {
    /// Pairs of the files of one stem. `place` says where a partner would be: of a B, and of an A.
    fn join(&mut self, a: Vec<PathBuf>, b: Vec<PathBuf>, place: [&str; 2]) -> Vec<Source> {
        let mut partners: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for file in b {
            if let Some(other) = partners.insert(stem(&file).to_owned(), file.clone()) {
                self.unclear.push(two_of_a_stem(&other, &file));
            }
        }
        let mut pairs = Vec::new();
        for file in a {
            let stem = stem(&file).to_owned();
            match partners.get(&stem) {
                Some(partner) if seen.insert(stem) => pairs.push(Source::Files([file, partner.clone()])),
                Some(partner) => self.unclear.push(two_of_a_stem(partner, &file)),
                None => self.skipped.push((file, format!("no partner {}", place[1]))),
            }
        }
        let lonely = partners.into_iter().filter(|(stem, _)| !seen.contains(stem));
        self.skipped.extend(lonely.map(|(_, file)| (file, format!("no partner {}", place[0]))));
        pairs
    }

    /// Loose files beside a folder `train` are not its pairs.
    fn drop_what_lies_beside_train(&mut self) {
        let [train, _, _, flat] = &mut self.parts;
        if !train.is_empty() {
            let files = flat.drain(..).flat_map(|source| source.files().to_vec());
            self.skipped.extend(files.map(|file| (file, "beside train/".to_owned())));
        }
    }

    fn nothing(&self, dir: &Path) -> String {
        let dir = dir.display();
        let lonely: Vec<&Path> =
            self.skipped.iter().filter(|(_, why)| why.starts_with("no partner")).map(|(file, _)| &**file).collect();
        match lonely.first() {
            Some(first) => format!(
                "no pairs in {dir}: of {} images in folders A/ and B/ no two have one name; {} has no partner",
                lonely.len(),
                first.display()
            ),
            None => format!(
                "no images in {dir}: looked for {LOOKED_FOR} in it, in train/, val/ and test/, and in folders A/ and B/"
            ),
        }
    }
}

fn two_of_a_stem(one: &Path, other: &Path) -> String {
    format!("{} and {} have one name: which of them belongs to the pair? remove one", one.display(), other.display())
}

/// The folders of both sides of a part, if there are any.
fn side_folders(dir: &Path, part: &str) -> Result<Option<[PathBuf; 2]>> {
    let names: &[[String; 2]] = &match part {
        "" => vec![["A".to_owned(), "B".to_owned()]],
        part => vec![
            ["A", "B"].map(|side| format!("{side}/{part}")),
            ["A", "B"].map(|side| format!("{part}/{side}")),
            ["A", "B"].map(|side| format!("{part}{side}")),
        ],
    };
    for names in names {
        let sides = names.each_ref().map(|name| dir.join(name));
        match sides.each_ref().map(|side| side.is_dir()) {
            [true, true] => return Ok(Some(sides)),
            [false, false] => {}
            [has_a, _] => {
                let (there, missing) = if has_a { (&names[0], &names[1]) } else { (&names[1], &names[0]) };
                bail!(
                    "{} has a folder {there} but no {missing}: the files of a pair lie in both, under one name",
                    dir.display()
                );
            }
        }
    }
    Ok(None)
}

/// Whether most files are the two of a stem.
fn are_stems<'a>(files: impl Iterator<Item = &'a PathBuf>) -> bool {
    let mut is_png: BTreeMap<(Option<&Path>, &OsStr), BTreeSet<bool>> = BTreeMap::new();
    for file in files {
        is_png.entry((file.parent(), stem(file))).or_default().insert(ending(file) == "png");
    }
    let both = is_png.values().filter(|found| found.len() == 2).count();
    2 * both > is_png.len()
}

fn stem(file: &Path) -> &OsStr {
    file.file_stem().unwrap_or_default()
}

/// In lower case.
fn ending(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// `path` as seen from `dir`.
pub fn below(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

/// The pictures directly in `dir`, in the order of the bytes of their names; none when there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    list_and_skip(dir, &mut Vec::new())
}

/// As [`list`]; the other files go to `skipped`.
///
/// # Errors
/// As [`list`].
pub fn list_and_skip(dir: &Path, skipped: &mut Vec<(PathBuf, String)>) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for path in entries(dir)?.into_iter().filter(|path| !path.is_dir()) {
        if is_hidden(&path) {
            skipped.push((path, "hidden".to_owned()));
        } else if ENDINGS.contains(&&*ending(&path)) {
            pictures.push(path);
        } else {
            skipped.push((path, "not the name of a picture".to_owned()));
        }
    }
    Ok(pictures)
}

/// Adds to `skipped` what else there is in folders that were looked into: folders that were not.
///
/// # Errors
/// When a folder cannot be read.
pub fn skip_folders(looked_into: &[&PathBuf], skipped: &mut Vec<(PathBuf, String)>) -> Result<()> {
    for dir in looked_into {
        let folders = entries(dir)?.into_iter().filter(|path| path.is_dir() && !is_hidden(path));
        let unknown = folders.filter(|folder| !looked_into.iter().any(|known| known.starts_with(folder)));
        skipped.extend(unknown.map(|folder| (folder, NOT_LOOKED_INTO.to_owned())));
    }
    Ok(())
}

/// What is in `dir`, in the order of the bytes of the names; nothing when there is no such folder.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot list the folder {}", dir.display());
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        names.push(entry.with_context(cannot)?.file_name());
    }
    names.sort_unstable_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    Ok(names.iter().map(|name| dir.join(name)).collect())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap_or_default().as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

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

    /// The files of a part, below the data set.
    fn pairs(dir: &TempDir, found: &Found, part: &str) -> Vec<Vec<String>> {
        let files = |source: &Source| source.files().iter().map(|file| below(dir.path(), file)).collect();
        found.part(part).iter().map(files).collect()
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
                "notes.txt: not the name of a picture",
                "sub.png: a folder that is not looked into"
            ]
        );

        let dir = folder(&["train/x.tif", "val/v.png", "test/y.BMP", "loose.png"]);
        let found = look(&dir);
        let parts = PARTS.map(|part| pairs(&dir, &found, part).concat());
        assert_eq!(parts, [vec!["train/x.tif"], vec!["val/v.png"], vec!["test/y.BMP"], vec![]]);
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
            assert_eq!(found.layout, Layout::Folders, "{a}");
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
        // Parts that are laid out otherwise are no part of it, and all of their files are told.
        let dir = folder(&["trainA/x.png", "trainB/x.png", "test/side-by-side.png", "notes.txt"]);
        let expected = ["test/side-by-side.png: beside A/ and B/", "notes.txt: not the name of a picture"];
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
                "c1.xml: not the name of a picture",
                "c3.jpg: no partner with .png",
                "base: a folder that is not looked into"
            ]
        );
        let dir = folder(&["x.tif", "x.png"]);
        assert_eq!(pairs(&dir, &look(&dir), ""), [["x.tif", "x.png"]]);
        // In train/ and test/ alike; the same stem in two parts is no pair.
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
            let told = found.skipped.iter().filter(|(_, why)| why == NOT_LOOKED_INTO);
            told.map(|(folder, _)| below(dir.path(), folder)).collect::<Vec<_>>()
        };
        assert_eq!(told(&["train/1.jpg", "train/cats/2.jpg", "valid/3.jpg", ".git/x"]), ["train/cats", "valid"]);
        assert_eq!(told(&["A/train/1.png", "B/train/1.png", "trainA/2.png", "trainB/2.png"]), ["trainA", "trainB"]);
        assert_eq!(
            told(&["A/1.png", "B/1.png", "A/more/2.png", "C/1.png", "train/x/1.png"]),
            ["train/x", "C", "A/more"]
        );
        // A and B of a part lie in its folder, and a folder of parts in A and B.
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
