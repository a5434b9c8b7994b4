//! `pixtape evaluate`: the distances between the outputs of a trained generator and the targets of a test set.

mod memory;
mod pictures;
mod table;

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::base::progress::{Progress, say, tell};
use crate::base::words::count;
use crate::data::feeding::dataset::ToEvaluate;
use crate::data::{CACHE_BYTES, Direction, Folder, Pairs, Picture};
use crate::engine::device::cpu::with_threads;
use crate::metrics::{Distances, Metric, Statistics};
use crate::translate::{GeneratorOptions, Model};
use pictures::Gallery;

/// A request to `evaluate`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub model: PathBuf,
    pub data: PathBuf,
    pub json: bool,
    pub out: Option<PathBuf>,
    pub generator: GeneratorOptions,
}

/// The contents of `evaluation.json`: the subject of the evaluation, and its results.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// The run or the checkpoint, as it was given.
    pub model: String,
    /// A description of the weights, the noise and the device.
    pub about: String,
    /// The folder, as it was given, and the part of it that was used.
    pub data: String,
    pub split: String,
    pub direction: Direction,
    pub image_size: String,
    pub summary: Summary,
    pub images: Vec<Measured>,
}

/// Statistics of each metric over all pairs.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub l1: Statistics,
    /// Mean and deviation leave equal pictures out, whose PSNR is infinite.
    pub psnr: Statistics,
    pub ssim: Statistics,
}

/// The distances (L1, PSNR, SSIM) between the generator's picture and the target of one pair.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub name: String,
    #[serde(flatten)]
    pub distances: Distances,
}

impl Evaluation {
    /// The first line of the table and the title of the page.
    fn title(&self) -> String {
        let count = count(self.images.len(), "pair");
        format!("{count} ({}) of {}, {}, at {}", self.split, self.data, self.direction.describe(), self.image_size)
    }
}

impl Summary {
    fn new(images: &[Measured]) -> Summary {
        let all: Vec<Distances> = images.iter().map(|image| image.distances).collect();
        let statistics = |metric| Statistics::new(metric, &all);
        Summary { l1: statistics(Metric::L1), psnr: statistics(Metric::Psnr), ssim: statistics(Metric::Ssim) }
    }

    fn get(&self, metric: Metric) -> &Statistics {
        match metric {
            Metric::L1 => &self.l1,
            Metric::Psnr => &self.psnr,
            Metric::Ssim => &self.ssim,
        }
    }
}

/// Translates the inputs of a test set and prints the distances of the results from its targets.
///
/// # Errors
/// When the checkpoint or the data cannot be used, or the page cannot be written.
pub fn run(request: &Request) -> Result<()> {
    let mut gallery = request.out.as_deref().map(|out| Gallery::new(out, &request.data)).transpose()?;
    let mut model = Model::open(&request.model, &request.generator)?;
    let options = model.evaluation_options(&request.data);
    let size = options.fit.image;
    model.note().into_iter().for_each(say);
    let cache_bytes = memory::check(&model, size, CACHE_BYTES)?;
    let ToEvaluate { split, pairs, report } = Folder::to_evaluate(&request.data, &options, cache_bytes)?;
    report.lines().iter().for_each(|line| say(line));
    let progress = Progress::of_jobs("Translating pairs", pairs.len() as u64);
    let images = with_threads(request.generator.threads, || -> Result<Vec<Measured>> {
        let mut images = Vec::with_capacity(pairs.len());
        for index in 0..pairs.len() {
            let pair = pairs.pair(0, index)?;
            let output = model.generate(pair.input.values(), size, index as u64)?;
            let channels = pair.target.channels;
            let distances = Distances::between(&output, &pair.target.values(), [size.height, size.width, channels]);
            if let Some(gallery) = &mut gallery {
                gallery.add(&pair, &Picture::from_f32(size, channels, &output))?;
            }
            images.push(Measured { name: pairs.name(index), distances });
            progress.advance(1);
        }
        Ok(images)
    })??;
    drop(progress);
    let evaluation = Evaluation {
        model: request.model.display().to_string(),
        about: model.describe(),
        data: request.data.display().to_string(),
        split,
        direction: model.direction(),
        image_size: size.to_string(),
        summary: Summary::new(&images),
        images,
    };
    let json = serde_json::to_string_pretty(&evaluation)?;
    let page = gallery.map(|gallery| gallery.finish(&evaluation, &json)).transpose()?;
    if request.json {
        writeln!(stdout(), "{json}")?;
        return Ok(());
    }
    table::table(&evaluation).lines().try_for_each(tell)?;
    match page {
        Some(page) => tell(format_args!("Look at {}", page.display())),
        None => Ok(()),
    }
}
