//! The contents of a folder: pictures, other files with the reason why they are left out, and folders.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::ImageFormat;

use crate::base::files::{self, UNFINISHED, describe_file_type};
use crate::base::words::{MOST_NAMED, count};
use crate::data::decoding::file::ENDINGS;
use crate::data::decoding::{FileFormat, LOOKED_FOR};

/// The reason that is given for a folder which is not searched for pictures, though it lies in one that is.
pub const NOT_SEARCHED: &str = "a folder that is not looked into";

/// Endings of cameras' raw files that begin like a TIFF. A TIFF decoder finds only a thumbnail in them.
const RAW_ENDINGS: [&str; 14] =
    ["3fr", "arw", "cr2", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "nef", "nrw", "pef", "srw"];

/// The criterion by which a file is a picture.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// One of the [`ENDINGS`]. The pairs of a folder, and with them the fingerprint of a run's data, depend on names
    /// alone.
    Names,
    /// One of the [`ENDINGS`], or under any other name contents that begin like a picture.
    Contents,
}

/// A file or folder that is not among the pictures of its folder, and the reason in words.
pub type LeftOut = (PathBuf, String);

/// Lists the pictures directly in `dir` as [`pictures`] does, without the reasons why other files are left out.
///
/// # Errors
/// As [`pictures`].
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    pictures(dir, &mut Vec::new())
}

/// Lists the pictures directly in `dir`, which are the files with one of the [`ENDINGS`], in the order of the bytes of
/// their names; none if there is no such folder. Adds the other files, but not folders, to `skipped`, each with the
/// reason. Only regular files are opened.
///
/// # Errors
/// When the folder cannot be read.
pub fn pictures(dir: &Path, skipped: &mut Vec<LeftOut>) -> Result<Vec<PathBuf>> {
    let files = entries(dir)?.into_iter().filter(|path| !path.is_dir()).collect();
    Ok(divide(files, By::Names, skipped))
}

/// Lists the pictures directly in `dir`, in the order of the bytes of their names: files with one of the [`ENDINGS`],
/// and files under any other name whose contents begin like a picture. Returns also everything else that lies there,
/// folders included, each with the reason why it is left out.
///
/// # Errors
/// When the folder cannot be read.
pub fn pictures_by_contents(dir: &Path) -> Result<(Vec<PathBuf>, Vec<LeftOut>)> {
    let mut left_out = Vec::new();
    let pictures = divide(entries(dir)?, By::Contents, &mut left_out);
    Ok((pictures, left_out))
}

fn divide(paths: Vec<PathBuf>, by: By, left_out: &mut Vec<LeftOut>) -> Vec<PathBuf> {
    let mut pictures = Vec::new();
    for path in paths {
        match why_left_out(&path, by) {
            None => pictures.push(path),
            Some(why) => left_out.push((path, why)),
        }
    }
    pictures
}

/// Adds to `skipped` the folders that lie directly in one of `looked_into`, but are not in `looked_into` themselves and
/// contain none of them. Hidden folders are not added.
///
/// # Errors
/// When a folder cannot be read.
pub fn skip_folders(looked_into: &[&PathBuf], skipped: &mut Vec<(PathBuf, String)>) -> Result<()> {
    for dir in looked_into {
        let unknown = folders(dir)?.into_iter().filter(|folder| !looked_into.iter().any(|one| one.starts_with(folder)));
        skipped.extend(unknown.map(|folder| (folder, NOT_SEARCHED.to_owned())));
    }
    Ok(())
}

/// Lists the folders directly in `dir` that are not hidden, in the order of the bytes of their names; none if there is
/// no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(dir)?.into_iter().filter(|path| path.is_dir() && !is_hidden(path)).collect())
}

/// Returns the ending of a file name, in lower case and without the dot; empty if it has none.
pub fn ending(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// The entries of `dir`, in the order of the bytes of the names; none when there is no such folder.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let names = || fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>();
    let mut names = names().with_context(|| format!("cannot list the folder {}", dir.display()))?;
    names.sort_unstable_by(|a, b| a.as_encoded_bytes().cmp(b.as_encoded_bytes()));
    Ok(names.iter().map(|name| dir.join(name)).collect())
}

