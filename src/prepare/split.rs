//! `pixtape data split`: pairs are divided into train/, val/ and test/.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{count, for_all, new_folder, refuse};
use crate::{
    cli::SplitArgs,
    data::list,
    philox::{Purpose, Stream},
};

/// Copies the pairs of `args.dir` into the parts of `args.out`.
///
/// # Errors
/// When the folder has no pairs or too few, or naming every file that lacks its partner; nothing is written then.
pub fn run(args: &SplitArgs) -> Result<()> {
    super::ensure_free(&args.out)?;
    for (flag, fraction) in [("--val", args.val), ("--test", args.test)] {
        ensure!((0.0..1.0).contains(&fraction), "{flag} {fraction}: a fraction of the pairs lies from 0 to below 1");
    }
    let pairs = find(&args.dir)?;
    let parts = divide(pairs.len(), args)?;
    let copies: Vec<(&PathBuf, PathBuf)> =
        pairs.iter().zip(&parts).flat_map(|(pair, part)| pair.iter().map(|file| (&file.from, file.to(part)))).collect();
    new_folder(&args.out, |out| {
        for (_, to) in &copies {
            let dir = out.join(to.parent().unwrap_or(Path::new("")));
            fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        }
        for_all(&copies, "files", |(from, to)| {
            let copied = fs::copy(from, out.join(to));
            copied.with_context(|| format!("cannot copy {}", from.display())).map(drop)
        })
    })?;
    let of_part = |part: &str| parts.iter().filter(|one| **one == part).count();
    let [train, val, test] = ["train", "val", "test"].map(of_part);
    let (pairs, out) = (count(pairs.len(), "pair"), args.out.display());
    writeln!(stdout(), "Divided {pairs} into {out}: {train} in train/, {val} in val/, {test} in test/")?;
    Ok(())
}

/// One file of a pair.
struct File {
    from: PathBuf,
    /// `A`, `B`, or nothing.
    side: &'static str,
}

impl File {
    /// Where it goes, below the new folder.
    fn to(&self, part: &str) -> PathBuf {
        Path::new(self.side).join(part).join(self.from.file_name().unwrap_or_default())
    }
}

/// The files of every pair, by name.
fn find(dir: &Path) -> Result<Vec<Vec<File>>> {
    ensure!(dir.is_dir(), "there is no folder {}", dir.display());
    for part in ["train", "val", "test"] {
        ensure!(!dir.join(part).is_dir(), "{} is divided already: it has a folder {part}/", dir.display());
    }
    let by_stem = |sides: &[&'static str]| -> Result<BTreeMap<OsString, Vec<File>>> {
        let mut pairs: BTreeMap<OsString, Vec<File>> = BTreeMap::new();
        for side in sides {
            for from in list(&dir.join(side))? {
                pairs.entry(from.file_stem().unwrap_or_default().to_owned()).or_default().push(File { from, side });
            }
        }
        Ok(pairs)
    };
    let (flat, sides) = (by_stem(&[""])?, by_stem(&["A", "B"])?);
    ensure!(
        flat.is_empty() || sides.is_empty(),
        "{} has images of its own beside A/ and B/: which are the pairs?",
        dir.display()
    );
    let mut problems = Vec::new();
    let names = |files: &[File]| {
        let names: Vec<String> = files.iter().map(|file| file.from.display().to_string()).collect();
        names.join(" and ")
    };
    let pairs = if flat.is_empty() {
        for files in sides.values() {
            match files.as_slice() {
                [a, b] if a.side != b.side => {}
                [one] => {
                    let other = if one.side == "A" { "B" } else { "A" };
                    problems.push(format!("{} has no partner in {other}/", one.from.display()));
                }
                more => problems.push(format!("{} have one name", names(more))),
            }
        }
        sides
    } else {
        // Either every file is a pair, or every two of one name are.
        let in_twos = flat.values().filter(|files| files.len() == 2).count();
        let expected = if 2 * in_twos > flat.len() { 2 } else { 1 };
        for files in flat.values().filter(|files| files.len() != expected) {
            problems.push(match files.len() {
                1 => format!("{} has no partner of its name", names(files)),
                _ => format!("{} have one name", names(files)),
            });
        }
        flat
    };
    refuse(&problems, &format!("{} before {} can be divided", count(problems.len(), "problem"), dir.display()))?;
    ensure!(!pairs.is_empty(), "no images in {}: looked in it and in A/ and B/", dir.display());
    Ok(pairs.into_values().collect())
}

/// The part of each of `pairs` pairs.
fn divide(pairs: usize, args: &SplitArgs) -> Result<Vec<&'static str>> {
    // Whoever asks for a part gets at least one pair.
    let part = |fraction: f64| ((pairs as f64 * fraction).round() as usize).max(usize::from(fraction > 0.0));
    let (val, test) = (part(args.val), part(args.test));
    ensure!(
        val + test < pairs,
        "--val {} and --test {} of {} leave nothing to train on",
        args.val,
        args.test,
        count(pairs, "pair")
    );
    let mut parts = vec!["train"; pairs];
    parts[..val].fill("val");
    parts[val..val + test].fill("test");
    Stream::new(args.seed, Purpose::Split, 0).shuffle(&mut parts);
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(pairs: usize, val: f64, test: f64, seed: u64) -> Result<Vec<&'static str>> {
        super::divide(pairs, &SplitArgs { dir: "".into(), out: "".into(), val, test, seed })
    }

    #[test]
    fn parts_have_the_sizes_asked_for_and_depend_on_the_seed() {
        let parts = divide(50, 0.1, 0.2, 7).expect("enough pairs");
        let of_part = |part: &str| parts.iter().filter(|one| **one == part).count();
        assert_eq!(["train", "val", "test"].map(of_part), [35, 5, 10]);
        assert_eq!(parts, divide(50, 0.1, 0.2, 7).expect("enough pairs"));
        assert_ne!(parts, divide(50, 0.1, 0.2, 8).expect("enough pairs"));
    }

    #[test]
    fn no_part_that_is_asked_for_is_empty() {
        let mut parts = divide(3, 0.01, 0.01, 0).expect("enough pairs");
        parts.sort_unstable();
        assert_eq!(parts, ["test", "train", "val"]);
        assert_eq!(divide(2, 0.0, 0.0, 0).expect("enough pairs"), ["train"; 2]);
        let error = divide(2, 0.1, 0.1, 0).expect_err("two of two").to_string();
        assert!(error.contains("of 2 pairs leave nothing to train on"), "{error}");
    }
}
