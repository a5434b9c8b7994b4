//! The folder of a run: what in it runs write, and that only one process at a time does.

use std::fs::{self, DirEntry, FileType};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use same_file::Handle;

use super::{samples, tables};
use crate::checkpoint::{is_checkpoint, latest};
use crate::config::TrainConfig;
use crate::files::{self, UNFINISHED, ensure_folder};
use crate::progress::say;

pub const SETTINGS: &str = "config.toml";
pub const LOSSES: &str = "losses.csv";
pub const METRICS: &str = "metrics.csv";
pub const REPORT: &str = "report.html";
const SAMPLES: &str = "samples";
const CHECKPOINTS: &str = "checkpoints";
const EVENTS: &str = "tensorboard";

/// Locked while a process works in the folder.
const LOCK: &str = "pixtape.lock";

/// Files of others that a refusal names; it counts the rest.
const NAMED: usize = 3;

/// What is in the folder of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    Nothing,
    /// What a run has written that ended before its first checkpoint.
    Begun,
    Checkpoints,
}

/// The right of one process to read and write the folder of a run. It ends with the process, however that ends.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _handle: Handle,
}

impl RunLock {
    /// # Errors
    /// When another process has it, or the lock file cannot be made.
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
        // While it is still locked. One that stays is taken by the next process.
        let _ = fs::remove_file(&self.path);
    }
}

/// Looks into a folder in which a run is to be started.
///
/// # Errors
/// When something is there that no run wrote, naming the first few, or it is no folder or cannot be read.
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
    let is_begun = Examined::new(run)?.look(&mut others).with_context(cannot)?;
    if let Some(more) = others.len().checked_sub(1) {
        others.sort_unstable();
        let more = if more < NAMED { String::new() } else { format!(" and {} more", others.len() - NAMED) };
        others.truncate(NAMED);
        bail!(
            "{} holds what no run of pixtape wrote: {}{more}; choose another folder",
            run.display(),
            others.join(", ")
        );
    }
    Ok(if is_begun { Contents::Begun } else { Contents::Nothing })
}

/// Asserts that a run can be started in a folder.
///
/// # Errors
/// When there is one that can be gone on with, and as [`contents`].
pub fn ensure_free(run: &Path) -> Result<Contents> {
    let contents = contents(run).context("--out")?;
    let name = run.display();
    ensure!(
        contents != Contents::Checkpoints,
        "--out {name} already holds a run: choose another folder, or go on with --resume {name}"
    );
    Ok(contents)
}

/// A folder that is looked into.
struct Examined<'a> {
    run: &'a Path,
    /// Its settings are those of a run, so that the other files of a run are taken for that run's.
    is_run: bool,
}

impl Examined<'_> {
    fn new(run: &Path) -> Result<Examined<'_>> {
        let settings = files::read_text(&run.join(SETTINGS)).unwrap_or_default();
        Ok(Examined { run, is_run: toml::from_str::<TrainConfig>(&settings).is_ok() })
    }

    /// Adds what no run wrote to `others`, and says whether there is anything that one did.
    fn look(&self, others: &mut Vec<String>) -> std::io::Result<bool> {
        let mut is_begun = false;
        for entry in fs::read_dir(self.run)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = kind(&entry)?;
            let folder = [SAMPLES, CHECKPOINTS, EVENTS].into_iter().find(|folder| kind.is_dir() && *folder == name);
            match folder {
                Some(folder) => {
                    is_begun = true;
                    for below in fs::read_dir(entry.path())? {
                        let below = below?;
                        let file = below.file_name().to_string_lossy().into_owned();
                        if !(self.is_run && kind_of_file(&below)? && is_in(folder, &file)) {
                            others.push(format!("{name}/{file}"));
                        }
                    }
                }
                None if kind.is_file() && name == LOCK => {}
                None if kind.is_file() && self.is_of_a_run(&entry, &name)? => is_begun = true,
                None => others.push(if kind.is_dir() { format!("{name}/") } else { name }),
            }
        }
        Ok(is_begun)
    }

    /// Whether a file at the top is one that a run wrote.
    fn is_of_a_run(&self, entry: &DirEntry, name: &str) -> std::io::Result<bool> {
        // A full disk or a kill may have left the settings, the first file of a run, empty.
        let is_begun = name == SETTINGS && fs::metadata(entry.path())?.len() == 0;
        let whole = name.strip_suffix(UNFINISHED).unwrap_or(name);
        let is_known = [SETTINGS, LOSSES, METRICS, REPORT].contains(&whole) || tables::is_kept(name);
        Ok(is_begun || whole == SETTINGS && name != SETTINGS || self.is_run && is_known)
    }
}

