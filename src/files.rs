//! Files that are replaced as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What the name of a file or folder ends in until all of it is there.
pub const UNFINISHED: &str = ".unfinished";

/// Makes the folder that a file at `path` is to lie in.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// `path` with `ending` behind its name.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Writes `bytes` under another name first, so that neither a kill nor a full disk leaves half a file at `path`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let unfinished = with_ending(path, UNFINISHED);
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // The first error is the one to report; this one has the same cause.
        let _ = fs::remove_file(&unfinished);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
