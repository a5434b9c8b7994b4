//! The checkpoints of a run: `RUN/checkpoints/step-00000400.safetensors` and so on, of which the newest few are kept,
//! and `best.safetensors`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};

use super::{About, RunState, Tensors, save};
use crate::base::files::{UNFINISHED, with_ending};

/// Name of the checkpoint with the best validation.
const BEST: &str = "best.safetensors";

/// Saves a checkpoint as `checkpoints/step-N.safetensors` in the run folder `run`, `N` being `meta.step` with eight
/// digits, and returns its path. Then removes all such files but the `keep` newest, at least one; `best.safetensors`
/// stays.
///
/// # Errors
/// When a file cannot be written or removed, or `tensors` fail.
pub fn save_to_run(run: &Path, meta: &RunState, tensors: &dyn Tensors, keep: usize) -> Result<PathBuf> {
    let folder = folder_of(run);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    remove_unfinished(&folder)?;
    let path = folder.join(name_of(meta.step));
    save(&path, &About::from_run(meta.clone()), tensors)?;
    prune(&folder, keep)?;
    Ok(path)
}

/// Saves a checkpoint as `checkpoints/best.safetensors` in the run folder `run`, replacing the best one before it. If
/// the checkpoint of step `meta.step` has been saved already, the file becomes a hard link to it where the file system
/// has such links.
///
/// # Errors
/// When a file cannot be written or removed, or `tensors` fail.
pub fn save_best(run: &Path, meta: &RunState, tensors: &dyn Tensors) -> Result<()> {
    let folder = folder_of(run);
    let (best, newest) = (folder.join(BEST), folder.join(name_of(meta.step)));
    let unfinished = with_ending(&best, UNFINISHED);
    // An unfinished link must not be written to: it is a checkpoint under another name.
    remove_unfinished(&folder)?;
    // Some file systems have no hard links.
    if newest.exists() && fs::hard_link(&newest, &unfinished).and_then(|()| fs::rename(&unfinished, &best)).is_ok() {
        // If both names were links to one file already, renaming has left both.
        return remove_unfinished(&folder);
    }
    save(&best, &About::from_run(meta.clone()), tensors)
}

/// Returns the file names of all checkpoints in the run folder `run`, in order of their steps, then `best.safetensors`
/// if there is one.
///
/// # Errors
/// When the folder of checkpoints exists but cannot be listed. A missing one is no error.
pub fn names(run: &Path) -> Result<Vec<String>> {
    let folder = folder_of(run);
    let mut paths = list(&folder)?;
    paths.extend(Some(folder.join(BEST)).filter(|best| best.exists()));
    Ok(paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
}

/// Returns the path of the checkpoint with the highest step in the run folder `run`; if there is only
/// `best.safetensors`, as in a run that was killed early, that one. `None` if the run has no checkpoint.
///
/// # Errors
/// When the folder of checkpoints exists but cannot be listed. A missing one is no error.
pub fn latest(run: &Path) -> Result<Option<PathBuf>> {
    let folder = folder_of(run);
    Ok(list(&folder)?.pop().or(Some(folder.join(BEST)).filter(|best| best.exists())))
}

/// Returns the path of the checkpoint file that a user means by `path`: the newest checkpoint if it is a run folder, as
/// [`latest`] finds it, else `path` itself.
///
/// # Errors
/// When `path` does not exist, or is a folder without a checkpoint.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    ensure!(path.exists(), "{} does not exist: give a run folder or a checkpoint file", path.display());
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    latest(path)?.ok_or_else(|| {
        let folder = folder_of(path);
        anyhow!(
            "{} is not the folder of a run that has saved anything: no checkpoint in {}",
            path.display(),
            folder.display()
        )
    })
}

fn folder_of(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// The finished checkpoints in a folder, oldest first. A missing folder has none.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> =
        files(folder)?.into_iter().filter_map(|path| Some((step_in_name(&path)?, path))).collect();
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn name_of(step: u64) -> String {
    format!("step-{step:08}.safetensors")
}

fn step_in_name(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    };
    read().map_err(|error: std::io::Error| anyhow!("cannot list the folder {}: {error}", folder.display()))
}

/// Removes the unfinished files of saves that were killed.
fn remove_unfinished(folder: &Path) -> Result<()> {
    let is_unfinished = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_suffix(UNFINISHED)?;
        Some(is_checkpoint(name))
    };
    remove(files(folder)?.iter().filter(|path| is_unfinished(path) == Some(true)))
}

