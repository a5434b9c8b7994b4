//! The complete settings of a run, as they stand in `config.toml` and in every checkpoint.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{LrSchedule, Precision, size_rules};
use crate::base::files::is_same_place;
use crate::data::{Augment, Direction, Fit, PairOptions, Preprocess, ResizeFilter, Size};
use crate::engine::device::{DeviceChoice, DeviceOptions};
use crate::engine::ops::adam::AdamOptions;
use crate::gan::{
    BlockOrder, DropoutAt, GanLoss, InitKind, LastLayer, Norm, PatchGan, Pix2Pix, PixelLoss, ReceptiveField, Recipe,
    Skips, StepOrder, UNet,
};
use crate::metrics::Metric;

/// Every setting of a run, resolved and checked. What each one means is said at the field of the same name in
/// [`TrainOptions`](super::TrainOptions).
///
/// Checkpoints outlive the program that wrote them. A field that is added gets `#[serde(default = "...")]` with the
/// value at which a run computes what it computed before there was the setting, which need not be the default of new
/// runs; an `Option` without one is read as `None`. `tests/cli/compat.rs` goes on with a run of commit f0f07b7, which
/// lacks all later settings. What cannot be said so needs a new [`FORMAT_VERSION`](crate::checkpoint::FORMAT_VERSION).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrainConfig {
    /// An absolute path; `None` is the built-in facades.
    pub data: Option<PathBuf>,
    pub direction: Direction,
    pub in_channels: usize,
    pub out_channels: usize,
    pub val_split: f64,
    pub image_size: Size,
    pub preprocess: Preprocess,
    /// Equal to `image_size` unless `augment` is jitter.
    pub load_size: Size,
    pub resize_filter: ResizeFilter,
    pub augment: Augment,
    pub shuffle: bool,
    pub recipe: Recipe,
    /// At least one of `epochs` and `steps` is set; the one reached first ends the run.
    pub epochs: Option<u64>,
    pub steps: Option<u64>,
    pub batch: usize,
    pub accumulate: usize,
    pub step_order: StepOrder,
    pub beta1: f64,
    pub init: InitKind,
    pub init_gain: f64,
    /// An absolute path; `None` is random weights.
    pub start_from: Option<PathBuf>,
    pub generator: Skips,
    pub ngf: usize,
    pub depth: usize,
    pub norm: Norm,
    pub block_order: BlockOrder,
    pub last_layer: LastLayer,
    pub dropout: f64,
    pub dropout_at: DropoutAt,
    pub receptive_field: ReceptiveField,
    pub conditional: bool,
    pub ndf: usize,
    pub halve_d: bool,
    pub gan_loss: GanLoss,
    pub lambda_gan: f64,
    pub pixel_loss: PixelLoss,
    pub lambda_pixel: f64,
    pub lr: f64,
    pub lr_schedule: LrSchedule,
    /// This and the other numbers of schedules are set where the schedule uses them, and nowhere else.
    pub lr_constant_epochs: Option<u64>,
    pub lr_decay_epochs: Option<u64>,
    pub lr_step_epochs: Option<u64>,
    pub lr_factor: Option<f64>,
    pub lr_patience: Option<u64>,
    pub seed: u64,
    pub threads: usize,
    pub device: DeviceChoice,
    pub cuda_graph: bool,
    pub precision: Precision,
    pub out: PathBuf,
    pub sample_every: u64,
    pub save_every: u64,
    pub keep: usize,
    pub validate_every: u64,
    pub best_by: Metric,
}

/// The largest number that a settings file can hold.
const LARGEST: u64 = i64::MAX as u64;

