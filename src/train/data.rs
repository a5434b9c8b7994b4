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

/// Built-in facades that are measured: drawn once more each time, but never trained on.
const FACADES_HELD_OUT: usize = 40;

/// The data of a run: pairs to learn from, held-out pairs to measure, and the pairs of the sample pictures.
pub struct Data {
    pub train: Arc<dyn Pairs>,
    pub held_out: Option<Box<dyn Pairs>>,
    pub samples: Vec<Pair>,
    /// Report on the data folder; `None` for the built-in facades.
    pub report: Option<Report>,
}

impl Data {
    /// Opens the data of a run. If `is_resumed`, pairs that a new run would refuse as doubtful are taken, because the
    /// run has begun with them. Decoded pairs are kept in memory as far as they fit in `cache_bytes`.
    ///
    /// # Errors
    /// When a file cannot be used, or there are no pairs.
    pub fn open(config: &TrainConfig, is_resumed: bool, cache_bytes: usize) -> Result<Data> {
        let options = PairOptions { taken_before: is_resumed, ..config.pair_options() };
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
        Ok(Data { train, held_out, samples, report })
    }
}

fn open_folder(dir: &Path, options: &PairOptions, cache_bytes: usize) -> Result<Dataset> {
    let reading = OnceLock::new();
    let decoded = |_, total: usize| {
        reading.get_or_init(|| Progress::of_jobs("Reading pairs", total as u64)).advance(1);
    };
    Dataset::open(dir, options, cache_bytes, &decoded)
}