/// The reason why `path` is not among the pictures of its folder; `None` if it is.
fn why_left_out(path: &Path, by: By) -> Option<String> {
    let ending = ending(path);
    if is_hidden(path) {
        return Some("hidden".to_owned());
    }
    match fs::metadata(path).or_else(|_| fs::symlink_metadata(path)).map(|found| found.file_type()) {
        Ok(kind) if kind.is_dir() => return Some(NOT_SEARCHED.to_owned()),
        Ok(kind) if !kind.is_file() => return Some(describe_file_type(kind).to_owned()),
        _ if ENDINGS.contains(&&*ending) => return None,
        Ok(_) => {}
        Err(error) => return Some(format!("cannot be read: {error}")),
    }
    if path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()) {
        return Some("not finished when it was written".to_owned());
    }
    let start = match files::open(path).and_then(|file| files::read_prefix(file, FileFormat::SIGNATURE_BYTES)) {
        Err(error) => return Some(format!("cannot be read: {error}")),
        Ok(start) => start,
    };
    match FileFormat::from_start(&start) {
        Some(FileFormat::Tiff) if RAW_ENDINGS.contains(&&*ending) => {
            Some("a camera's raw file, which has to be developed into a TIFF first".to_owned())
        }
        Some(format) if by == By::Names => {
            Some(format!("holds a {}: rename it to .{}", format.name(), format.endings()[0]))
        }
        Some(_) => None,
        None => Some(what_it_is(&start)),
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap_or_default().as_encoded_bytes().starts_with(b".")
}

/// The kind of a file that begins with `start` and is not read.
fn what_it_is(start: &[u8]) -> String {
    let kind = match image::guess_format(start) {
        Ok(ImageFormat::Gif) => "a GIF",
        Ok(ImageFormat::Pnm) if matches!(start, [_, _, b' ' | b'\n' | b'\r', b'0'..=b'9' | b'#', ..]) => {
            "a PPM, PGM or PBM"
        }
        Ok(ImageFormat::Avif) => "an AVIF",
        Ok(ImageFormat::OpenExr) => "an OpenEXR",
        Ok(ImageFormat::Hdr) => "a Radiance HDR",
        Ok(ImageFormat::Qoi) => "a QOI",
        Ok(ImageFormat::Dds) => "a DDS",
        _ => return "not a PNG, JPEG, TIFF, WebP or BMP".to_owned(),
    };
    format!("{kind}, which is not read: convert it to PNG")
}

/// Describes files and folders that are left out, in one line: the number of files and of folders, then each reason
/// with the first `most` paths, relative to `dir`, and the number of the others.
pub fn describe_left_out(left_out: &[LeftOut], dir: &Path, most: usize) -> String {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, why) in left_out {
        reasons.entry(why).or_default().push(path.strip_prefix(dir).unwrap_or(path).display().to_string());
    }
    let of_reason = reasons.into_iter().map(|(why, mut names)| {
        if names.len() > most {
            let more = names.split_off(most).len();
            names.push(format!("{more} more"));
        }
        format!("{why}: {}", names.join(", "))
    });
    let reasons = of_reason.collect::<Vec<_>>().join("; ");
    let folders = left_out.iter().filter(|(path, why)| why == NOT_SEARCHED || path.is_dir()).count();
    let counts = [(left_out.len() - folders, "file"), (folders, "folder")];
    let counts = counts.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| count(number, what));
    format!("{} ({reasons})", counts.collect::<Vec<_>>().join(", "))
}