impl TrainConfig {
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("the settings cannot be written as TOML")
    }

    /// The inverse of [`to_toml`](TrainConfig::to_toml), also for what an earlier version of this program has written.
    ///
    /// # Errors
    /// Naming the settings that this version does not know.
    pub fn from_toml(text: &str) -> Result<TrainConfig> {
        read_settings(text)
    }

    /// Refuses values that make no sense, naming the flag and the value.
    pub(super) fn validate(&self) -> Result<()> {
        // The upper bounds are far beyond use; they turn a slip of the finger into a clear line instead of a failed
        // allocation.
        let whole_numbers: [(&str, u64, RangeInclusive<u64>); 18] = [
            ("validate-every", self.validate_every, 1..=LARGEST),
            ("batch", self.batch as u64, 1..=4096),
            ("accumulate", self.accumulate as u64, 1..=256),
            ("lr-constant-epochs", self.lr_constant_epochs.unwrap_or(0), 0..=LARGEST),
            ("lr-decay-epochs", self.lr_decay_epochs.unwrap_or(1), 1..=LARGEST),
            ("lr-step-epochs", self.lr_step_epochs.unwrap_or(1), 1..=LARGEST),
            ("lr-patience", self.lr_patience.unwrap_or(0), 0..=LARGEST),
            ("in-channels", self.in_channels as u64, 1..=4),
            ("out-channels", self.out_channels as u64, 1..=4),
            ("depth", self.depth as u64, 1..=12),
            ("ngf", self.ngf as u64, 1..=1024),
            ("ndf", self.ndf as u64, 1..=1024),
            ("threads", self.threads as u64, 1..=1024),
            ("keep", self.keep as u64, 1..=LARGEST),
            ("sample-every", self.sample_every, 1..=LARGEST),
            ("save-every", self.save_every, 1..=LARGEST),
            ("epochs", self.epochs.unwrap_or(1), 1..=LARGEST),
            ("steps", self.steps.unwrap_or(1), 1..=LARGEST),
        ];
        for (flag, value, range) in whole_numbers {
            let (least, most) = (range.start(), range.end());
            ensure!(value >= *least, "--{flag} {value}: must be at least {least}");
            ensure!(value <= *most, "--{flag} {value}: must be at most {most}");
        }
        let is_share = |value: f64| (0.0..1.0).contains(&value);
        let is_weight = |value: f64| value >= 0.0 && value.is_finite();
        let is_above_zero = |value: f64| value > 0.0 && value.is_finite();
        let factor = self.lr_factor.unwrap_or(0.5);
        let real_numbers = [
            ("lr", self.lr, is_above_zero(self.lr), "must be above 0"),
            ("lr-factor", factor, factor > 0.0 && factor < 1.0, "must be above 0 and below 1"),
            ("lambda-gan", self.lambda_gan, is_weight(self.lambda_gan), "must be 0 or more"),
            ("lambda-pixel", self.lambda_pixel, is_weight(self.lambda_pixel), "must be 0 or more"),
            ("init-gain", self.init_gain, is_above_zero(self.init_gain), "must be above 0"),
            ("beta1", self.beta1, is_share(self.beta1), "must be from 0 to below 1"),
            ("dropout", self.dropout, is_share(self.dropout), "must be from 0 to below 1"),
            ("val-split", self.val_split, is_share(self.val_split), "must be from 0 to below 1"),
        ];
        for (flag, value, good, rule) in real_numbers {
            ensure!(good, "--{flag} {value}: {rule}");
        }
        self.validate_losses()?;
        self.validate_schedule()?;

        size_rules::check(self.image_size, self.depth)?;
        if self.gan_loss != GanLoss::None {
            let Size { width, height } = self.image_size;
            let map = self.objective().discriminator.map_size(height, width);
            map.with_context(|| format!("--receptive-field {}", value_name(self.receptive_field)))?;
        }
        self.validate_data()
    }

    /// Refuses combinations of which one part would have no effect.
    fn validate_data(&self) -> Result<()> {
        let (image, load) = (self.image_size, self.load_size);
        let preprocess = value_name(self.preprocess);
        if self.data.is_none() {
            ensure!(
                self.preprocess == Preprocess::ResizeAndCrop,
                "--preprocess {preprocess}: the built-in facades are drawn at their size; it needs --data"
            );
            ensure!(self.val_split == 0.0, "--val-split {}: it needs --data", self.val_split);
        }
        ensure!(
            self.augment != Augment::Jitter || self.preprocess.crops(),
            "--augment jitter: --preprocess {preprocess} leaves nothing to crop; use --augment flip"
        );
        if load == image {
            return Ok(());
        }
        ensure!(
            self.augment == Augment::Jitter,
            "--load-size {load}: only --augment jitter uses it; leave it out, or give the image size {image}"
        );
        ensure!(
            self.preprocess != Preprocess::Crop,
            "--load-size {load}: --preprocess crop resizes nothing; leave it out, or use --preprocess resize-and-crop"
        );
        let scaled = self.preprocess == Preprocess::ScaleWidthAndCrop;
        ensure!(
            load.width >= image.width && (scaled || load.height >= image.height),
            "--load-size {load}: must be at least the image size {image}, which is cropped out of it"
        );
        Ok(())
    }

    fn validate_losses(&self) -> Result<()> {
        let is_adversarial = self.gan_loss != GanLoss::None;
        let has_pixel = self.pixel_loss != PixelLoss::None;
        ensure!(
            is_adversarial || has_pixel,
            "--gan-loss none --pixel-loss none: without any loss nothing is learned; choose at least one"
        );
        ensure!(
            (is_adversarial && self.lambda_gan > 0.0) || (has_pixel && self.lambda_pixel > 0.0),
            "--lambda-gan {} --lambda-pixel {}: no loss of the generator has any weight; make one of them larger",
            self.lambda_gan,
            self.lambda_pixel
        );
        Ok(())
    }

    /// Refuses numbers of another schedule than the chosen one: they would have no effect.
    fn validate_schedule(&self) -> Result<()> {
        let used = self.lr_schedule.uses();
        let given = [
            ("lr-constant-epochs", self.lr_constant_epochs.is_some()),
            ("lr-decay-epochs", self.lr_decay_epochs.is_some()),
            ("lr-step-epochs", self.lr_step_epochs.is_some()),
            ("lr-factor", self.lr_factor.is_some()),
            ("lr-patience", self.lr_patience.is_some()),
        ];
        for (flag, given) in given {
            let schedule = value_name(self.lr_schedule);
            ensure!(!given || used.contains(&flag), "--{flag}: --lr-schedule {schedule} does not use it; leave it out");
            ensure!(given || !used.contains(&flag), "--lr-schedule {schedule} needs --{flag}");
        }
        Ok(())
    }

    /// Pairs of one optimiser step.
    pub fn pairs(&self) -> usize {
        self.batch * self.accumulate
    }

    /// The epoch that ends the learning rate's decay to nearly 0, if it has one.
    pub fn last_epoch_of_decay(&self) -> Option<u64> {
        let decays = matches!(self.lr_schedule, LrSchedule::Linear | LrSchedule::Cosine);
        decays.then(|| self.lr_constant_epochs.unwrap_or(0).saturating_add(self.lr_decay_epochs.unwrap_or(1)))
    }

    /// How files become the pairs of a run with these settings.
    pub fn pair_options(&self) -> PairOptions {
        PairOptions {
            direction: self.direction,
            channels: [self.in_channels, self.out_channels],
            fit: Fit {
                preprocess: self.preprocess,
                load: self.load_size,
                image: self.image_size,
                filter: self.resize_filter,
            },
            val_split: self.val_split,
            seed: self.seed,
            taken_before: false,
        }
    }

    /// As [`pair_options`](TrainConfig::pair_options), for the pairs of `dir`: what training held out is told from the
    /// rest only where it was trained on.
    pub fn evaluation_options(&self, dir: &Path) -> PairOptions {
        let is_trained_on = self.data.as_ref().is_some_and(|data| is_same_place(data, dir));
        let val_split = if is_trained_on { self.val_split } else { 0.0 };
        PairOptions { val_split, taken_before: is_trained_on, ..self.pair_options() }
    }

    /// Options of executing the training step.
    pub fn device_options(&self) -> DeviceOptions {
        DeviceOptions { graph: self.cuda_graph, ..DeviceOptions::default() }
    }

    /// The objective that these settings describe.
    pub fn objective(&self) -> Pix2Pix {
        let generator = UNet {
            recipe: self.recipe,
            skips: self.generator,
            input_channels: self.in_channels,
            output_channels: self.out_channels,
            width: self.ngf,
            depth: self.depth,
            norm: self.norm,
            block_order: self.block_order,
            last_layer: self.last_layer,
            dropout: self.dropout,
            dropout_at: self.dropout_at,
        };
        let conditions = if self.conditional { generator.input_channels } else { 0 };
        Pix2Pix {
            generator,
            discriminator: PatchGan {
                receptive_field: self.receptive_field,
                input_channels: generator.output_channels + conditions,
                width: self.ndf,
                norm: self.norm,
                sigmoid: self.gan_loss == GanLoss::Bce,
            },
            conditional: self.conditional,
            batch: self.batch,
            accumulate: self.accumulate,
            height: self.image_size.height,
            width: self.image_size.width,
            gan_loss: self.gan_loss,
            lambda_gan: self.lambda_gan,
            pixel_loss: self.pixel_loss,
            lambda_pixel: self.lambda_pixel,
            step_order: self.step_order,
            halve_d: self.halve_d,
            // The second moment's decay and the epsilon of the division are those of every recipe.
            adam: AdamOptions { beta1: self.beta1, ..Pix2Pix::published(self.recipe).adam },
        }
    }
}

