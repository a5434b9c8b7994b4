//! `pixtape evaluate`: L1, PSNR and SSIM of the outputs of a trained generator, compared with the targets of a test
//! set.

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
use crate::metrics::{Metric, Metrics, Statistics};
use crate::translate::{GeneratorOptions, Model};
use pictures::Gallery;

/// The arguments of `pixtape evaluate`; each field has the name of its flag or argument.
#[derive(Clone, Debug)]
pub struct Request {
    pub model: PathBuf,
    pub data: PathBuf,
    pub json: bool,
    pub out: Option<PathBuf>,
    pub generator: GeneratorOptions,
}

/// The contents of `evaluation.json`: the generator and the pairs that it was evaluated on, the metrics of each pair,
/// and their statistics.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// The run folder or the checkpoint file, as it was given.
    pub model: String,
    /// The origin of the weights, the dropout and the device, as a phrase.
    pub about: String,
    /// The folder of pairs, as it was given.
    pub data: String,
    /// The split of the folder that was used, such as `test/`.
    pub split: String,
    /// The direction in which pairs were translated.
    pub direction: Direction,
    /// Size of the pictures: `256`, or `512x256` for width by height.
    pub image_size: String,
    /// Statistics over all pairs.
    pub summary: Summary,
    /// The metrics of each pair, in the order of the split.
    pub images: Vec<PairMetrics>,
}

/// Statistics of each metric over all pairs.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub l1: Statistics,
    /// Mean and deviation leave out pairs whose output equals the target, which have an infinite PSNR.
    pub psnr: Statistics,
    pub ssim: Statistics,
}

/// The metrics (L1, PSNR, SSIM) of the generator's output for one pair, compared with the target.
#[derive(Clone, Debug, Serialize)]
pub struct PairMetrics {
    /// Name of the pair.
    pub name: String,
    /// The metrics; in JSON, fields beside `name`.
    #[serde(flatten)]
    pub metrics: Metrics,
}

impl Evaluation {
    /// The first line of the table and the title of the page.
    fn title(&self) -> String {
        let count = count(self.images.len(), "pair");
        format!("{count} ({}) of {}, {}, at {}", self.split, self.data, self.direction.describe(), self.image_size)
    }
}

impl Summary {
    fn new(images: &[PairMetrics]) -> Summary {
        let all: Vec<Metrics> = images.iter().map(|image| image.metrics).collect();
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

/// Translates the inputs of a test set, compares the results with the targets, and prints L1, PSNR and SSIM as a table
/// or as JSON. With an output folder in `request`, also writes a page that shows all pairs.
///
/// # Errors
/// When the checkpoint or the data cannot be used, memory does not suffice, or the page cannot be written.
pub fn run(request: &Request) -> Result<()> {
    let mut gallery = request.out.as_deref().map(|out| Gallery::new(out, &request.data)).transpose()?;
    let mut model = Model::open(&request.model, &request.generator)?;
    let options = model.evaluation_options(&request.data);
    let size = options.fit.image_size;
    model.note().into_iter().for_each(say);
    let cache_bytes = memory::check(&model, size, CACHE_BYTES)?;
    let ToEvaluate { split, pairs, report } = Folder::to_evaluate(&request.data, &options, cache_bytes)?;
    report.lines().iter().for_each(|line| say(line));
    let progress = Progress::for_jobs("Translating pairs", pairs.len() as u64);
    let images = with_threads(request.generator.threads, || -> Result<Vec<PairMetrics>> {
        let mut images = Vec::with_capacity(pairs.len());
        for index in 0..pairs.len() {
            let pair = pairs.pair(0, index)?;
            let output = model.generate(pair.input.to_f32(), size, index as u64)?;
            let channels = pair.target.channels;
            let metrics = Metrics::between(&output, &pair.target.to_f32(), [size.height, size.width, channels]);
            if let Some(gallery) = &mut gallery {
                gallery.add(&pair, &Picture::from_f32(size, channels, &output))?;
            }
            images.push(PairMetrics { name: pairs.name(index), metrics });
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
