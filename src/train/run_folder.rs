//! The folder of a run: the files that runs write into it, and the lock that admits one process at a time.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use same_file::Handle;

use super::{samples, tables};
use crate::base::files::{self, UNFINISHED, ensure_folder};
use crate::base::progress::say;
use crate::base::words::first;
use crate::checkpoint::{is_checkpoint, latest};
use crate::config::TrainConfig;

pub const SETTINGS: &str = "config.toml";
pub const LOSSES: &str = "losses.csv";
pub const METRICS: &str = "metrics.csv";
pub const REPORT: &str = "report.html";
const SAMPLES: &str = "samples";
const CHECKPOINTS: &str = "checkpoints";

const FILES: [&str; 4] = [SETTINGS, LOSSES, METRICS, REPORT];
const FOLDERS: [&str; 3] = [SAMPLES, CHECKPOINTS, "tensorboard"];

/// Lock file, held while a process works in the folder.
const LOCK: &str = "pixtape.lock";

/// Number of foreign files that a refusal names; it counts the rest.
const NAMED: usize = 3;

/// The contents of a folder in which a new run is to be started: nothing, the remains of a run without a checkpoint,
/// which a new run replaces, or checkpoints, beside which none is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// No files but a lock file, or no folder.
    Nothing,
    /// The files of a run that ended before its first checkpoint.
    Unsaved,
    /// At least one checkpoint of a run.
    Checkpoints,
}

/// A lock on the folder of a run, which one process holds while it reads and writes there. It is released when dropped,
/// and when the process ends.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _handle: Handle,
}