/// Links are followed, where they lead anywhere.
fn kind(entry: &DirEntry) -> std::io::Result<FileType> {
    fs::metadata(entry.path()).map(|found| found.file_type()).or_else(|_| entry.file_type())
}

fn kind_of_file(entry: &DirEntry) -> std::io::Result<bool> {
    Ok(kind(entry)?.is_file())
}

/// Whether a file of this name in one of the folders is one that runs write there, whole or not.
fn is_in(folder: &str, name: &str) -> bool {
    let whole = name.strip_suffix(UNFINISHED).unwrap_or(name);
    match folder {
        SAMPLES => samples::step_of(whole.as_ref()).is_some(),
        CHECKPOINTS => is_checkpoint(whole),
        _ => name.starts_with("events.out.tfevents.") && name.ends_with(".pixtape"),
    }
}

/// Makes the folder for a new run and takes it. What an earlier run left that ended before its first checkpoint makes room: its
/// losses are kept under another name, its samples are removed.
///
/// # Errors
/// As [`ensure_free`] and [`RunLock::take`], or when the folder cannot be written.
pub fn begin(run: &Path) -> Result<RunLock> {
    let cannot = || format!("cannot write the run folder {}", run.display());
    fs::create_dir_all(run).with_context(cannot)?;
    let lock = RunLock::take(run)?;
    if ensure_free(run)? == Contents::Begun {
        say(&format!("{} holds a run that ended before its first checkpoint: it starts over", run.display()));
        clear_unfinished(run)?;
        tables::set_aside(&run.join(LOSSES))?;
        for name in [LOSSES, METRICS, REPORT] {
            remove(&run.join(name))?;
        }
        in_folder(run, SAMPLES)?.iter().try_for_each(|path| remove(path))?;
    }
    make_folders(run)?;
    Ok(lock)
}

/// Makes the folders in the folder of a run.
///
/// # Errors
/// When one cannot be made.
pub fn make_folders(run: &Path) -> Result<()> {
    [SAMPLES, CHECKPOINTS].iter().try_for_each(|folder| {
        let cannot = || format!("cannot write the run folder {}", run.display());
        fs::create_dir_all(run.join(folder)).with_context(cannot)
    })
}

/// Removes what writes that failed or were killed have left in the folder of a run. The checkpoints do so themselves.
///
/// # Errors
/// When a file cannot be removed.
pub fn clear_unfinished(run: &Path) -> Result<()> {
    let top = [SETTINGS, LOSSES, METRICS, REPORT].map(|name| files::with_ending(&run.join(name), UNFINISHED));
    let samples = in_folder(run, SAMPLES)?;
    let samples = samples.iter().filter(|path| path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()));
    top.iter().chain(samples).try_for_each(|path| remove(path))
}

/// The files that runs have written in one of the folders.
fn in_folder(run: &Path, folder: &str) -> Result<Vec<PathBuf>> {
    let path = run.join(folder);
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&path)?.collect::<std::io::Result<Vec<_>>>()?;
        let ours = entries.iter().filter(|entry| is_in(folder, &entry.file_name().to_string_lossy()));
        Ok(ours.map(DirEntry::path).collect())
    };
    list().with_context(|| format!("cannot list the folder {}", path.display()))
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
        let begun: [&[(&str, &str)]; 6] = [
            &[("samples/", "")],
            &[(LOCK, ""), ("samples/", ""), ("checkpoints/", ""), ("config.toml.unfinished", "data = ")],
            &[(SETTINGS, "")],
            &[config, ("losses.csv.unfinished", "epoch")],
            &[config, (LOSSES, "epoch"), ("tensorboard/events.out.tfevents.1.2.pixtape", "x"), (METRICS, "")],
            &[
                config,
                (REPORT, ""),
                ("samples/step-00000000.png", ""),
                ("checkpoints/step-1.safetensors.unfinished", ""),
            ],
        ];
        for files in begun {
            assert_eq!(contents(folder(files).path()).unwrap(), Contents::Begun, "{files:?}");
        }
        for files in [&[][..], &[(LOCK, "")]] {
            assert_eq!(contents(folder(files).path()).unwrap(), Contents::Nothing, "{files:?}");
        }
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
            (&[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")], "wrote: a, b, c and 2 more; choose"),
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
