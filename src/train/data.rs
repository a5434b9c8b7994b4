//! The pairs of a run: those it trains on, those it is validated on, and those its samples show.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Result;

use super::samples;
use crate::base::progress::Progress;
use crate::config::TrainConfig;
use crate::data::{Dataset, Facades, Pair, PairOptions, Pairs, Report, Split};

/// Built-in facades in an epoch: as many as the CMP data set has for training.
const FACADES_PER_EPOCH: usize = 400;

/// Built-in facades that are held out: drawn again for each validation, always the same, and never trained on.
const FACADES_HELD_OUT: usize = 40;

/// The pairs of a run: those to train on, those held out for validation, and those that the sample pictures show.
pub struct RunData {
    pub train: Arc<dyn Pairs>,
    /// Pairs to validate on, at the image size; `None` if the data has none.
    pub held_out: Option<Box<dyn Pairs>>,
    /// The first pairs, at most [`samples::ROWS`], of the held-out ones, else of the training pairs; cropped to the
    /// image size.
    pub samples: Vec<Pair>,
    /// Report on the data folder; `None` for the built-in facades.
    pub report: Option<Report>,
}

impl RunData {
    /// Opens the data folder of `config` and decodes all of its pairs once to check them, or opens the built-in facades
    /// if there is no folder. Decoded pairs stay in memory as far as they fit in `cache_bytes` bytes. If `is_resumed`,
    /// files that look unlike pairs, by their names or shapes, are accepted: the run has begun with them.
    ///
    /// # Errors
    /// When there are no pairs to train on, a file cannot be used, or it is unclear which files are pairs.
    pub fn open(config: &TrainConfig, is_resumed: bool, cache_bytes: usize) -> Result<RunData> {
        let options = PairOptions { accepted_before: is_resumed, ..config.pair_options() };
        let (train, held_out, report): (Arc<dyn Pairs>, Option<Box<dyn Pairs>>, _) = match &config.data {
            None => {
                let facades = |size, count, split| -> Result<Facades> {
                    Ok(Facades::new(config.seed, size, count, split)?.with_channels(options.channels))
                };
                let held_out = facades(config.image_size, FACADES_HELD_OUT, Split::HeldOut)?;
                let train = facades(config.load_size, FACADES_PER_EPOCH, Split::Train)?;
                (Arc::new(train), Some(Box::new(held_out)), None)
            }
            Some(dir) => {
                let Dataset { train, held_out, report } = open_folder(dir, &options, cache_bytes)?;
                (Arc::new(train), held_out.map(|folder| Box::new(folder) as Box<dyn Pairs>), Some(report))
            }
        };
        let from: &dyn Pairs = held_out.as_deref().unwrap_or(&*train);
        let samples = (0..from.len().min(samples::ROWS)).map(|index| {
            let Pair { input, target } = from.pair(0, index)?;
            // Held-out pairs have the image size already.
            let [input, target] = [input, target].map(|picture| options.fit.middle(&picture));
            Ok(Pair { input, target })
        });
        let samples = samples.collect::<Result<_>>()?;
        Ok(RunData { train, held_out, samples, report })
    }
}

fn open_folder(dir: &Path, options: &PairOptions, cache_bytes: usize) -> Result<Dataset> {
    let reading = OnceLock::new();
    let decoded = |_, total: usize| {
        reading.get_or_init(|| Progress::for_jobs("Reading pairs", total as u64)).advance(1);
    };
    Dataset::open(dir, options, cache_bytes, &decoded)
}
