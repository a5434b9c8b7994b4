//! `pixtape data check`: what there is in a folder, and whether it can be trained on.

use std::sync::OnceLock;

use anyhow::{Result, ensure};

use crate::cli::CheckArgs;
use crate::config::TrainOptions;
use crate::data::{Dataset, Preprocess, preparation};
use crate::progress::{Progress, tell};
use crate::words::{MOST_NAMED, count, first};

/// Decodes all pairs of `args.dir` and prints what was found.
///
/// # Errors
/// When there are no pairs, or some that cannot be used: after what was found has been printed.
pub fn run(args: &CheckArgs) -> Result<()> {
    if let Some(load) = args.load_size {
        ensure!(
            args.preprocess == Some(Preprocess::ScaleWidthAndCrop),
            "--load-size {load}: only with --preprocess scale-width-and-crop does it decide which files can be used; leave it \
             out, or use that"
        );
    }
    let options = TrainOptions {
        data: Some(args.dir.clone()),
        direction: args.direction,
        image_size: args.image_size,
        preprocess: args.preprocess,
        load_size: args.load_size,
        ..Default::default()
    };
    let config = options.resolve()?;
    let reading = OnceLock::new();
    let decoded = |_, total: usize| {
        reading.get_or_init(|| Progress::of_jobs("Reading pairs", total as u64)).advance(1);
    };
    let (report, bad) = Dataset::check(&args.dir, &config.pair_options(), &decoded)?;
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
        args.dir.display()
    );
    tell(format_args!("Everything can be used"))?;
    Ok(())
}
