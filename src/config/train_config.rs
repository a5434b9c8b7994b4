//! The complete settings of a run, as they stand in `config.toml` and in every checkpoint.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::{Precision, Recipe, size_rules};
use crate::data::{Augment, Direction, Size};
use crate::device::DeviceChoice;

/// Every setting of a run, resolved and checked. What each one means is said at the field of the same name in
/// [`TrainOptions`](super::TrainOptions).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainConfig {
    /// An absolute path; `None` is the built-in facades.
    pub data: Option<PathBuf>,
    pub direction: Direction,
    pub image_size: Size,
    /// Equal to `image_size` unless `augment` is jitter.
    pub load_size: Size,
    pub augment: Augment,
    pub shuffle: bool,
    pub recipe: Recipe,
    /// At least one of `epochs` and `steps` is set; the one reached first ends the run.
    pub epochs: Option<u64>,
    pub steps: Option<u64>,
    pub batch: usize,
    pub lr: f64,
    pub beta1: f64,
    pub lambda_pixel: f64,
    pub ngf: usize,
    pub ndf: usize,
    pub dropout: f64,
    /// An absolute path; `None` is random weights.
    pub init: Option<PathBuf>,
    pub seed: u64,
    pub threads: usize,
    pub device: DeviceChoice,
    /// Settings of older runs do not have it.
    #[serde(default = "yes")]
    pub cuda_graph: bool,
    pub precision: Precision,
    pub out: PathBuf,
    pub sample_every: u64,
    pub save_every: u64,
    pub keep: usize,
}

/// What `pixtape train` is asked to do.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    pub config: TrainConfig,
    /// The checkpoint file to go on from; `None` starts a new run.
    pub resume: Option<PathBuf>,
}

fn yes() -> bool {
    true
}

/// The largest number that a settings file can hold.
const LARGEST: u64 = i64::MAX as u64;

impl TrainConfig {
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("the settings cannot be written as TOML")
    }

    pub fn from_toml(text: &str) -> Result<TrainConfig> {
        toml::from_str(text).map_err(|error| anyhow!("not the settings of a run: {}", error.message()))
    }

    /// Refuses values that make no sense, naming the flag and the value.
    pub(super) fn validate(&self) -> Result<()> {
        // The upper bounds are far beyond use; they turn a slip of the finger into a clear line instead of a failed
        // allocation.
        let whole_numbers: [(&str, u64, u64); 9] = [
            ("batch", self.batch as u64, 4096),
            ("ngf", self.ngf as u64, 1024),
            ("ndf", self.ndf as u64, 1024),
            ("threads", self.threads as u64, 1024),
            ("keep", self.keep as u64, LARGEST),
            ("sample-every", self.sample_every, LARGEST),
            ("save-every", self.save_every, LARGEST),
            ("epochs", self.epochs.unwrap_or(1), LARGEST),
            ("steps", self.steps.unwrap_or(1), LARGEST),
        ];
        for (flag, value, most) in whole_numbers {
            ensure!(value >= 1, "--{flag} {value}: must be at least 1");
            ensure!(value <= most, "--{flag} {value}: must be at most {most}");
        }
        let is_share = |value: f64| (0.0..1.0).contains(&value);
        let real_numbers = [
            ("lr", self.lr, self.lr > 0.0 && self.lr.is_finite(), "must be above 0"),
            (
                "lambda-pixel",
                self.lambda_pixel,
                self.lambda_pixel >= 0.0 && self.lambda_pixel.is_finite(),
                "must be 0 or more",
            ),
            ("beta1", self.beta1, is_share(self.beta1), "must be from 0 to below 1"),
            ("dropout", self.dropout, is_share(self.dropout), "must be from 0 to below 1"),
        ];
        for (flag, value, good, rule) in real_numbers {
            ensure!(good, "--{flag} {value}: {rule}");
        }

        size_rules::depth(self.image_size).context("--image-size")?;
        let (image, load) = (self.image_size, self.load_size);
        if self.augment == Augment::Jitter {
            ensure!(
                load.width >= image.width && load.height >= image.height,
                "--load-size {load}: must be at least the image size {image}, which is cropped out of it"
            );
        } else {
            ensure!(
                load == image,
                "--load-size {load}: only --augment jitter uses it; leave it out, or give the image size {image}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainOptions;

    #[test]
    fn toml_round_trip_keeps_every_field() {
        let folder = tempfile::tempdir().unwrap();
        let config = TrainOptions {
            data: Some(folder.path().to_path_buf()),
            direction: Some(Direction::BToA),
            image_size: Some(Size { width: 512, height: 256 }),
            augment: Some(Augment::Jitter),
            lr: Some(1.0 / 3.0),
            steps: Some(77),
            seed: Some(i64::MAX as u64),
            ..Default::default()
        };
        let config = config.resolve().unwrap();
        let text = config.to_toml().unwrap();
        assert_eq!(TrainConfig::from_toml(&text).unwrap(), config);
        // The file of one run can be the --config of another.
        let options: TrainOptions = toml::from_str(&text).unwrap();
        assert_eq!(options.resolve().unwrap(), config);
    }

    #[test]
    fn senseless_values_are_named() {
        type Change = fn(&mut TrainOptions);
        let cases: [(&str, Change); 12] = [
            ("--batch 0:", |o| o.batch = Some(0)),
            ("--steps 0:", |o| o.steps = Some(0)),
            ("--keep 0:", |o| o.keep = Some(0)),
            ("--ngf 1000000:", |o| o.ngf = Some(1_000_000)),
            ("--lr NaN:", |o| o.lr = Some(f64::NAN)),
            ("--lr inf:", |o| o.lr = Some(f64::INFINITY)),
            ("--lambda-pixel -1:", |o| o.lambda_pixel = Some(-1.0)),
            ("--beta1 1:", |o| o.beta1 = Some(1.0)),
            ("--dropout 1:", |o| o.dropout = Some(1.0)),
            ("--image-size: size 200", |o| o.image_size = Some(Size { width: 200, height: 200 })),
            ("--load-size 72:", |o| o.load_size = Some(Size { width: 72, height: 72 })),
            ("--load-size 72x60:", |o| {
                o.augment = Some(Augment::Jitter);
                o.load_size = Some(Size { width: 72, height: 60 });
            }),
        ];
        for (expected, change) in cases {
            let mut options = TrainOptions::default();
            change(&mut options);
            let error = format!("{:#}", options.resolve().unwrap_err());
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