/// Settings that some version of this program has written as TOML.
///
/// # Errors
/// When a value is missing or has none of the values that are known, or naming every setting that is not known: it is
/// of a newer version, and without it the others would mean something else.
pub(crate) fn read_settings<T: DeserializeOwned>(text: &str) -> Result<T> {
    const CURE: &str = "use the pixtape that wrote them";
    let mut unknown = Vec::new();
    let read = toml::Deserializer::parse(text)
        .and_then(|settings| serde_ignored::deserialize(settings, |key| unknown.push(key.to_string())));
    let settings = read.map_err(|error| anyhow!("has settings that cannot be used: {}; {CURE}", error.message()))?;
    ensure!(unknown.is_empty(), "has settings that this pixtape does not know: {}; {CURE}", unknown.join(", "));
    Ok(settings)
}

/// A choice as it is typed behind a flag.
pub(crate) fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
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
            in_channels: Some(1),
            val_split: Some(0.1),
            resize_filter: Some(ResizeFilter::Bilinear),
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
        let cases: [(&str, Change); 22] = [
            ("--batch 0:", |o| o.batch = Some(0)),
            ("--steps 0:", |o| o.steps = Some(0)),
            ("--lr-patience 18446744073709551615:", |o| {
                (o.lr_schedule, o.lr_patience) = (Some(LrSchedule::Plateau), Some(u64::MAX));
            }),
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
            ("--in-channels 0:", |o| o.in_channels = Some(0)),
            ("--out-channels 5:", |o| o.out_channels = Some(5)),
            ("--val-split 1:", |o| (o.data, o.val_split) = (Some(".".into()), Some(1.0))),
            ("--val-split 0.5: it needs --data", |o| o.val_split = Some(0.5)),
            ("--preprocess crop: the built-in", |o| o.preprocess = Some(Preprocess::Crop)),
            ("--augment jitter: --preprocess scale-width leaves nothing to crop", |o| {
                (o.data, o.preprocess) = (Some(".".into()), Some(Preprocess::ScaleWidth));
                o.augment = Some(Augment::Jitter);
            }),
            ("--load-size 300: --preprocess crop resizes nothing", |o| {
                (o.data, o.preprocess) = (Some(".".into()), Some(Preprocess::Crop));
                o.load_size = Some(Size::square(300));
            }),
            ("--load-size 300: only --augment jitter", |o| {
                (o.data, o.preprocess) = (Some(".".into()), Some(Preprocess::None));
                o.load_size = Some(Size::square(300));
            }),
            ("--load-size 200x300: must be at least", |o| {
                (o.data, o.preprocess) = (Some(".".into()), Some(Preprocess::ScaleWidthAndCrop));
                o.load_size = Some(Size { width: 200, height: 300 });
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
