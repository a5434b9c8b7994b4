//! The folder of an evaluation: `index.html`, the pictures that it shows, and `evaluation.json`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Evaluation;
use crate::data::{Pair, Picture, write_png};
use crate::files::write_whole;
use crate::report::{EvaluationPage, Row};

/// The pictures of a pair.
const KINDS: [&str; 3] = ["input", "output", "target"];

/// A folder that fills with pictures.
pub struct Gallery {
    folder: PathBuf,
    pairs: usize,
}

impl Gallery {
    /// To be made at `folder` with the first picture: what fails before leaves no empty folder.
    pub fn new(folder: &Path) -> Gallery {
        Gallery { folder: folder.to_path_buf(), pairs: 0 }
    }

    /// Writes the pictures of the next pair.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(&mut self, pair: &Pair, output: &Picture) -> Result<()> {
        let images = self.folder.join("images");
        fs::create_dir_all(&images).with_context(|| format!("cannot make the folder {}", images.display()))?;
        for (picture, file) in [&pair.input, output, &pair.target].into_iter().zip(files(self.pairs)) {
            write_png(&self.folder.join(file), &picture.to_image8())?;
        }
        self.pairs += 1;
        Ok(())
    }

    /// Writes the page and the numbers. Returns where the page is.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(&self, evaluation: &Evaluation, json: &str) -> Result<PathBuf> {
        let rows = evaluation.images.iter().enumerate();
        let rows: Vec<Row> = rows
            .map(|(place, image)| Row { name: image.name.clone(), distances: image.distances, files: files(place) })
            .collect();
        let about = [format!("{}: {}", evaluation.model, evaluation.about)];
        let page = EvaluationPage { title: &evaluation.title(), about: &about, rows: &rows }.html();
        write_whole(&self.folder.join("evaluation.json"), json.as_bytes())?;
        let index = self.folder.join("index.html");
        write_whole(&index, page.as_bytes())?;
        Ok(index)
    }
}

/// By number: names of pairs need not make good or different names of files.
fn files(place: usize) -> [String; 3] {
    KINDS.map(|kind| format!("images/{:05}-{kind}.png", place + 1))
}
