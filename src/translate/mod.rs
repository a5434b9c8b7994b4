//! `pixtape translate`: images of any size through a trained generator.
//!
//! Whatever is asked for, the network computes tiles of one size after the other: a whole picture is one tile, padded to what the
//! network needs. Each tile has a number, which picks its dropout, and is run with as many others as `--batch` says.

mod jobs;
mod memory;
mod model;
mod pages;
mod tiles;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

pub use model::Model;

use crate::cli::TranslateArgs;
use crate::data::{Picture, Size};
use crate::device::cpu::with_threads;
use crate::files::write_whole;
use crate::progress::{Progress, say, tell};
use crate::words::count;
use jobs::{Job, jobs};
use pages::Unfinished;
use tiles::Tiles;

/// Translates every input of `args`.
///
/// # Errors
/// When the checkpoint or an input cannot be used (all bad inputs are named before anything is written), or an output
/// cannot be written.
pub fn run(args: &TranslateArgs) -> Result<()> {
    let model = Model::open(&args.model, &args.generator)?;
    check_samples(args, &model)?;
    let cut = Cut::new(args, &model)?;
    let mut jobs = jobs(args, &model)?;
    memory::check(&model, &cut, &jobs, model.images_at_once(args.batch))?;
    say_left_out(&jobs);
    model.note().into_iter().for_each(say);
    // Those of one size follow each other: the network is recorded once for each size, and batches are full.
    jobs.sort_by_key(|job| {
        let Size { width, height } = cut.tile(job.size);
        (width, height)
    });

    with_threads(args.generator.threads, || {
        let tiles: usize = jobs.iter().map(|job| cut.tiles(job.size).count() * job.outputs.len()).sum();
        let progress = Progress::of_jobs("Translating", tiles as u64);
        let mut work = Work { model, out: &args.out, progress, number: 0, unfinished: Unfinished::default() };
        for jobs in jobs.chunk_by(|a, b| cut.tile(a.size) == cut.tile(b.size)) {
            work.translate(jobs, &cut, args.batch)?;
        }
        let Work { model, progress, .. } = work;
        drop(progress);
        let images = count(jobs.len(), "image");
        let samples = if args.samples == 1 { String::new() } else { format!(", {} samples of each", args.samples) };
        tell(format_args!(
            "Translated {images} into {}{samples}{}, {}",
            args.out.display(),
            cut.describe(),
            model.describe()
        ))?;
        Ok(())
    })?
}

/// Says which tags of the inputs the outputs do not have: a line for each reason.
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

/// Several samples of a generator without noise would be one picture several times.
fn check_samples(args: &TranslateArgs, model: &Model) -> Result<()> {
    let samples = args.samples;
    ensure!(
        samples == 1 || args.generator.dropout,
        "--samples {samples}: without noise they would be equal; leave --dropout on"
    );
    ensure!(
        samples == 1 || model.is_noisy(),
        "--samples {samples}: they would be equal, as this generator has no dropout; leave --samples out"
    );
    Ok(())
}

/// How pictures are cut into what the network takes.
enum Cut {
    /// Not at all, but padded to a multiple of this.
    Whole { multiple: usize },
    /// The overlap is along the width and along the height.
    Tiled { tile: Size, overlap: [usize; 2] },
}

impl Cut {
    /// # Errors
    /// When the network cannot take such tiles, or they would not move on.
    fn new(args: &TranslateArgs, model: &Model) -> Result<Cut> {
        let multiple = model.multiple();
        let Some(tile) = args.tile else {
            return Ok(Cut::Whole { multiple });
        };
        let tile = tile.unwrap_or_else(|| model.training_size());
        let above = padded(tile, multiple);
        ensure!(
            tile == above,
            "--tile {tile}: this network takes multiples of {multiple}; the next larger tile that works is {above}"
        );
        let overlap = match args.overlap {
            Some(overlap) => [overlap; 2],
            None => [tile.width / 4, tile.height / 4],
        };
        let shorter = tile.width.min(tile.height);
        ensure!(
            overlap[0] < tile.width && overlap[1] < tile.height,
            "--overlap {}: must be less than the shorter side of the tile, {shorter}",
            overlap[0]
        );
        Ok(Cut::Tiled { tile, overlap })
    }

