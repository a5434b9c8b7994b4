//! `pixtape translate`: images of any size through a trained generator.
//!
//! The network always computes tiles, all of one size: a whole picture is one tile, padded to a size that the network
//! takes. Each tile has a number, which picks its dropout, and is run in batches of `--batch`. A picture is read, and
//! its result written, by rows as the tiles need and complete them, so that with small tiles no more than a strip of a
//! large picture is in memory.

mod blended;
mod jobs;
mod memory;
mod model;
mod stream;
mod tiles;
mod window;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub use model::{GeneratorOptions, Model};

use crate::base::files::replace;
use crate::base::progress::{Progress, say, tell};
use crate::base::words::count;
use crate::data::{FileFormat, Size, TiffWriter};
use crate::engine::device::cpu::with_threads;
use blended::Blended;
use jobs::{Job, jobs};
use stream::Stream;
use tiles::Tiles;

/// The arguments of `pixtape translate`; each field has the name of its flag or argument.
#[derive(Clone, Debug)]
pub struct Request {
    pub model: PathBuf,
    pub inputs: Vec<PathBuf>,
    pub out: PathBuf,
    pub pairs: bool,
    pub format: Option<FileFormat>,
    /// `None` without the flag, `Some(None)` with the flag alone: tiles of the size in training.
    pub tile: Option<Option<Size>>,
    pub overlap: Option<usize>,
    pub samples: usize,
    pub batch: usize,
    pub generator: GeneratorOptions,
}

/// Translates all pictures that `request` names and writes the results into its output folder.
///
/// # Errors
/// When the checkpoint or an input cannot be used (all bad inputs are named before anything is written), memory does
/// not suffice, or an output cannot be written.
pub fn run(request: &Request) -> Result<()> {
    let model = Model::open(&request.model, &request.generator)?;
    check_samples(request, &model)?;
    let cut = Tiling::new(request, &model)?;
    let jobs = jobs(request, &model, &cut)?;
    memory::check(&model, &cut, &jobs, model.batch_size(request.batch))?;
    say_left_out(&jobs);
    model.note().into_iter().for_each(say);
    // Groups of jobs: the pages of one file each.
    let mut files: Vec<&[Job]> = jobs.chunk_by(|a, b| a.is_page() && a.input == b.input).collect();
    // Files of one size follow each other, so that the network is recorded once for each size and batches are full.
    files.sort_by_key(|pages| {
        let Size { width, height } = cut.tile(pages[0].shape.size);
        (width, height)
    });
    // Each sample of a file is an output file with all its pages.
    let results = || files.iter().flat_map(|pages| (0..request.samples).map(move |sample| (*pages, sample)));

    with_threads(request.generator.threads, || {
        let inputs: Vec<&Job> = results().flat_map(|(pages, _)| pages).collect();
        let tiles: usize = inputs.iter().map(|job| cut.tiles(job.shape.size).count()).sum();
        let progress = Progress::for_jobs("Translating", tiles as u64);
        let mut stream = Stream::new(model, &cut, inputs, request.batch, progress);
        for (pages, sample) in results() {
            // The output folder is made when a tile is ready: a checkpoint that lacks a tensor leaves no empty folder.
            stream.fill()?;
            fs::create_dir_all(&request.out)
                .with_context(|| format!("cannot make the folder {}", request.out.display()))?;
            let output = &pages[0].outputs[sample];
            write(&mut stream, pages, output).with_context(|| format!("cannot write {}", output.display()))?;
        }
        let model = stream.finish();
        let images = count(jobs.len(), "image");
        let samples =
            if request.samples == 1 { String::new() } else { format!(", {} samples of each", request.samples) };
        tell(format_args!(
            "Translated {images} into {}{samples}{}, {}",
            request.out.display(),
            cut.describe(),
            model.describe()
        ))?;
        Ok(())
    })?
}

