//! Atomic creation of a folder: filled under a temporary name, then renamed.
//!
//! The folder grows as `OUT.unfinished/whole`. A lock file beside it marks `OUT.unfinished` as made here and, as long
//! as a command holds the lock, as being filled. So the remains of a kill can be told from the work of another command
//! and from a foreign folder, and they alone are cleared away.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use same_file::Handle;

use crate::base::files::{UNFINISHED, lock, with_ending};

/// The name of the lock file.
const LOCK: &str = "pixtape.lock";

/// Checks that there is nothing at `out`, or an empty folder, so that a folder can be created there.
///
/// # Errors
/// When there is anything else, or `out` has no name of its own, like `/` and `..`.
pub fn ensure_free(out: &Path) -> Result<()> {
    let cannot = || format!("cannot look into {}", out.display());
    ensure!(out.file_name().is_some(), "{} is no name for a new folder", out.display());
    let is_free = match fs::symlink_metadata(out) {
        Ok(found) => found.is_dir() && fs::read_dir(out).with_context(cannot)?.next().is_none(),
        Err(_) => true,
    };
    ensure!(is_free, "{} is already there: remove it or choose another --out", out.display());
    Ok(())
}

/// Creates the folder `out` atomically: `fill` is called with an empty temporary folder next to it, which is renamed to
/// `out` after success. Returns the value of `fill`. After an error the temporary folder is removed; after a kill it
/// remains, and the next call replaces it.
///
/// # Errors
/// Those of `fill`, or when `out` is [taken](ensure_free), is being made by another command, or cannot be written.
pub fn new_folder<T>(out: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    ensure_free(out)?;
    let cannot = || format!("cannot make the folder {}", out.display());
    let site = TemporaryFolder::take(out)?;
    // Another command may have made it until the lock was free.
    ensure_free(out)?;
    let whole = site.whole();
    if whole.is_dir() {
        fs::remove_dir_all(&whole).with_context(cannot)?;
    }
    fs::create_dir(&whole).with_context(cannot)?;
    let value = fill(&whole)?;
    if out.is_dir() {
        fs::remove_dir(out).with_context(cannot)?;
    }
    fs::rename(&whole, out).with_context(cannot)?;
    Ok(value)
}

/// The temporary folder in which one command makes `out`. Removed when it is dropped.
struct TemporaryFolder {
    dir: PathBuf,
    /// Lock file, locked.
    _lock: Handle,
}

impl TemporaryFolder {
    /// Locks the temporary folder of `out`.
    ///
    /// # Errors
    /// When another command has it, or there is a folder of its name that was not made here.
    fn take(out: &Path) -> Result<TemporaryFolder> {
        let dir = with_ending(out, UNFINISHED);
        let cannot = || format!("cannot make the folder {}", dir.display());
        fs::create_dir_all(&dir).with_context(cannot)?;
        let path = dir.join(LOCK);
        let is_empty = fs::read_dir(&dir).with_context(cannot)?.next().is_none();
        ensure!(
            is_empty || path.is_file(),
            "{} is in the way: {} would grow in it, but this program did not make it; rename it or choose another \
             --out",
            dir.display(),
            out.display()
        );
        let lock = lock(&path).with_context(|| format!("cannot lock {}", path.display()))?;
        let lock = lock.with_context(|| format!("another command is writing {}", out.display()))?;
        Ok(TemporaryFolder { dir, _lock: lock })
    }

    fn whole(&self) -> PathBuf {
        self.dir.join("whole")
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // If an error occurs here, the one of the command is the one to report, and the remains are replaced the next
        // time. The lock file is removed last: a folder without it would count as foreign.
        let whole = self.whole();
        if !whole.exists() || fs::remove_dir_all(whole).is_ok() {
            let _ = fs::remove_file(self.dir.join(LOCK)).and_then(|()| fs::remove_dir(&self.dir));
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use tempfile::TempDir;

    use super::*;

    fn scene() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let out = dir.path().join("out");
        (dir, out)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("it is a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn write(dir: &Path, name: &str) -> Result<()> {
        Ok(fs::write(dir.join(name), name)?)
    }

    #[test]
    fn of_two_commands_the_second_is_refused_and_the_first_goes_on() {
        let (dir, out) = scene();
        let made = new_folder(&out, |whole| {
            write(whole, "first")?;
            let second = new_folder(&out, |whole| write(whole, "second")).expect_err("it is being made").to_string();
            assert!(second.contains("another command is writing") && second.contains("out"), "{second}");
            write(whole, "last")
        });
        made.expect("it is free");
        assert_eq!(names(&out), ["first", "last"]);
        assert_eq!(names(dir.path()), ["out"]);
        assert!(new_folder(&out, |_| Ok(())).expect_err("it is there").to_string().contains("is already there"));
    }

    #[test]
    fn what_a_kill_left_is_replaced_and_an_error_leaves_nothing() {
        let (dir, out) = scene();
        fs::create_dir_all(dir.path().join("out.unfinished/whole/train")).expect("a folder for the test");
        write(&dir.path().join("out.unfinished"), LOCK).expect("a file for the test");
        write(&dir.path().join("out.unfinished/whole/train"), "left").expect("a file for the test");
        let failed = new_folder(&out, |whole| -> Result<()> {
            assert_eq!(names(whole), [""; 0]);
            write(whole, "half")?;
            bail!("no more")
        });
        assert_eq!(failed.expect_err("it fails").to_string(), "no more");
        assert_eq!(names(dir.path()), [""; 0]);
        // An empty folder is not in the way, under either name.
        for name in ["out", "out.unfinished"] {
            fs::create_dir(dir.path().join(name)).expect("a folder for the test");
        }
        new_folder(&dir.path().join("out/"), |whole| write(whole, "it")).expect("it is free");
        assert_eq!((names(dir.path()), names(&out)), (vec!["out".to_owned()], vec!["it".to_owned()]));
    }

    #[test]
    fn a_folder_of_somebody_elses_is_left_alone() {
        let (dir, out) = scene();
        let theirs = dir.path().join("out.unfinished");
        fs::create_dir(&theirs).expect("a folder for the test");
        write(&theirs, "whole").expect("a file for the test");
        let error = new_folder(&out, |_| Ok(())).expect_err("it is not ours").to_string();
        assert!(error.contains("out.unfinished is in the way"), "{error}");
        assert_eq!((names(dir.path()), names(&theirs)), (vec!["out.unfinished".to_owned()], vec!["whole".to_owned()]));
    }
}
