//! The contents of a folder: pictures, other files with the reason why they are left out, and folders.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::FileFormat;
use super::file::ENDINGS;
use crate::files;

/// Why a folder is skipped.
pub const NOT_LOOKED_INTO: &str = "a folder that is not looked into";

/// As [`pictures`], without the files that are none.
///
/// # Errors
/// As [`pictures`].
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    pictures(dir, &mut Vec::new())
}

/// The pictures directly in `dir`, in the order of the bytes of their names; none when there is no such folder. The other files
/// go to `skipped`, each with the reason.
///
/// A picture is a regular file whose name has one of the [`ENDINGS`]. The contents do not add to them: the pairs of a folder, and
/// with them the fingerprint of the data of a run, depend on names alone. A picture under another name is told as such.
///
/// # Errors
/// When the folder cannot be read.
pub fn pictures(dir: &Path, skipped: &mut Vec<(PathBuf, String)>) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for path in entries(dir)?.into_iter().filter(|path| !path.is_dir()) {
        match no_picture(&path) {
            None => pictures.push(path),
            Some(why) => skipped.push((path, why)),
        }
    }
    Ok(pictures)
}

/// Why something that is no folder is not taken for a picture. Only a regular file is opened.
fn no_picture(path: &Path) -> Option<String> {
    if is_hidden(path) {
        return Some("hidden".to_owned());
    }
    let kind = fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).map(|found| found.file_type());
    match kind {
        Ok(kind) if !kind.is_file() => return Some(files::kind_of(kind).to_owned()),
        _ if ENDINGS.contains(&&*ending(path)) => return None,
        _ => {}
    }
    let mut start = Vec::new();
    let read = files::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    if let Err(error) = read {
        return Some(format!("cannot be read ({error})"));
    }
    Some(match image::guess_format(&start).ok().and_then(FileFormat::of) {
        Some(format) => format!("holds a {}: rename it to .{}", format.name(), format.endings()[0]),
        None => "not a picture".to_owned(),
    })
}

/// Adds to `skipped` what else there is in folders that were looked into: folders that were not.
///
/// # Errors
/// When a folder cannot be read.
pub fn skip_folders(looked_into: &[&PathBuf], skipped: &mut Vec<(PathBuf, String)>) -> Result<()> {
    for dir in looked_into {
        let unknown = folders(dir)?.into_iter().filter(|folder| !looked_into.iter().any(|one| one.starts_with(folder)));
        skipped.extend(unknown.map(|folder| (folder, NOT_LOOKED_INTO.to_owned())));
    }
    Ok(())
}

/// The folders directly in `dir` that are not hidden, in the order of the bytes of their names; none when there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(dir)?.into_iter().filter(|path| path.is_dir() && !is_hidden(path)).collect())
}

/// In lower case.
pub fn ending(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// What is in `dir`, in the order of the bytes of the names; nothing when there is no such folder.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot list the folder {}", dir.display());
    let mut names: Vec<OsString> = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        names.push(entry.with_context(cannot)?.file_name());
    }
    names.sort_unstable_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    Ok(names.iter().map(|name| dir.join(name)).collect())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap_or_default().as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a folder with `prepare`d files: the names of the pictures, and the others with their reasons.
    fn listed(prepare: impl Fn(&Path)) -> (Vec<String>, Vec<String>) {
        let dir = tempfile::tempdir().expect("a folder for the test");
        prepare(dir.path());
        let mut skipped = Vec::new();
        let found = pictures(dir.path(), &mut skipped).expect("it can be read");
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let skipped = skipped.iter().map(|(path, why)| format!("{}: {why}", name(path)));
        (found.iter().map(|path| name(path)).collect(), skipped.collect())
    }

    #[test]
    fn pictures_under_other_names_are_told_and_not_taken() {
        let (found, skipped) = listed(|dir| {
            for (name, bytes) in [
                ("a.PNG", &b"whatever"[..]),
                ("b.jfif", b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01"),
                ("c.txt", b"text"),
                ("d", b"\x89PNG\r\n\x1a\n\0\0\0\x0d"),
                ("e.ppm", b"P6\n1 1\n255\n..."),
                ("f", b""),
                (".g.png", b""),
            ] {
                fs::write(dir.join(name), bytes).expect("a file for the test");
            }
            fs::create_dir(dir.join("h.png")).expect("a folder for the test");
        });
        assert_eq!(found, ["a.PNG"]);
        let expected = [
            ".g.png: hidden",
            "b.jfif: holds a JPEG: rename it to .jpg",
            "c.txt: not a picture",
            "d: holds a PNG: rename it to .png",
            "e.ppm: not a picture",
            "f: not a picture",
        ];
        assert_eq!(skipped, expected);
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;
        let (found, skipped) = listed(|dir| {
            fs::write(dir.join("real.png"), "").expect("a file for the test");
            symlink("real.png", dir.join("link.png")).expect("a link for the test");
            symlink("nowhere", dir.join("dangling.png")).expect("a link for the test");
            symlink("/dev/zero", dir.join("endless.png")).expect("a link for the test");
            let made = std::process::Command::new("mkfifo").arg(dir.join("fifo.png")).status();
            assert!(made.expect("mkfifo is everywhere").success());
            drop(UnixListener::bind(dir.join("socket.png")).expect("a socket for the test"));
        });
        assert_eq!(found, ["link.png", "real.png"]);
        let expected =
            ["dangling.png: a link to nothing", "endless.png: a device", "fifo.png: a FIFO", "socket.png: a socket"];
        assert_eq!(skipped, expected);
    }
}
