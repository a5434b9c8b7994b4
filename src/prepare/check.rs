//! `pixtape data check`: a report on a folder, and the faults that keep it from use.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, ensure};

use crate::base::progress::{Progress, tell};
use crate::base::words::{MOST_NAMED, count, first};
use crate::config::TrainOptions;
use crate::data::{Dataset, Direction, Preprocess, Size, preparation};

/// A request to `data check`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub dir: PathBuf,
    pub direction: Option<Direction>,
    pub image_size: Option<Size>,
    pub preprocess: Option<Preprocess>,
    pub load_size: Option<Size>,
}

/// Decodes all pairs of `request.dir` with the preprocessing that `request` describes, and prints a report to stdout.
///
/// # Errors
/// When there are no pairs, or some cannot be used, in which case the report is printed first; when a flag makes no
/// sense.
pub fn run(request: &Request) -> Result<()> {
    if let Some(load) = request.load_size {
        ensure!(
            request.preprocess == Some(Preprocess::ScaleWidthAndCrop),
            "--load-size {load}: only with --preprocess scale-width-and-crop does it decide which files can be used; \
             leave it out, or use that"
        );
    }
    let options = TrainOptions {
        data: Some(request.dir.clone()),
        direction: request.direction,
        image_size: request.image_size,
        preprocess: request.preprocess,
        load_size: request.load_size,
        ..Default::default()
    };
    let config = options.resolve()?;
    let reading = OnceLock::new();
    let decoded = |_, total: usize| {
        reading.get_or_init(|| Progress::for_jobs("Reading pairs", total as u64)).advance(1);
    };
    let (report, bad) = Dataset::check(&request.dir, &config.pair_options(), &decoded)?;
    drop(reading);
    for line in report.lines() {
        tell(format_args!("{line}"))?;
    }
    tell(format_args!("{}", preparation(&config.pair_options(), config.augment)))?;
    for line in first(bad.iter().cloned(), MOST_NAMED) {
        tell(format_args!("Unusable  {line}"))?;
    }
    ensure!(
        bad.is_empty(),
        "{} in {} cannot be used: repair or remove them",
        count(bad.len(), "pair"),
        request.dir.display()
    );
    tell(format_args!("Everything can be used"))?;
    Ok(())
}