/// Returns the error message for a folder `dir` without pictures, whose entries are `left_out`: it says what the folder
/// holds instead.
pub fn describe_none(dir: &Path, left_out: &[LeftOut]) -> String {
    let is_folder = |(path, why): &&LeftOut| why == NOT_SEARCHED && path.is_dir();
    let folders: Vec<String> = left_out.iter().filter(is_folder).map(|(path, _)| path.display().to_string()).collect();
    let dir = dir.display();
    match (left_out, &folders[..]) {
        ([], _) => format!("no images in {dir}: it is empty"),
        (_, []) => {
            let left_out = describe_left_out(left_out, Path::new(""), MOST_NAMED);
            format!("no images in {dir}: looked for {LOOKED_FOR}, left out {left_out}")
        }
        (_, [first, ..]) => {
            let named = &folders[..folders.len().min(MOST_NAMED)];
            let more = folders.len() - named.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(
                "no images in {dir} itself, and its folders are not looked into: name them, as in {first}, each with \
                 an --out of its own; there are {}{more}",
                named.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, RgbImage};
    use tempfile::TempDir;

    use super::*;

    fn encoded(format: FileFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let image = DynamicImage::from(RgbImage::new(3, 2));
        image.write_to(&mut bytes, format.image_format()).expect("the format holds such a picture");
        bytes.into_inner()
    }

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let dir = tempfile::tempdir().expect("a folder for the test");
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).expect("a file for the test");
        }
        dir
    }

    /// Names of the pictures, and names and reasons of the rest.
    fn look(dir: &TempDir) -> (Vec<String>, Vec<String>) {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (pictures, left_out) = pictures_by_contents(dir.path()).expect("the folder can be listed");
        let left_out = left_out.iter().map(|(path, why)| format!("{}: {why}", name(path)));
        (pictures.iter().map(|path| name(path)).collect(), left_out.collect())
    }

    #[test]
    fn contents_decide_where_the_ending_is_none_of_a_picture() {
        let [png, jpeg, tiff, webp, bmp] =
            [FileFormat::Png, FileFormat::Jpeg, FileFormat::Tiff, FileFormat::WebP, FileFormat::Bmp].map(encoded);
        let dir = folder(&[
            ("b.jfif", &jpeg),
            ("a", &png),
            ("c.dib", &bmp),
            ("d.part2", &tiff),
            ("e.x", &webp),
            ("e.z", b"MM\0+\0\x08\0\0 begins like a BigTIFF"),
            ("f.png", b"read by its name, and refused then"),
            (".hidden.png", &png),
            ("g.gif", b"GIF89a"),
            ("h.ppm", b"P6\n1 1\n255\nabc"),
            ("i.txt", b"P5 stands for progress, BM for nothing"),
            ("j.txt", b"BMW and other makers"),
            ("k.dng", &tiff),
            ("l.png.unfinished", &png),
            ("m", b""),
        ]);
        fs::create_dir(dir.path().join("n.png")).expect("a folder for the test");
        let (taken, left_out) = look(&dir);
        assert_eq!(taken, ["a", "b.jfif", "c.dib", "d.part2", "e.x", "e.z", "f.png"]);
        assert_eq!(
            left_out,
            [
                ".hidden.png: hidden",
                "g.gif: a GIF, which is not read: convert it to PNG",
                "h.ppm: a PPM, PGM or PBM, which is not read: convert it to PNG",
                "i.txt: not a PNG, JPEG, TIFF, WebP or BMP",
                "j.txt: not a PNG, JPEG, TIFF, WebP or BMP",
                "k.dng: a camera's raw file, which has to be developed into a TIFF first",
                "l.png.unfinished: not finished when it was written",
                "m: not a PNG, JPEG, TIFF, WebP or BMP",
                "n.png: a folder that is not looked into",
            ]
        );
        assert_eq!(list(&dir.path().join("nowhere")).expect("none").len(), 0);
        // `pictures`, which goes by names, reports the same files and does not take them.
        let mut skipped = Vec::new();
        assert_eq!(pictures(dir.path(), &mut skipped).expect("it can be listed"), [dir.path().join("f.png")]);
        let told: Vec<&str> = skipped.iter().map(|(_, why)| &**why).collect();
        assert_eq!(
            told[1..4],
            ["holds a PNG: rename it to .png", "holds a JPEG: rename it to .jpg", "holds a BMP: rename it to .bmp"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_left_out_unopened() {
        use std::os::unix::{fs::symlink, net::UnixListener};
        let dir = folder(&[]);
        let at = |name: &str| dir.path().join(name);
        symlink("/dev/zero", at("endless.png")).expect("a link for the test");
        let _socket = UnixListener::bind(at("socket.png")).expect("a socket for the test");
        symlink("nowhere", at("missing.png")).expect("a link for the test");
        symlink("nowhere", at("nothing")).expect("a link for the test");
        let made = std::process::Command::new("mkfifo").arg(at("fifo.png")).status();
        assert!(made.expect("mkfifo is everywhere").success());
        fs::write(at("real.png"), "").expect("a file for the test");
        symlink("real.png", at("link.png")).expect("a link for the test");
        let (taken, left_out) = look(&dir);
        assert_eq!(taken, ["link.png", "real.png"]);
        assert_eq!(
            left_out,
            [
                "endless.png: a device",
                "fifo.png: a FIFO",
                "missing.png: a link to nothing",
                "nothing: a link to nothing",
                "socket.png: a socket"
            ]
        );
    }

    #[test]
    fn the_first_of_many_are_named_and_the_others_counted() {
        let many = |number: usize, why: &str| (0..number).map(|i| (format!("{i}").into(), why.to_owned())).collect();
        let mut left_out: Vec<LeftOut> = many(25, "hidden");
        left_out.extend(many(1, "a GIF"));
        let line = describe_left_out(&left_out, Path::new(""), MOST_NAMED);
        assert!(line.starts_with("26 files (a GIF: 0; hidden: 0, 1, 2, "), "{line}");
        assert!(line.ends_with(", 19, 5 more)"), "{line}");
    }
}
