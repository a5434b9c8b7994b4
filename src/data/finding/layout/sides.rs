//! The folders of the two sides, where the pairs of a data set lie in two folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::words::{is_separator, side_of};
use super::{SPLITS, below, join_command};
use crate::data::finding::listing::{folders, pictures};

/// The names of the two sides, and their folders in each split.
#[derive(Debug, PartialEq, Eq)]
pub struct Sides {
    /// The names of the sides, A first.
    pub names: [String; 2],
    /// The folders of A and of B in each of [`SPLITS`]; `None` for a split that has none.
    pub folders: [Option<[PathBuf; 2]>; 4],
}

/// Finds folders `A` and `B`: `A/train` and `B/train`, `train/A` and `train/B`, or `trainA` and `trainB`, and likewise
/// for the other splits; `A` and `B` alone in a flat data set. Returns `None` if there are no such folders.
///
/// # Errors
/// When one folder of such two is missing.
pub fn a_and_b(dir: &Path) -> Result<Option<Sides>> {
    let mut sides = Sides { names: ["A", "B"].map(str::to_owned), folders: Default::default() };
    for (split, found) in SPLITS.iter().zip(&mut sides.folders) {
        *found = a_and_b_of(dir, split)?;
    }
    Ok(sides.folders.iter().any(Option::is_some).then_some(sides))
}