    /// What the network takes of a picture at a time.
    fn tile(&self, picture: Size) -> Size {
        match *self {
            Cut::Whole { multiple } => padded(picture, multiple),
            Cut::Tiled { tile, .. } => tile,
        }
    }

    fn tiles(&self, picture: Size) -> Tiles {
        let overlap = match *self {
            Cut::Whole { .. } => [0; 2],
            Cut::Tiled { overlap, .. } => overlap,
        };
        Tiles::new(picture, self.tile(picture), overlap)
    }

    /// For the closing line.
    fn describe(&self) -> String {
        match *self {
            Cut::Whole { .. } => String::new(),
            Cut::Tiled { tile, overlap: [x, y] } => {
                let overlap = if x == y { x.to_string() } else { format!("{x}x{y}") };
                format!(", in tiles of {} that overlap by {overlap}", tile.sides())
            }
        }
    }
}

/// The next sides that are multiples.
fn padded(size: Size, multiple: usize) -> Size {
    Size { width: size.width.next_multiple_of(multiple), height: size.height.next_multiple_of(multiple) }
}

/// What goes on from one batch to the next.
struct Work<'a> {
    model: Model,
    out: &'a Path,
    progress: Progress,
    /// Of the next tile, over all pictures and samples.
    number: u64,
    unfinished: Unfinished,
}

/// A result of which not all tiles are there yet.
struct Canvas<'a> {
    job: &'a Job,
    output: &'a Path,
    tiles: Tiles,
    done: usize,
    values: Vec<f32>,
}

impl Work<'_> {
    /// Translates `jobs`, whose tiles have one size.
    fn translate<'a>(&mut self, jobs: &'a [Job], cut: &Cut, batch: usize) -> Result<()> {
        let [channels, output_channels] = self.model.channels();
        let tile = cut.tile(jobs[0].size);
        let batch = self.model.images_at_once(batch);
        let mut inputs: Vec<f32> = Vec::new();
        let mut canvases: VecDeque<Canvas<'a>> = VecDeque::new();
        for job in jobs {
            let picture = job.picture()?.with_channels(channels);
            let tiles = cut.tiles(picture.size);
            for output in &job.outputs {
                let values = vec![0.0; picture.size.pixels() * output_channels];
                canvases.push_back(Canvas { job, output, tiles, done: 0, values });
                for index in 0..tiles.count() {
                    inputs.extend(tiles.cut(&picture, index).values());
                    if inputs.len() == batch * tile.pixels() * channels {
                        self.flush(tile, &mut inputs, &mut canvases)?;
                    }
                }
            }
        }
        if !inputs.is_empty() {
            self.flush(tile, &mut inputs, &mut canvases)?;
        }
        Ok(())
    }

    /// Runs the tiles that wait, and writes the results that are then complete.
    fn flush(&mut self, tile: Size, inputs: &mut Vec<f32>, canvases: &mut VecDeque<Canvas>) -> Result<()> {
        let [_, channels] = self.model.channels();
        let outputs = self.model.generate(std::mem::take(inputs), tile, self.number)?;
        for output in outputs.chunks_exact(tile.pixels() * channels) {
            self.number += 1;
            self.progress.advance(1);
            // Tiles come out in the order in which they went in.
            let canvas = canvases.front_mut().expect("every tile belongs to a result");
            canvas.tiles.blend(canvas.done, output, channels, &mut canvas.values);
            canvas.done += 1;
            if canvas.done == canvas.tiles.count() {
                let Some(Canvas { job, output, values, .. }) = canvases.pop_front() else { break };
                let picture = Picture::from_f32(job.size, channels, &values);
                drop(values);
                let Some(bytes) = self.unfinished.encode(job, output, picture) else { continue };
                // Not before: a checkpoint that lacks a tensor leaves no empty folder.
                fs::create_dir_all(self.out)
                    .with_context(|| format!("cannot make the folder {}", self.out.display()))?;
                write_whole(output, &bytes.with_context(|| format!("cannot write {}", output.display()))?)?;
            }
        }
        Ok(())
    }
}
