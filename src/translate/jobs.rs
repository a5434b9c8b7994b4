//! The jobs of a translation: pictures and their outputs, all checked before anything is written.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{Model, Request, Tiling};
use crate::base::files::{ensure_folder, is_same_file, whole_target};
use crate::base::memory::require;
use crate::base::progress::{Progress, say};
use crate::base::words::{MOST_NAMED, count, refuse};
use crate::data::decoding::file::CURE;
use crate::data::finding::listing::{LeftOut, describe_left_out, describe_none, pictures_by_contents};
use crate::data::{CarriedTags, Depth, Direction, FileFormat, HalfRows, PictureFile, Rows, Shape, Size, Undecoded};

/// Number of samples that are read at a time, in whole rows, to test that a picture can be read.
const SAMPLES: usize = 1 << 18;

/// One image to translate, a file or a page of a multi-page TIFF, with its output files.
#[derive(Debug)]
pub struct Job {
    pub input: PathBuf,
    /// Index of the page in the input, from 0.
    pub page: usize,
    /// Number of pages of the input.
    pub pages: usize,
    /// The direction whose input half is translated, if the inputs are side-by-side pairs.
    pair_side: Option<Direction>,
    /// Size and channels of the picture to translate.
    pub shape: Shape,
    /// Bytes of host memory that reading takes, beside the rows that are asked for.
    pub held_bytes: u64,
    /// Output files, one for each sample.
    pub outputs: Vec<PathBuf>,
    /// Format of the outputs.
    pub format: FileFormat,
    /// Bits of a sample in the input, which a PNG or TIFF output has as well.
    pub depth: Depth,
    /// Tags of a TIFF input that a TIFF output keeps.
    pub carried: CarriedTags,
    /// Contents of the input that the output lacks, each with the reason.
    pub left_out: Vec<&'static str>,
}

impl Job {
    /// Opens the picture to translate, to be read row by row: the whole image, or the input half of a side-by-side
    /// pair.
    ///
    /// # Errors
    /// When it can no longer be read, or has changed since the job was made.
    pub fn rows(&self) -> Result<Box<dyn Rows>> {
        let input = self.input.display();
        let found = PictureFile::open(&self.input)?.page(self.page).with_context(|| input.to_string())?;
        let found = to_translate(found, self.pair_side)?;
        let is_the_same = found.picture.shape() == self.shape && found.depth == self.depth;
        ensure!(is_the_same, "{input} has changed since it was checked");
        Ok(found.picture)
    }

    /// Returns size and channels of the result: the size of the input, and as many channels as `model` makes.
    pub fn result(&self, model: &Model) -> Shape {
        let [_, channels] = model.channels();
        Shape { channels, ..self.shape }
    }

    /// True if the result is one of several pages of a TIFF file.
    pub fn is_page(&self) -> bool {
        self.pages > 1 && self.format == FileFormat::Tiff
    }
}

/// Makes the jobs for all images that the inputs of `request` name, files or folders, in their order. Reads each image
/// once to check it. Prints the files that are left out, and a warning about inputs that look like pairs.
///
/// # Errors
/// When an input cannot be translated (all such are named), two outputs would be one file, or an output would replace
/// an input.
pub fn jobs(request: &Request, model: &Model, cut: &Tiling) -> Result<Vec<Job>> {
    ensure_folder(&request.out).context("--out")?;
    let (inputs, left_out) = files(request)?;
    let pair_side = request.pairs.then(|| model.direction());
    let [_, channels] = model.channels();
    let job = |input: &PathBuf, file: &PictureFile, page: usize| -> Result<Job> {
        let held_bytes = file.held_bytes(page)?;
        require(held_bytes, "working on it", || CURE.to_owned())?;
        let found = file.page(page)?;
        check_size(&found, cut)?;
        let mut found = to_translate(found, pair_side)?;
        let (shape, pages) = (found.picture.shape(), file.pages());
        check_rows(&mut found.picture)?;
        let depth = found.depth;
        let format = request.format.unwrap_or(found.format);
        let held = format.check(shape.size, channels);
        held.map_err(|error| anyhow!("{error}; choose --format png"))?;
        let ending =
            input.extension().filter(|ending| is_of(format, ending)).unwrap_or(OsStr::new(format.endings()[0]));
        let outputs = (1..=request.samples).map(|sample| {
            let mut name = input.file_stem().unwrap_or_default().to_owned();
            if pages > 1 && format != FileFormat::Tiff {
                name.push(format!("-page-{}", page + 1));
            }
            if request.samples > 1 {
                name.push(format!("-{sample}"));
            }
            name.push(".");
            name.push(ending);
            request.out.join(name)
        });
        let has_last = |is_band| shape.channels.is_multiple_of(2) && shape.has_extra_band == is_band;
        let (input, outputs) = (input.clone(), outputs.collect());
        let (carried, mut left_out) = carried(&found, format, pair_side);
        if !model.channels()[0].is_multiple_of(2) {
            let alpha = "its alpha, which the model does not take: hidden colours are used";
            left_out.extend(has_last(false).then_some(alpha));
            left_out.extend(has_last(true).then_some("its last band, which the model does not take"));
        }
        Ok(Job { input, page, pages, pair_side, shape, held_bytes, outputs, format, depth, carried, left_out })
    };
    let pages = |input: &PathBuf| -> Result<Vec<Job>> {
        let file = PictureFile::open(input)?;
        let name = |page| match file.pages() {
            1 => input.display().to_string(),
            pages => format!("{}, page {} of {pages}", input.display(), page + 1),
        };
        (0..file.pages()).map(|page| job(input, &file, page).with_context(|| name(page))).collect()
    };
    let (mut jobs, mut bad) = (Vec::new(), Vec::new());
    let progress = Progress::for_jobs("Reading inputs", inputs.len() as u64);
    for input in &inputs {
        match pages(input) {
            Ok(pages) => jobs.extend(pages),
            Err(error) => bad.push(format!("{error:#}")),
        }
        progress.advance(1);
    }
    drop(progress);
    let summary = format!("{} of {} inputs cannot be translated", bad.len(), inputs.len());
    refuse(bad, summary)?;
    check_outputs(&jobs)?;
    if !left_out.is_empty() {
        say(&format!("Left out {}", describe_left_out(&left_out, Path::new(""), MOST_NAMED)));
    }
    warning_of_pairs(request, &jobs, model.training_size()).iter().for_each(|line| say(line));
    Ok(jobs)
}