/// Writes the next results of `stream`, which are those of `pages`, into one file.
fn write(stream: &mut Stream, pages: &[Job], output: &Path) -> Result<()> {
    let write = |file: &fs::File| {
        let mut file = BufWriter::new(file);
        match pages {
            [job] => job.format.write(&mut file, &mut Blended::new(stream, job), job.depth, &job.carried)?,
            pages => {
                let bytes =
                    pages.iter().map(|job| job.result(&stream.model).bytes(job.shape.size.height, job.depth)).sum();
                let mut tiff = TiffWriter::new(&mut file, bytes)?;
                for job in pages {
                    tiff.page(&mut Blended::new(stream, job), job.depth, &job.carried)?;
                }
            }
        }
        Ok(file.flush()?)
    };
    replace(output, write)?;
    Ok(())
}

/// Prints the tags of the inputs that the outputs do not have: a line for each reason.
fn say_left_out(jobs: &[Job]) {
    let mut reasons: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.page == 0) {
        for reason in &job.left_out {
            reasons.entry(reason).or_default().push(&job.input);
        }
    }
    for (reason, inputs) in reasons {
        let others = if inputs.len() > 1 { format!(" and {} more", inputs.len() - 1) } else { String::new() };
        say(&format!("Left out of {}{others}: {reason}", inputs[0].display()));
    }
}

/// Refuses several samples of a generator without noise, as they would be equal.
fn check_samples(request: &Request, model: &Model) -> Result<()> {
    let samples = request.samples;
    ensure!(
        samples == 1 || request.generator.dropout,
        "--samples {samples}: without noise they would be equal; leave --dropout on"
    );
    ensure!(
        samples == 1 || model.is_stochastic(),
        "--samples {samples}: they would be equal, as this generator has no dropout; leave --samples out"
    );
    Ok(())
}

/// The division of pictures into inputs of the network.
enum Tiling {
    /// No division: a picture is padded until both sides are multiples of `multiple`.
    Whole { multiple: usize },
    /// Tiles that overlap by at least `overlap` pixels, horizontally and vertically.
    Tiled { tile: Size, overlap: [usize; 2] },
}

impl Tiling {
    /// The division that `request` asks for.
    ///
    /// # Errors
    /// When the network cannot take tiles of that size, or the overlap is not less than a side of the tile.
    fn new(request: &Request, model: &Model) -> Result<Tiling> {
        let multiple = model.multiple();
        let Some(tile) = request.tile else {
            return Ok(Tiling::Whole { multiple });
        };
        let tile = tile.unwrap_or_else(|| model.training_size());
        let above = padded(tile, multiple);
        ensure!(
            tile == above,
            "--tile {tile}: this network takes multiples of {multiple}; the next larger tile that works is {above}"
        );
        let overlap = match request.overlap {
            Some(overlap) => [overlap; 2],
            None => [tile.width / 4, tile.height / 4],
        };
        let shorter = tile.width.min(tile.height);
        ensure!(
            overlap[0] < tile.width && overlap[1] < tile.height,
            "--overlap {}: must be less than the shorter side of the tile, {shorter}",
            overlap[0]
        );
        Ok(Tiling::Tiled { tile, overlap })
    }

    /// Size of the network's input for a picture of size `picture`.
    fn tile(&self, picture: Size) -> Size {
        match *self {
            Tiling::Whole { multiple } => padded(picture, multiple),
            Tiling::Tiled { tile, .. } => tile,
        }
    }

    fn tiles(&self, picture: Size) -> Tiles {
        let overlap = match *self {
            Tiling::Whole { .. } => [0; 2],
            Tiling::Tiled { overlap, .. } => overlap,
        };
        Tiles::new(picture, self.tile(picture), overlap)
    }

    /// The tiles in words, for the last line that is printed.
    fn describe(&self) -> String {
        match *self {
            Tiling::Whole { .. } => String::new(),
            Tiling::Tiled { tile, overlap: [x, y] } => {
                let overlap = if x == y { x.to_string() } else { format!("{x}x{y}") };
                format!(", in tiles of {} that overlap by {overlap}", tile.sides())
            }
        }
    }
}

/// `size` with both sides rounded up to multiples of `multiple`.
fn padded(size: Size, multiple: usize) -> Size {
    Size { width: size.width.next_multiple_of(multiple), height: size.height.next_multiple_of(multiple) }
}
