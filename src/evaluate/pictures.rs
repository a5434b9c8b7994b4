//! The output folder of an evaluation: `index.html`, its pictures, and `evaluation.json`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Evaluation;
use crate::base::files::{UNFINISHED, ensure_folder, target, write_atomically};
use crate::data::{Pair, Picture, write_png};
use crate::report::{EvaluationPage, Row};

/// The pictures of a pair.
const KINDS: [&str; 3] = ["input", "output", "target"];

/// Name of the folder of pictures.
const IMAGES: &str = "images";
/// Name of the page.
const PAGE: &str = "index.html";
/// Name of the file of the metrics.
const NUMBERS: &str = "evaluation.json";

/// The output folder of an evaluation while it is written: pictures pair by pair, then the page `index.html` and
/// `evaluation.json`.
pub struct Gallery {
    folder: PathBuf,
    pairs: usize,
}

impl Gallery {
    /// Checks that `folder` may become the output folder of an evaluation of the pairs in the folder `data`. Writes
    /// nothing yet: the first [`Gallery::add`] creates the folder, or replaces an earlier evaluation in it.
    ///
    /// # Errors
    /// When `folder` holds anything other than an evaluation, holds `data`, or cannot be a folder.
    pub fn new(folder: &Path, data: &Path) -> Result<Gallery> {
        let out = folder.display();
        ensure_folder(folder).context("--out")?;
        let holds_data =
            matches!((data.canonicalize(), folder.canonicalize()), (Ok(data), Ok(folder)) if data.starts_with(&folder));
        ensure!(!holds_data, "--out {out} holds the pairs themselves: choose another folder");
        ensure!(
            is_free(folder)?,
            "--out {out} holds something else than an evaluation, which would be mixed with it: choose another folder"
        );
        for name in [PAGE, NUMBERS] {
            target(&folder.join(name))?;
        }
        for name in names(&folder.join(IMAGES))?.iter().filter(|name| is_picture(name)) {
            target(&folder.join(IMAGES).join(name))?;
        }
        Ok(Gallery { folder: folder.to_path_buf(), pairs: 0 })
    }

    /// Writes the pictures of the next pair as 8-bit PNG files: its input, the generator's `output`, and its target.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(&mut self, pair: &Pair, output: &Picture) -> Result<()> {
        if self.pairs == 0 {
            self.begin()?;
        }
        let output = Picture { has_extra_band: pair.target.has_extra_band, ..output.clone() };
        for (picture, file) in [&pair.input, &output, &pair.target].into_iter().zip(files(self.pairs)) {
            write_png(&self.folder.join(file), &picture.clone().without_band().to_image8())?;
        }
        self.pairs += 1;
        Ok(())
    }

    /// Creates the folder, without the pictures of an earlier evaluation: it may have had more of them.
    fn begin(&self) -> Result<()> {
        let images = self.folder.join(IMAGES);
        fs::create_dir_all(&images).with_context(|| format!("cannot make the folder {}", images.display()))?;
        for name in names(&images)?.iter().filter(|name| is_picture(name)) {
            let path = images.join(name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    /// Writes `index.html`, the page of `evaluation`, and `evaluation.json`, whose contents are `json`. Returns the
    /// path of the page.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(&self, evaluation: &Evaluation, json: &str) -> Result<PathBuf> {
        let rows = evaluation.images.iter().enumerate();
        let rows: Vec<Row> = rows
            .map(|(index, image)| Row { name: image.name.clone(), metrics: image.metrics, files: files(index) })
            .collect();
        let about = [format!("{}: {}", evaluation.model, evaluation.about)];
        let page = EvaluationPage { title: &evaluation.title(), about: &about, rows: &rows }.html();
        write_atomically(&self.folder.join(NUMBERS), json.as_bytes())?;
        let index = self.folder.join(PAGE);
        write_atomically(&index, page.as_bytes())?;
        Ok(index)
    }
}

/// Paths of the pictures of pair `index`, by number: names of pairs need not be good or distinct file names.
fn files(index: usize) -> [String; 3] {
    KINDS.map(|kind| format!("{IMAGES}/{:05}-{kind}.png", index + 1))
}

/// True if a file in [`IMAGES`] has the name of an evaluation's picture, finished or not.
fn is_picture(name: &str) -> bool {
    let name = name.strip_suffix(UNFINISHED).unwrap_or(name);
    let Some((number, kind)) = name.strip_suffix(".png").and_then(|stem| stem.split_once('-')) else { return false };
    number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit()) && KINDS.contains(&kind)
}

/// True if `folder` is missing or empty, or holds only an evaluation or the pictures of one that was stopped.
fn is_free(folder: &Path) -> Result<bool> {
    let found = names(folder)?;
    let is_begun = || -> Result<bool> {
        Ok(found.iter().all(|name| name == IMAGES) && names(&folder.join(IMAGES))?.iter().all(|name| is_picture(name)))
    };
    Ok(found.iter().any(|name| name == NUMBERS) || is_begun()?)
}

/// Names of the entries of a folder; none if it is missing.
fn names(folder: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot list the folder {}", folder.display());
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(cannot)?;
    entries.map(|entry| Ok(entry.with_context(cannot)?.file_name().to_string_lossy().into_owned())).collect()
}