/// Every picture that the inputs name, directly or by their folder, and the other files of these folders, with the
/// reasons why they are left out.
fn files(request: &Request) -> Result<(Vec<PathBuf>, Vec<LeftOut>)> {
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for path in &request.inputs {
        ensure!(path.exists(), "there is no file or folder {}", path.display());
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let (found, mut rest) = pictures_by_contents(path)?;
        ensure!(!found.is_empty(), describe_none(path, &rest));
        // Earlier results of the command are no inputs.
        rest.retain(|(path, _)| !is_same_file(path, &request.out));
        files.extend(found);
        left_out.extend(rest);
    }
    Ok((files, left_out))
}

/// A warning about inputs that have the shape of two pictures of size `trained` side by side; `None` if there are none
/// or they are to be translated as pairs.
fn warning_of_pairs(request: &Request, jobs: &[Job], trained: Size) -> Option<String> {
    let is_pair = |job: &&Job| {
        let Size { width, height } = job.shape.size;
        width * trained.height == 2 * height * trained.width
    };
    let mut pairs = jobs.iter().filter(is_pair);
    let first = pairs.next().filter(|_| !request.pairs)?;
    let (number, files) = (1 + pairs.count(), count(jobs.len(), "input"));
    let (input, size) = (first.input.display(), first.shape.size.sides());
    Some(format!(
        "warning: {number} of {files} look like pairs, twice as wide as the {} that was trained on ({input}: {size}): \
         if they are, give --pairs, which translates the input half",
        trained.sides()
    ))
}

/// The picture to translate of a file or a page: all of it, or the input half of a pair.
fn to_translate(found: Undecoded<'static>, pair_side: Option<Direction>) -> Result<Undecoded<'static>> {
    match pair_side {
        None => Ok(found),
        Some(input) => found.with(|rows| Ok(Box::new(HalfRows::new(rows, input == Direction::BToA)?) as Box<dyn Rows>)),
    }
}

/// Checks that as many rows of a picture may be in memory together as `cut` needs.
fn check_size(found: &Undecoded, cut: &Tiling) -> Result<()> {
    let shape = found.picture.shape();
    let height = shape.size.height;
    match *cut {
        Tiling::Tiled { tile, .. } => {
            let checked = shape.check(tile.height.min(height), found.depth);
            checked.map_err(|error| anyhow!("as many rows as a tile has: {error}; or take a smaller --tile"))
        }
        Tiling::Whole { .. } => {
            let cure = "or give --tile, which has some rows of it in memory at a time";
            shape.check(height, found.depth).map_err(|error| anyhow!("{error}; {cure}"))
        }
    }
}

/// Checks that every row of a picture can be read.
fn check_rows(rows: &mut dyn Rows) -> Result<()> {
    let Shape { size: Size { width, height }, channels, .. } = rows.shape();
    let at_once = (SAMPLES / (width * channels)).max(1);
    for top in (0..height).step_by(at_once) {
        rows.next(at_once.min(height - top))?;
    }
    Ok(())
}

/// The tags of `found` that the output keeps, and those that it does not keep, with the reasons.
fn carried(found: &Undecoded, format: FileFormat, pair_side: Option<Direction>) -> (CarriedTags, Vec<&'static str>) {
    let mut left_out = Vec::new();
    if found.carried.has_band_tags {
        left_out.push("GDAL's metadata and no-data value, which are those of the input's bands");
    }
    let (reason, carried) = match () {
        () if format != FileFormat::Tiff => {
            (Some("the georeference (GeoTIFF), which only a TIFF holds"), CarriedTags::default())
        }
        () if found.is_turned => {
            (Some("the georeference (GeoTIFF), as the picture is turned upright"), CarriedTags::default())
        }
        () if pair_side.is_some() => (
            Some("the georeference (GeoTIFF), as half of the picture is translated"),
            found.carried.clone().without_georeference(),
        ),
        () => (None, found.carried.clone()),
    };
    left_out.extend(reason.filter(|_| found.carried.is_georeferenced()));
    (carried, left_out)
}

fn is_of(format: FileFormat, ending: &OsStr) -> bool {
    format.endings().iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Checks that no output replaces another one or an input.
fn check_outputs(jobs: &[Job]) -> Result<()> {
    let inputs: HashSet<PathBuf> = jobs.iter().filter_map(|job| job.input.canonicalize().ok()).collect();
    let mut taken: HashMap<PathBuf, &Path> = HashMap::new();
    // All pages of a file have one output.
    for Job { input, outputs, .. } in jobs.iter().filter(|job| job.page == 0 || !job.is_page()) {
        for output in outputs {
            let target = whole_target(output)?;
            let is_input = inputs.contains(&target);
            if let Some(other) = taken.insert(target, input) {
                let (a, b) = (other.display(), input.display());
                bail!(
                    "{a} and {b} would both be written to {}: translate them into different folders",
                    output.display()
                );
            }
            if is_input {
                bail!(
                    "{} would be overwritten by the translation of {}: choose another --out",
                    output.display(),
                    input.display()
                );
            }
        }
    }
    Ok(())
}
