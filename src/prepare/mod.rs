//! Data preparation: the commands of `pixtape data`.
//!
//! Each command that writes fills a `new_folder`, which gets its name when it is complete, so a folder of that name is
//! complete. All faults of the input are reported together.

pub mod check;
pub mod fetch;
pub mod make;
mod new_folder;
pub mod pair;
pub mod split;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rayon::prelude::*;

use crate::base::progress::{Progress, say};
use crate::base::words::{MOST_NAMED, count, first, refuse};
use crate::data::finding::layout::SPLITS;
use crate::data::finding::listing::{NOT_SEARCHED, pictures, skip_folders};
use crate::data::{Picture, Size};
use new_folder::{ensure_free, new_folder};

/// Returns the splits in the folder `dir` that have pictures, each with its name and files, in the order of [`SPLITS`]:
/// `train`, `val`, `test`, and the empty name for pictures in `dir` itself. Everything else in them is added to
/// `skipped`, with the reason.
///
/// # Errors
/// When there is no such folder, or no picture in any split.
fn splits(dir: &Path, skipped: &mut Vec<(PathBuf, String)>) -> Result<Vec<(&'static str, Vec<PathBuf>)>> {
    ensure!(dir.exists(), "there is no folder {}", dir.display());
    ensure!(dir.is_dir(), "{} is a file: give the folder that holds the pictures", dir.display());
    let mut found = Vec::new();
    for split in SPLITS {
        let files = pictures(&dir.join(split), skipped)?;
        if !files.is_empty() {
            found.push((split, files));
        }
    }
    skip_folders(&SPLITS.map(|split| dir.join(split)).each_ref(), skipped)?;
    let folders = skipped.iter().filter(|(path, why)| why == NOT_SEARCHED && path.starts_with(dir));
    let folders: Vec<String> = folders.map(|(path, _)| path.display().to_string()).collect();
    let others = match folders.is_empty() {
        true => String::new(),
        false => format!("; not in {}", first(folders.into_iter(), MOST_NAMED).join(", ")),
    };
    ensure!(!found.is_empty(), "no images in {}: looked in it and in train/, val/ and test/{others}", dir.display());
    Ok(found)
}

/// Prints the files that a command leaves out, each with the reason.
fn say_left_out(skipped: &[(PathBuf, String)]) {
    let lines = skipped.iter().map(|(path, why)| format!("{}: {why}", path.display()));
    first(lines, MOST_NAMED).iter().for_each(|line| say(&format!("Left out: {line}")));
}

/// Runs `one` on each of `jobs`, several at a time, and shows the progress. `what` names the jobs, in the plural.
///
/// # Errors
/// Naming every job that failed.
fn for_all<J: Sync>(jobs: &[J], what: &str, one: impl Fn(&J) -> Result<()> + Sync) -> Result<()> {
    let progress = Progress::for_jobs(what, jobs.len() as u64);
    let done = |job| {
        let done = one(job);
        progress.advance(1);
        done
    };
    let bad: Vec<String> =
        jobs.par_iter().map(done).filter_map(|done| done.err().map(|error| format!("{error:#}"))).collect();
    let summary = format!("{} of {} {what} cannot be used, nothing is written", bad.len(), jobs.len());
    refuse(bad, summary)
}

/// Returns a picture with `a` in its left half and `b` in its right half.
///
/// # Panics
/// If their sizes or numbers of channels differ.
fn beside(a: &Picture, b: &Picture) -> Picture {
    assert_eq!((a.size, a.channels), (b.size, b.channels), "halves of one picture");
    let row = a.size.width * a.channels;
    let rows = a.samples.chunks_exact(row).zip(b.samples.chunks_exact(row));
    let samples = rows.flat_map(|(a, b)| a.iter().chain(b)).copied().collect();
    Picture { size: Size { width: 2 * a.size.width, height: a.size.height }, samples, ..*a }
}