impl RunLock {
    /// Locks the run folder `run`, which has to exist, without waiting for another process.
    ///
    /// # Errors
    /// When another process holds the lock, or the lock file cannot be created.
    pub fn take(run: &Path) -> Result<RunLock> {
        let path = run.join(LOCK);
        let cannot = || format!("cannot write the run folder {}", run.display());
        match files::lock(&path).with_context(cannot)? {
            Some(handle) => Ok(RunLock { path, _handle: handle }),
            None => bail!("another pixtape is at work in {}: wait until it has ended, or end it", run.display()),
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // The file is removed while it is still locked. If that fails, the next process takes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns the contents of the folder `run`, in which a new run is to be started; a missing folder holds nothing.
///
/// # Errors
/// When there is no checkpoint but files that no run wrote (the error names the first few), or a run whose checkpoints
/// were removed. Also when `run` is no folder or cannot be read.
pub fn contents(run: &Path) -> Result<Contents> {
    let cannot = || format!("cannot write the run folder {}", run.display());
    ensure_folder(run).with_context(cannot)?;
    if !run.exists() {
        return Ok(Contents::Nothing);
    }
    if latest(run)?.is_some() {
        return Ok(Contents::Checkpoints);
    }
    let mut others = Vec::new();
    let (is_begun, settings) = classify(run, &mut others).with_context(cannot)?;
    others.sort_unstable();
    ensure!(
        others.is_empty(),
        "{} holds what no run of pixtape wrote: {}; choose another folder",
        run.display(),
        first(others.into_iter(), NAMED).join(", ")
    );
    if let FoundSettings::OfRun(config) = settings {
        // The row of a step is written before the checkpoint of that step.
        ensure!(
            tables::last_step(&run.join(LOSSES))? <= config.save_every,
            "{} holds a run whose checkpoints are gone: choose another folder, or remove this one",
            run.display()
        );
    }
    Ok(if is_begun { Contents::Unsaved } else { Contents::Nothing })
}

/// The settings file of a folder in which a run is to be started.
enum FoundSettings {
    /// A settings file that is missing, or empty because the disk was full.
    Nothing,
    OfRun(Box<TrainConfig>),
    /// A file that no run of this program wrote.
    Foreign,
}

fn settings(run: &Path) -> Result<FoundSettings> {
    let path = run.join(SETTINGS);
    if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Ok(FoundSettings::Foreign);
    }
    let text = match files::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FoundSettings::Nothing),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok(match std::str::from_utf8(&text).map(toml::from_str::<TrainConfig>) {
        Ok(Ok(config)) => FoundSettings::OfRun(Box::new(config)),
        _ if text.is_empty() => FoundSettings::Nothing,
        _ => FoundSettings::Foreign,
    })
}

/// Checks that a new run can be started in the folder `run`, and returns its contents: [`Contents::Nothing`] or
/// [`Contents::Unsaved`].
///
/// # Errors
/// When it holds a checkpoint, and those of [`contents`].
pub fn ensure_free(run: &Path) -> Result<Contents> {
    let contents = contents(run).context("--out")?;
    let name = run.display();
    ensure!(
        contents != Contents::Checkpoints,
        "--out {name} already holds a run: choose another folder, or go on with --resume {name}"
    );
    Ok(contents)
}

/// Adds the names of files that no run wrote to `others`. Returns true if there is anything that a run wrote, and the
/// settings.
fn classify(run: &Path, others: &mut Vec<String>) -> Result<(bool, FoundSettings)> {
    let mut found = Vec::new();
    for (name, kind) in list(run)? {
        if kind.is_dir() && FOLDERS.contains(&&*name) {
            found.extend(list(&run.join(&name))?.into_iter().map(|(file, kind)| (Some(name.clone()), file, kind)));
            found.push((None, name, kind));
        } else {
            found.push((None, name, kind));
        }
    }
    // A run writes its settings first: after the listing they are there, if any of its other files is.
    let settings = settings(run)?;
    let is_run = matches!(settings, FoundSettings::OfRun(_));
    let mut is_begun = false;
    for (folder, name, kind) in found {
        let whole = name.strip_suffix(UNFINISHED).unwrap_or(&name);
        let is_ours = match &folder {
            Some(folder) => is_run && kind.is_file() && is_in(folder, &name),
            None if kind.is_dir() => FOLDERS.contains(&&*name),
            // A kill or a full disk may leave an empty settings file.
            None if name == SETTINGS => kind.is_file() && !matches!(settings, FoundSettings::Foreign),
            None if whole == SETTINGS || name == LOCK => kind.is_file(),
            None => is_run && kind.is_file() && is_at_the_top(whole),
        };
        is_begun |= is_ours && name != LOCK;
        if !is_ours {
            let folder = folder.map_or_else(String::new, |folder| folder + "/");
            others.push(format!("{folder}{name}{}", if kind.is_dir() { "/" } else { "" }));
        }
    }
    Ok((is_begun, settings))
}

/// Names and kinds of the entries of a folder. Links are followed if they lead anywhere.
fn list(folder: &Path) -> io::Result<Vec<(String, FileType)>> {
    let entries = fs::read_dir(folder)?;
    let named = entries.map(|entry| {
        let entry = entry?;
        let kind = fs::metadata(entry.path()).map(|found| found.file_type()).or_else(|_| entry.file_type())?;
        Ok((entry.file_name().to_string_lossy().into_owned(), kind))
    });
    named.collect()
}

/// True if runs write files of this name into their folder itself.
fn is_at_the_top(name: &str) -> bool {
    FILES.contains(&name) || tables::is_kept(name)
}

/// True if runs write files of this name into one of the folders, whole or not.
fn is_in(folder: &str, name: &str) -> bool {
    let whole = name.strip_suffix(UNFINISHED).unwrap_or(name);
    match folder {
        SAMPLES => samples::step_of(whole.as_ref()).is_some(),
        CHECKPOINTS => is_checkpoint(whole),
        _ => name.starts_with("events.out.tfevents.") && name.ends_with(".pixtape"),
    }
}

/// Creates the folder `run` for a new run, with its subfolders, and locks it. The files of an earlier run that ended
/// before its first checkpoint are cleared: its tables are copied to other names, its samples and report are removed.
/// TensorBoard drops outdated events by itself.
///
/// # Errors
/// As [`ensure_free`] and [`RunLock::take`], or when the folder cannot be written.
pub fn create(run: &Path) -> Result<RunLock> {
    let cannot = || format!("cannot write the run folder {}", run.display());
    fs::create_dir_all(run).with_context(cannot)?;
    let lock = RunLock::take(run)?;
    if ensure_free(run)? == Contents::Unsaved {
        say(&format!("{} holds a run that ended before its first checkpoint: it starts over", run.display()));
        clear_unfinished(run)?;
        for table in [LOSSES, METRICS] {
            tables::keep_copy(&run.join(table))?;
        }
        for name in [LOSSES, METRICS, REPORT] {
            remove(&run.join(name))?;
        }
        in_folder(run, SAMPLES)?.iter().try_for_each(|path| remove(path))?;
    }
    make_folders(run)?;
    Ok(lock)
}

/// Creates the subfolders `samples` and `checkpoints` of the run folder `run` where they are missing.
///
/// # Errors
/// When one cannot be created.
pub fn make_folders(run: &Path) -> Result<()> {
    [SAMPLES, CHECKPOINTS].iter().try_for_each(|folder| {
        let cannot = || format!("cannot write the run folder {}", run.display());
        fs::create_dir_all(run.join(folder)).with_context(cannot)
    })
}

/// Removes the temporary files (`*.unfinished`) that failed or killed writes have left in the run folder `run` and in
/// its samples. Unfinished checkpoints are removed when the next one is saved.
///
/// # Errors
/// When a file cannot be removed.
pub fn clear_unfinished(run: &Path) -> Result<()> {
    let top = list(run).with_context(|| format!("cannot list the folder {}", run.display()))?;
    let is_unfinished = |name: &str| name.strip_suffix(UNFINISHED).is_some_and(is_at_the_top);
    let top = top.iter().filter(|(name, _)| is_unfinished(name)).map(|(name, _)| run.join(name));
    let samples = in_folder(run, SAMPLES)?;
    let samples = samples.iter().filter(|path| path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()));
    top.chain(samples.cloned()).try_for_each(|path| remove(&path))
}

