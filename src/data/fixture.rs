//! Folders of pairs for tests.

use std::fs;
use std::io::Cursor;

use anyhow::Result;
use image::{Rgb, RgbImage};
use tempfile::TempDir;

use crate::data::decoding::rows::InMemoryRows;
use crate::data::decoding::{CarriedTags, Depth, FileFormat, Picture};
use crate::data::feeding::{CACHE_BYTES, Dataset, Folder, PairOptions};
use crate::data::pairs::Pairs;
use crate::data::size::Size;

pub const LEFT: [u8; 3] = [200, 30, 40];
pub const RIGHT: [u8; 3] = [10, 60, 220];

pub fn options() -> PairOptions {
    PairOptions::rgb(Size::square(8))
}

pub fn side_by_side(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| Rgb(if x < width / 2 { LEFT } else { RIGHT }))
}

/// Makes a temporary folder with a side-by-side pair of 16x8 pixels at each of `paths`.
pub fn folder(paths: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder for the test");
    for path in paths {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder for the test");
        side_by_side(16, 8).save(path).expect("a picture for the test");
    }
    dir
}

pub fn open(dir: &TempDir, options: &PairOptions) -> Result<Dataset> {
    Dataset::open(dir.path(), options, CACHE_BYTES, &|_, _| {})
}

pub fn names(folder: &Folder) -> Vec<String> {
    (0..folder.len()).map(|index| folder.name(index)).collect()
}

#[track_caller]
pub fn refused(dir: &TempDir, options: &PairOptions, words: &[&str]) {
    let error = open(dir, options).err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

/// Encodes `picture` as a file of `format`.
pub fn encoded(format: FileFormat, picture: &Picture, depth: Depth, carried: &CarriedTags) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    format.write(&mut file, &mut InMemoryRows::new(picture.clone()), depth, carried)?;
    Ok(file.into_inner())
}
