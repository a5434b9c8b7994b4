//! `pixtape data split`: divides pairs into train/, val/ and test/.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{count, for_all, new_folder, refuse, say_left_out};
use crate::base::progress::tell;
use crate::data::Size;
use crate::data::feeding::halves;
use crate::data::finding::layout::{self, Found, Layout, Source};
use crate::engine::philox::{Purpose, Stream};

/// A request to `data split`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub dir: PathBuf,
    pub out: PathBuf,
    pub val: f64,
    pub test: f64,
    pub image_size: Size,
    pub seed: u64,
}

/// Copies the pairs of `request.dir` into the new folder `request.out`, divided at random into `train/`, `val/` and
/// `test/`. `request.val` and `request.test` are the fractions for the last two, each at least one pair unless it is 0;
/// `request.seed` decides the division.
///
/// # Errors
/// When the folder has no pairs, too few, or is divided already; when it is unclear which files are pairs, or
/// side-by-side files have an unlikely shape; or when `request.out` exists already. Nothing is written then.
pub fn run(request: &Request) -> Result<()> {
    super::ensure_free(&request.out)?;
    for (flag, share) in [("--val", request.val), ("--test", request.test)] {
        ensure!((0.0..1.0).contains(&share), "{flag} {share}: must be from 0 to below 1");
    }
    let found = find(&request.dir, request.image_size)?;
    let pairs = found.split("");
    let splits = divide(pairs.len(), request)?;
    let mut copies: Vec<(&PathBuf, PathBuf)> = Vec::new();
    for (pair, split) in pairs.iter().zip(&splits) {
        copies.extend(pair.files().iter().zip(targets(pair, &found, split)));
    }
    new_folder(&request.out, |out| {
        for (_, to) in &copies {
            let dir = out.join(to.parent().unwrap_or(Path::new("")));
            fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        }
        for_all(&copies, "files", |(from, to)| {
            let copied = fs::copy(from, out.join(to));
            copied.with_context(|| format!("cannot copy {}", from.display())).map(drop)
        })
    })?;
    let in_split = |split: &str| splits.iter().filter(|one| **one == split).count();
    let [train, val, test] = ["train", "val", "test"].map(in_split);
    let (pairs, out) = (count(pairs.len(), "pair"), request.out.display());
    tell(format_args!("Divided {pairs} into {out}: {train} in train/, {val} in val/, {test} in test/"))?;
    Ok(())
}

/// Paths of the files of a pair below the new folder.
fn targets(source: &Source, found: &Found, split: &str) -> Vec<PathBuf> {
    let sides: &[&str] = if matches!(found.layout, Layout::Folders(_)) { &["A", "B"] } else { &["", ""] };
    let target = |(file, side): (&PathBuf, &&str)| Path::new(side).join(split).join(found.below_side(file));
    source.files().iter().zip(sides).map(target).collect()
}

/// The pairs of a flat folder. `shape` is that of the images that they are for. Files that belong to no pair are named
/// in a message.
fn find(dir: &Path, shape: Size) -> Result<Found> {
    let found = layout::find(dir)?;
    for split in ["train", "val", "test"] {
        ensure!(found.split(split).is_empty(), "{} is divided already: it has pairs in {split}/", dir.display());
    }
    refuse(found.unclear.clone(), format!("{} cannot be divided", dir.display()))?;
    found.ensure_certain()?;
    halves::check(dir, found.split(""), shape, halves::ASK_FOR_THE_SHAPE)?;
    say_left_out(&found.skipped);
    Ok(found)
}

/// Returns the name of the split for each of `pairs` pairs, drawn at random.
fn divide(pairs: usize, request: &Request) -> Result<Vec<&'static str>> {
    // A split that was asked for gets at least one pair.
    let split = |share: f64| ((pairs as f64 * share).round() as usize).max(usize::from(share > 0.0));
    let (val, test) = (split(request.val), split(request.test));
    ensure!(
        val + test < pairs,
        "--val {} and --test {} of {} leave nothing to train on",
        request.val,
        request.test,
        count(pairs, "pair")
    );
    let mut splits = vec!["train"; pairs];
    splits[..val].fill("val");
    splits[val..val + test].fill("test");
    Stream::new(request.seed, Purpose::Split, 0).shuffle(&mut splits);
    Ok(splits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(pairs: usize, val: f64, test: f64, seed: u64) -> Result<Vec<&'static str>> {
        super::divide(
            pairs,
            &Request { dir: "".into(), out: "".into(), val, test, seed, image_size: Size::square(256) },
        )
    }

    #[test]
    fn splits_have_the_sizes_asked_for_and_depend_on_the_seed() {
        let splits = divide(50, 0.1, 0.2, 7).expect("enough pairs");
        let in_split = |split: &str| splits.iter().filter(|one| **one == split).count();
        assert_eq!(["train", "val", "test"].map(in_split), [35, 5, 10]);
        assert_eq!(splits, divide(50, 0.1, 0.2, 7).expect("enough pairs"));
        assert_ne!(splits, divide(50, 0.1, 0.2, 8).expect("enough pairs"));
    }

    #[test]
    fn no_split_that_is_asked_for_is_empty() {
        let mut splits = divide(3, 0.01, 0.01, 0).expect("enough pairs");
        splits.sort_unstable();
        assert_eq!(splits, ["test", "train", "val"]);
        assert_eq!(divide(2, 0.0, 0.0, 0).expect("enough pairs"), ["train"; 2]);
        let error = divide(2, 0.1, 0.1, 0).expect_err("two of two").to_string();
        assert!(error.contains("of 2 pairs leave nothing to train on"), "{error}");
    }
}