/// The files that runs have written in one of the folders.
fn in_folder(run: &Path, folder: &str) -> Result<Vec<PathBuf>> {
    let path = run.join(folder);
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let found = list(&path).with_context(|| format!("cannot list the folder {}", path.display()))?;
    Ok(found.iter().filter(|(name, _)| is_in(folder, name)).map(|(name, _)| path.join(name)).collect())
}

/// Removes a file that may be missing.
fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainOptions;

    /// Writes files with the given contents.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let run = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = run.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match name.ends_with('/') {
                true => fs::create_dir_all(&path).unwrap(),
                false => fs::write(&path, text).unwrap(),
            }
        }
        run
    }

    fn settings() -> String {
        TrainOptions { steps: Some(1), ..Default::default() }.resolve().unwrap().to_toml().unwrap()
    }

    #[test]
    fn what_a_kill_left_at_any_moment_is_told_from_nothing_and_from_checkpoints() {
        let settings = settings();
        let config = (SETTINGS, settings.as_str());
        let begun: [&[(&str, &str)]; 7] = [
            &[("samples/", "")],
            &[(LOCK, ""), ("samples/", ""), ("checkpoints/", ""), ("config.toml.unfinished", "data = ")],
            &[(SETTINGS, "")],
            &[config, ("losses.csv.unfinished", "epoch")],
            &[config, ("losses-kept-1.csv.unfinished", "epoch")],
            &[config, (LOSSES, "epoch"), ("tensorboard/events.out.tfevents.1.2.pixtape", "x"), (METRICS, "")],
            &[
                config,
                (REPORT, ""),
                ("samples/step-00000000.png", ""),
                ("checkpoints/step-1.safetensors.unfinished", ""),
            ],
        ];
        for files in begun {
            assert_eq!(contents(folder(files).path()).unwrap(), Contents::Unsaved, "{files:?}");
        }
        for files in [&[][..], &[(LOCK, "")]] {
            assert_eq!(contents(folder(files).path()).unwrap(), Contents::Nothing, "{files:?}");
        }
        // The table has more rows than a run has before its first checkpoint.
        let rows =
            format!("epoch,step,d,adv,pixel\n2,{},,,0.5\n", TrainOptions::default().resolve().unwrap().save_every + 1);
        let error = contents(folder(&[config, (LOSSES, &rows)]).path()).unwrap_err().to_string();
        assert!(error.contains("holds a run whose checkpoints are gone"), "{error}");
        let saved = folder(&[config, ("checkpoints/step-00000001.safetensors", ""), ("notes.txt", "")]);
        assert_eq!(contents(saved.path()).unwrap(), Contents::Checkpoints);
    }

    #[test]
    fn files_of_others_are_named_also_where_they_bear_our_names() {
        let settings = settings();
        let config = (SETTINGS, settings.as_str());
        let refused: [(&[(&str, &str)], &str); 8] = [
            (&[(REPORT, "theirs")], "wrote: report.html; choose"),
            (&[(LOSSES, "theirs")], "wrote: losses.csv; choose"),
            (&[(SETTINGS, "title = \"theirs\"")], "wrote: config.toml; choose"),
            (&[("samples/step-00000000.png", "")], "wrote: samples/step-00000000.png; choose"),
            (&[config, ("samples/x.png", "")], "wrote: samples/x.png; choose"),
            (&[config, ("notes.unfinished", "")], "wrote: notes.unfinished; choose"),
            (&[config, ("report.html/", "")], "wrote: report.html/; choose"),
            (&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")], "wrote: a, b, c, and 2 more; choose"),
        ];
        for (files, words) in refused {
            let error = format!("{:#}", contents(folder(files).path()).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_folder_is_taken_once_and_free_again() {
        let run = folder(&[]);
        let lock = RunLock::take(run.path()).unwrap();
        let error = RunLock::take(run.path()).unwrap_err().to_string();
        assert!(error.contains("another pixtape is at work in"), "{error}");
        drop(lock);
        assert!(!run.path().join(LOCK).exists());
        RunLock::take(run.path()).unwrap();
    }
}
