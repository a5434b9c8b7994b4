//! Files of two sides joined by their names: equal names first, then names that differ in case or Unicode form.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// A file and the name that it shares with its partner: its path relative to the folder of its side, or its file name,
/// without the ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: OsString,
    pub file: PathBuf,
}

impl Named {
    /// Names a file by its stem: the file name without the ending.
    pub fn by_stem(file: PathBuf) -> Named {
        Named { name: file.file_stem().unwrap_or_default().to_owned(), file }
    }

    /// Names a file by its path relative to `dir`, without the ending.
    pub fn below(dir: &Path, file: PathBuf) -> Named {
        let name = file.strip_prefix(dir).unwrap_or(&file).with_extension("").into_os_string();
        Named { name, file }
    }
}

/// The result of joining the files of A and B by their names.
#[derive(Debug, Default)]
pub struct Joined {
    /// Pairs `[a, b]`, in the order in which the files of A were given.
    pub pairs: Vec<[Named; 2]>,
    /// Files of A, and of B, whose name no file of the other side has.
    pub alone: [Vec<Named>; 2],
    /// A line for each name that both sides have and one of them several times. Its files are in no pair.
    pub unclear: Vec<String>,
}

/// Joins the files of the two sides, A and B, whose names are equal byte for byte.
pub fn join(sides: [Vec<Named>; 2]) -> Joined {
    join_by(sides, OsStr::to_owned, "have one name")
}

/// Joins the files of the two sides, A and B, whose names are equal apart from case and Unicode form: macOS decomposes
/// accents that other systems compose.
pub fn join_folded(sides: [Vec<Named>; 2]) -> Joined {
    join_by(sides, folded, "have one name but for case and Unicode form")
}

fn join_by(sides: [Vec<Named>; 2], key: fn(&OsStr) -> OsString, what: &str) -> Joined {
    let mut groups: BTreeMap<OsString, [Vec<&Named>; 2]> = BTreeMap::new();
    for (side, files) in sides.iter().enumerate() {
        for file in files {
            groups.entry(key(&file.name)).or_default()[side].push(file);
        }
    }
    let mut joined = Joined::default();
    for [a, b] in groups.values() {
        if let ([_, _, ..], [_, ..]) | ([_, ..], [_, _, ..]) = (a.as_slice(), b.as_slice()) {
            let several: Vec<String> = [a, b]
                .into_iter()
                .filter(|of| of.len() > 1)
                .flatten()
                .map(|one| one.file.display().to_string())
                .collect();
            let several = several.join(" and ");
            joined.unclear.push(format!("{several} {what}: which of them belongs to the pair? remove one"));
        }
    }
    for (side, files) in sides.iter().enumerate() {
        for file in files {
            match groups.get(&key(&file.name)).map(|[a, b]| (a.as_slice(), b.as_slice())) {
                Some(([a], [b])) if side == 0 => joined.pairs.push([(*a).clone(), (*b).clone()]),
                Some(([], _) | (_, [])) => joined.alone[side].push(file.clone()),
                _ => {}
            }
        }
    }
    joined
}

/// A name in lower case and composed form. A name that is not Unicode is unchanged.
fn folded(name: &OsStr) -> OsString {
    match name.to_str() {
        Some(name) => name.nfc().collect::<String>().to_lowercase().nfc().collect::<String>().into(),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<Named> {
        names.iter().map(|name| Named::by_stem(name.into())).collect()
    }

    fn told(joined: &Joined) -> (Vec<String>, [usize; 2], usize) {
        let pair = |[a, b]: &[Named; 2]| format!("{} {}", a.file.display(), b.file.display());
        let alone = joined.alone.each_ref().map(Vec::len);
        (joined.pairs.iter().map(pair).collect(), alone, joined.unclear.len())
    }

    #[test]
    fn equal_names_are_joined_and_no_others() {
        let joined = join([named(&["b.jpg", "a.x.png", "c.png"]), named(&["a.x.tif", "B.png", "b.png"])]);
        assert_eq!(told(&joined), (vec!["b.jpg b.png".into(), "a.x.png a.x.tif".into()], [1, 1], 0));
        // Two of one name are unclear where there is a partner for one of them, and alone where there is none.
        let joined = join([named(&["a.png", "a.jpg", "b.png", "c.png"]), named(&["a.png", "b.png", "b.tif"])]);
        assert_eq!(told(&joined), (vec![], [1, 0], 2));
        assert_eq!(joined.unclear[0], "a.png and a.jpg have one name: which of them belongs to the pair? remove one");
        assert_eq!(told(&join([named(&["a.png", "a.jpg"]), named(&["b.png"])])), (vec![], [2, 1], 0));
    }

    #[test]
    fn case_and_unicode_form_are_folded() {
        let sides =
            [named(&["IMG_1.PNG", "caf\u{e9}.png", "x.png"]), named(&["img_1.png", "CAFE\u{301}.png", "y.png"])];
        let pairs = vec!["IMG_1.PNG img_1.png".to_owned(), "caf\u{e9}.png CAFE\u{301}.png".to_owned()];
        assert_eq!(told(&join_folded(sides)), (pairs, [1, 1], 0));
        let unclear = join_folded([named(&["X.png", "x.png"]), named(&["x.jpg"])]).unclear;
        assert!(unclear[0].starts_with("X.png and x.png have one name but for case"), "{unclear:?}");
    }
}
