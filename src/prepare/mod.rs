//! Getting data ready: what `pixtape data` does.
//!
//! Each command fills a new folder (`new_folder`) that gets its name when all of it is there, so whatever bears the name
//! is whole. All that is wrong with the input is said at once.

pub mod check;
pub mod fetch;
pub mod make;
pub mod pair;
pub mod split;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

use crate::data::layout::{PARTS, list_and_skip, skip_folders};
use crate::data::{Picture, Size};
use crate::progress::{Progress, say};
use crate::words::count;

/// The pictures in each of the [`PARTS`] of a folder that has any. What else there is goes to `skipped`.
///
/// # Errors
/// When there is no such folder, or no picture in any part.
fn parts(dir: &Path, skipped: &mut Vec<(PathBuf, String)>) -> Result<Vec<(&'static str, Vec<PathBuf>)>> {
    ensure!(dir.exists(), "there is no folder {}", dir.display());
    ensure!(dir.is_dir(), "{} is a file: give the folder that holds the pictures", dir.display());
    let mut found = Vec::new();
    for part in PARTS {
        let files = list_and_skip(&dir.join(part), skipped)?;
        if !files.is_empty() {
            found.push((part, files));
        }
    }
    ensure!(!found.is_empty(), "no images in {}: looked in it and in train/, val/ and test/", dir.display());
    skip_folders(&PARTS.map(|part| dir.join(part)).each_ref(), skipped)?;
    Ok(found)
}

/// Names what a folder holds that a command makes nothing of, each with the reason.
fn say_left_out(skipped: &[(PathBuf, String)]) {
    for (path, why) in skipped {
        say(&format!("Left out: {}: {why}", path.display()));
    }
}

/// Asserts that nothing is lost when a folder is made at `out`.
///
/// # Errors
/// When something is there already; an empty folder is nothing.
fn ensure_free(out: &Path) -> Result<()> {
    let cannot = || format!("cannot look into {}", out.display());
    ensure!(out.file_name().is_some(), "{} is no name for a new folder", out.display());
    let is_free = match fs::symlink_metadata(out) {
        Ok(found) => found.is_dir() && fs::read_dir(out).with_context(cannot)?.next().is_none(),
        Err(_) => true,
    };
    ensure!(is_free, "{} is already there: remove it or choose another --out", out.display());
    Ok(())
}

/// Makes the folder `out` by having `fill` write into a folder beside it, which is renamed in the end. An error leaves
/// neither behind; what a kill leaves is replaced the next time.
///
/// # Errors
/// Those of `fill`, or when `out` is [taken](ensure_free) or cannot be written.
fn new_folder<T>(out: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    ensure_free(out)?;
    let cannot = || format!("cannot make the folder {}", out.display());
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    let unfinished = out.with_file_name(name);
    if unfinished.is_dir() {
        fs::remove_dir_all(&unfinished).with_context(cannot)?;
    }
    fs::create_dir_all(&unfinished).with_context(cannot)?;
    let filled = fill(&unfinished).and_then(|value| {
        if out.is_dir() {
            fs::remove_dir(out).with_context(cannot)?;
        }
        fs::rename(&unfinished, out).with_context(cannot)?;
        Ok(value)
    });
    if filled.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_dir_all(&unfinished);
    }
    filled
}

/// Does `one` for each of `jobs`, several at a time, and says how far it is: `what` are the jobs, in the plural.
///
/// # Errors
/// Naming every job that failed.
fn for_all<J: Sync>(jobs: &[J], what: &str, one: impl Fn(&J) -> Result<()> + Sync) -> Result<()> {
    let progress = Progress::of_jobs(what, jobs.len() as u64);
    let done = |job| {
        let done = one(job);
        progress.advance(1);
        done
    };
    let bad: Vec<String> =
        jobs.par_iter().map(done).filter_map(|done| done.err().map(|error| format!("{error:#}"))).collect();
    refuse(&bad, &format!("{} of {} {what} cannot be used, nothing is written", bad.len(), jobs.len()))
}

/// # Errors
/// When there are `problems`: the `summary` of them, and each.
fn refuse(problems: &[String], summary: &str) -> Result<()> {
    if !problems.is_empty() {
        bail!("{summary}: {}", problems.join("; "));
    }
    Ok(())
}

/// `a` in the left half of a picture, `b` in its right half. Both are of one size and have the same channels.
fn beside(a: &Picture, b: &Picture) -> Picture {
    assert_eq!((a.size, a.channels), (b.size, b.channels), "halves of one picture");
    let row = a.size.width * a.channels;
    let rows = a.samples.chunks_exact(row).zip(b.samples.chunks_exact(row));
    let samples = rows.flat_map(|(a, b)| a.iter().chain(b)).copied().collect();
    Picture { size: Size { width: 2 * a.size.width, height: a.size.height }, channels: a.channels, samples }
}