/// True if `name` is the file name of a checkpoint in `checkpoints/` of a run.
pub(crate) fn is_checkpoint(name: &str) -> bool {
    name == BEST || step_in_name(Path::new(name)).is_some()
}

/// Removes all but the `keep` newest checkpoints; the newest one stays in any case.
fn prune(folder: &Path, keep: usize) -> Result<()> {
    let all = list(folder)?;
    remove(all[..all.len().saturating_sub(keep.max(1))].iter())
}

fn remove<'a>(mut paths: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    paths.try_for_each(|path| fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, fixture};
    use super::*;

    fn save_step(run: &Path, step: u64, keep: usize) -> PathBuf {
        save_to_run(run, &fixture::meta(step), &fixture::TwoTensors, keep).unwrap()
    }

    fn names(run: &Path) -> Vec<String> {
        let mut names: Vec<String> = files(&folder_of(run))
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_string())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_are_kept_by_step_not_by_name() {
        let run = tempfile::tempdir().unwrap();
        for step in [400, 99_999_999, 100_000_000] {
            save_step(run.path(), step, 2);
        }
        assert_eq!(names(run.path()), ["step-100000000.safetensors", "step-99999999.safetensors"]);
        let newest = folder_of(run.path()).join("step-100000000.safetensors");
        assert_eq!(latest(run.path()).unwrap(), Some(newest));
    }

    #[test]
    fn a_killed_save_is_ignored_and_swept_up_by_the_next() {
        let run = tempfile::tempdir().unwrap();
        let first = save_step(run.path(), 400, 2);
        let whole = fs::read(&first).unwrap();
        let torn = folder_of(run.path()).join(format!("step-00000800.safetensors{UNFINISHED}"));
        fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(latest(run.path()).unwrap(), Some(first));
        // A file of another program.
        let other = format!("other{UNFINISHED}");
        fs::write(folder_of(run.path()).join(&other), "").unwrap();
        save_step(run.path(), 1200, 2);
        assert_eq!(names(run.path()), [&other, "step-00000400.safetensors", "step-00001200.safetensors"]);
    }

    #[test]
    fn a_run_means_its_newest_checkpoint_and_a_file_itself() {
        let run = tempfile::tempdir().unwrap();
        let error = resolve(run.path()).unwrap_err().to_string();
        assert!(error.contains("no checkpoint in"), "{error}");
        assert!(resolve(&run.path().join("x")).unwrap_err().to_string().contains("does not exist"));
        let saved = save_step(run.path(), 3, 1);
        assert_eq!(resolve(run.path()).unwrap(), saved);
        assert_eq!(resolve(&saved).unwrap(), saved);
    }

    #[test]
    fn the_best_one_stays_and_is_never_the_newest() {
        let run = tempfile::tempdir().unwrap();
        let best = folder_of(run.path()).join(BEST);
        // Beside the checkpoint of its step, and without one.
        for step in [4, 5] {
            let newest = save_step(run.path(), 4, 1);
            save_best(run.path(), &fixture::meta(step), &fixture::TwoTensors).unwrap();
            assert_eq!(Reader::open(&best).unwrap().meta().unwrap().step, step);
            assert_eq!(latest(run.path()).unwrap(), Some(newest));
        }
        // Alone, it is the newest.
        fs::remove_file(latest(run.path()).unwrap().unwrap()).unwrap();
        assert_eq!(latest(run.path()).unwrap().as_ref(), Some(&best));
        save_step(run.path(), 9, 1);
        assert_eq!(super::names(run.path()).unwrap(), ["step-00000009.safetensors", BEST]);
        assert_eq!(Reader::open(&best).unwrap().meta().unwrap().step, 5);
        assert_eq!(names(run.path()).len(), 2);
        // The best is the newest: written over, it is whole, and so is the other name of it.
        save_best(run.path(), &fixture::meta(9), &fixture::TwoTensors).unwrap();
        save_best(run.path(), &fixture::meta(9), &fixture::TwoTensors).unwrap();
        assert_eq!(names(run.path()), [BEST, "step-00000009.safetensors"]);
        save_step(run.path(), 10, 1);
        assert_eq!(Reader::open(&best).unwrap().meta().unwrap().step, 9);
        assert_eq!(names(run.path()), [BEST, "step-00000010.safetensors"]);
    }

    #[test]
    fn saving_the_same_step_again_replaces_it() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(save_step(run.path(), 7, 1), save_step(run.path(), 7, 1));
        assert_eq!(names(run.path()), ["step-00000007.safetensors"]);
    }
}