fn a_and_b_of(dir: &Path, split: &str) -> Result<Option<[PathBuf; 2]>> {
    let names: &[[String; 2]] = &match split {
        "" => vec![["A".to_owned(), "B".to_owned()]],
        split => vec![
            ["A", "B"].map(|side| format!("{side}/{split}")),
            ["A", "B"].map(|side| format!("{split}/{side}")),
            ["A", "B"].map(|side| format!("{split}{side}")),
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

/// Finds folders that are called by one of the [`words`](super::words) for a side, in any case, and hold pictures:
/// `input/train`, `train/input` or `train_input`, and `input` alone in a flat data set, with `target` for the other
/// side. Returns `None` if no split has folders of both sides.
///
/// # Errors
/// When a split has folders of both sides and several of one, or a folder of only one side where another split has
/// both; or when a folder cannot be read.
pub fn by_words(dir: &Path) -> Result<Option<Sides>> {
    let mut found: BTreeMap<usize, [Vec<(String, PathBuf)>; 2]> = BTreeMap::new();
    let mut note = |split: &str, side: usize, word: &str, folder: PathBuf| -> Result<()> {
        let Some(split) = SPLITS.iter().position(|known| *known == split) else { return Ok(()) };
        if holds_pictures(&folder, SPLITS[split].is_empty())? {
            found.entry(split).or_default()[side].push((word.to_owned(), folder));
        }
        Ok(())
    };
    for folder in folders(dir)? {
        let name = name_of(&folder);
        if SPLITS.contains(&&*name) {
            for inner in folders(&folder)? {
                let word = name_of(&inner);
                if let Some(side) = side_of(&word) {
                    note(&name, side, &word, inner)?;
                }
            }
        } else if let Some(side) = side_of(&name) {
            for inner in folders(&folder)? {
                note(&name_of(&inner), side, &name, inner)?;
            }
            note("", side, &name, folder)?;
        } else if let Some((split, word, side)) = split_and_word(&name) {
            note(split, side, word, folder)?;
        }
    }
    let mut sides: Option<Sides> = None;
    for (split, [a, b]) in &found {
        match (a.as_slice(), b.as_slice()) {
            ([(name_a, a)], [(name_b, b)]) => {
                let names = [name_a.clone(), name_b.clone()];
                let sides = sides.get_or_insert(Sides { names, folders: Default::default() });
                sides.folders[*split] = Some([a.clone(), b.clone()]);
            }
            ([], _) | (_, []) => {}
            _ => {
                let all: Vec<String> = a.iter().chain(b).map(|(_, folder)| below(dir, folder)).collect();
                bail!(
                    "which two folders of {} are the sides of its pairs? there are {}; {} joins two of them",
                    dir.display(),
                    all.join(", "),
                    join_command("FOLDER", "FOLDER")
                );
            }
        }
    }
    let Some(sides) = sides else { return Ok(None) };
    for (split, [a, b]) in &found {
        if let (true, Some((_, lonely))) = (sides.folders[*split].is_none(), a.iter().chain(b).next()) {
            let missing = &sides.names[usize::from(b.is_empty())];
            let (dir, lonely) = (dir.display(), below(dir, lonely));
            bail!(
                "{dir} has a folder {lonely} but none for {missing}: the files of a pair lie in both, under one name"
            );
        }
    }
    Ok(Some(sides))
}

/// Divides a name such as `train_input`, `trainInput` or `input_train`: the split, the word, and the side of the word
/// (0 is A, 1 is B). `None` for other names.
fn split_and_word(name: &str) -> Option<(&'static str, &str, usize)> {
    SPLITS.into_iter().filter(|split| !split.is_empty()).find_map(|split| {
        let behind =
            name.get(..split.len()).filter(|start| start.eq_ignore_ascii_case(split)).map(|_| &name[split.len()..]);
        let before = name.len().checked_sub(split.len()).filter(|at| name.is_char_boundary(*at));
        let before = before.map(|at| name.split_at(at)).filter(|(_, end)| end.eq_ignore_ascii_case(split));
        let before = before.map(|(word, _)| word).filter(|word| word.ends_with(is_separator));
        let word = behind.or(before)?.trim_matches(is_separator);
        Some((split, word, side_of(word)?))
    })
}

/// Lists the pictures in `dir` and in all folders below it. Adds other files to `skipped`, each with the reason, and
/// each folder that was searched to `looked_into`. If `is_flat` is true, folders directly in `dir` that are named like
/// a split are left out: they are folders of a side of that split.
///
/// # Errors
/// When a folder cannot be read.
pub fn nested(
    dir: &Path,
    is_flat: bool,
    skipped: &mut Vec<(PathBuf, String)>,
    looked_into: &mut Vec<PathBuf>,
) -> Result<Vec<PathBuf>> {
    let mut found = pictures(dir, skipped)?;
    looked_into.push(dir.to_path_buf());
    for folder in folders(dir)? {
        if is_flat && SPLITS.contains(&&*name_of(&folder)) {
            continue;
        }
        if folder.is_symlink() && leads_back(&folder, looked_into) {
            skipped.push((folder, "a link to a folder that is looked into already".to_owned()));
            continue;
        }
        found.extend(nested(&folder, false, skipped, looked_into)?);
    }
    Ok(found)
}

fn holds_pictures(dir: &Path, is_flat: bool) -> Result<bool> {
    Ok(!nested(dir, is_flat, &mut Vec::new(), &mut Vec::new())?.is_empty())
}

/// True if a link leads to one of these folders, or above one, and would be followed without end.
fn leads_back(link: &Path, looked_into: &[PathBuf]) -> bool {
    let leads_above =
        |to: PathBuf| looked_into.iter().any(|one| one.canonicalize().is_ok_and(|one| one.starts_with(&to)));
    link.canonicalize().is_ok_and(leads_above)
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_and_a_word_make_a_name() {
        for (name, expected) in [
            ("train_A", Some(("train", "A", 0))),
            ("trainb", Some(("train", "b", 1))),
            ("Test-Labels", Some(("test", "Labels", 1))),
            ("images_val", Some(("val", "images", 0))),
            ("train_inst", None),
            ("trainings", None),
            ("interval", None),
            ("train", None),
        ] {
            assert_eq!(split_and_word(name), expected, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_circle_of_links_ends() {
        use std::fs;
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().expect("a folder for the test");
        for side in ["A", "B"] {
            fs::create_dir_all(dir.path().join(side).join("city")).expect("a folder for the test");
            fs::write(dir.path().join(side).join("city/x.png"), "").expect("a file for the test");
        }
        for (link, to) in [("A/up", ".."), ("A/b", "../B"), ("B/a", "../A"), ("A/town", "../B/city")] {
            symlink(to, dir.path().join(link)).expect("a link for the test");
        }
        let (mut skipped, mut looked_into) = (Vec::new(), Vec::new());
        let found = nested(&dir.path().join("A"), true, &mut skipped, &mut looked_into).expect("it can be read");
        let found: Vec<String> = found.iter().map(|file| below(dir.path(), file)).collect();
        assert_eq!(found, ["A/b/city/x.png", "A/city/x.png"]);
        assert!(skipped.iter().any(|(folder, why)| folder.ends_with("up") && why.starts_with("a link")), "{skipped:?}");
    }
}
