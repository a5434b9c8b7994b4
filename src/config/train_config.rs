//! Methods of the settings of a run: its settings file, its objective, and options for data and device.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use serde::de::DeserializeOwned;

use super::{LrSchedule, TrainConfig};
use crate::base::files::is_same_file;
use crate::data::{Fit, PairOptions};
use crate::engine::device::DeviceOptions;
use crate::engine::ops::adam::AdamOptions;
use crate::gan::{GanLoss, PatchGan, Pix2Pix, UNet};

impl TrainConfig {
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("the settings cannot be written as TOML")
    }

    /// Reads settings from the TOML text that [`to_toml`](TrainConfig::to_toml) has written, also in an earlier version
    /// of this program: an option that did not exist then gets the value of runs before it.
    ///
    /// # Errors
    /// When a setting is missing or has an unknown value, or is unknown itself, as those of a newer version are; the
    /// error names the unknown settings.
    pub fn from_toml(text: &str) -> Result<TrainConfig> {
        read_settings(text)
    }

    /// The number of pairs in one optimiser step: the batch size times the batches that are accumulated.
    pub fn pairs_per_step(&self) -> usize {
        self.batch * self.accumulate
    }

    /// Returns the number of the last epoch, counted from 1, in which the schedule lowers the learning rate, for a
    /// schedule that decays to nearly 0; `None` for the other schedules.
    pub fn decay_end(&self) -> Option<u64> {
        let decays = matches!(self.lr_schedule, LrSchedule::Linear | LrSchedule::Cosine);
        decays.then(|| self.lr_constant_epochs.unwrap_or(0).saturating_add(self.lr_decay_epochs.unwrap_or(1)))
    }

    /// Returns the options by which files are read as pairs of a new run: direction, channels, preprocessing and sizes,
    /// held-out fraction and seed. Doubtful layouts and shapes are refused (`accepted_before` is false).
    pub fn pair_options(&self) -> PairOptions {
        PairOptions {
            direction: self.direction,
            channels: [self.in_channels, self.out_channels],
            fit: Fit {
                preprocess: self.preprocess,
                load_size: self.load_size,
                image_size: self.image_size,
                resize_filter: self.resize_filter,
            },
            val_split: self.val_split,
            seed: self.seed,
            accepted_before: false,
        }
    }

    /// As [`pair_options`](TrainConfig::pair_options), for evaluating on the pairs of `dir`. If the run was trained on
    /// that folder, its pairs are accepted without a further check (`accepted_before`); in any other folder nothing was
    /// held out, and `val_split` is 0.
    pub fn evaluation_options(&self, dir: &Path) -> PairOptions {
        let is_trained_on = self.data.as_ref().is_some_and(|data| is_same_file(data, dir));
        let val_split = if is_trained_on { self.val_split } else { 0.0 };
        PairOptions { val_split, accepted_before: is_trained_on, ..self.pair_options() }
    }

    /// Returns the options for the device that executes the training step: `cuda_graph` is `--cuda-graph`, and the
    /// program may be rewritten for the device.
    pub fn device_options(&self) -> DeviceOptions {
        DeviceOptions { cuda_graph: self.cuda_graph, ..DeviceOptions::default() }
    }

    /// Returns the objective that these settings describe: generator, discriminators, losses and their weights, batch
    /// size, image size, order of the updates, and Adam's constants.
    pub fn objective(&self) -> Pix2Pix {
        let generator = UNet {
            recipe: self.recipe,
            kind: self.generator,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            ngf: self.ngf,
            depth: self.depth,
            norm: self.norm,
            block_order: self.block_order,
            last_layer: self.last_layer,
            dropout: self.dropout,
            dropout_at: self.dropout_at,
        };
        let conditions = if self.conditional { generator.in_channels } else { 0 };
        Pix2Pix {
            generator,
            discriminator: PatchGan {
                receptive_field: self.receptive_field,
                in_channels: generator.out_channels + conditions,
                ndf: self.ndf,
                norm: self.norm,
                sigmoid: self.gan_loss == GanLoss::Bce,
            },
            conditional: self.conditional,
            scales: self.scales,
            batch: self.batch,
            accumulate: self.accumulate,
            height: self.image_size.height,
            width: self.image_size.width,
            gan_loss: self.gan_loss,
            lambda_gan: self.lambda_gan,
            pixel_loss: self.pixel_loss,
            lambda_pixel: self.lambda_pixel,
            lambda_feature: self.lambda_feature,
            step_order: self.step_order,
            halve_d: self.halve_d,
            // The second moment's decay and the epsilon of the division are those of every recipe.
            adam: AdamOptions { beta1: self.beta1, ..Pix2Pix::published(self.recipe).adam },
            precision: self.precision,
        }
    }
}

/// Reads settings that this or another version of the program has written as TOML.
///
/// # Errors
/// When a setting is missing or has an unknown value, or is unknown itself: it is then of a newer version, and without
/// it the others would mean something else. The error names all unknown settings.
pub(crate) fn read_settings<T: DeserializeOwned>(text: &str) -> Result<T> {
    const CURE: &str = "use the pixtape that wrote them";
    let mut unknown = Vec::new();
    let read = toml::Deserializer::parse(text)
        .and_then(|settings| serde_ignored::deserialize(settings, |key| unknown.push(key.to_string())));
    let settings = read.map_err(|error| anyhow!("has settings that cannot be used: {}; {CURE}", error.message()))?;
    ensure!(unknown.is_empty(), "has settings that this pixtape does not know: {}; {CURE}", unknown.join(", "));
    Ok(settings)
}

/// Returns the word for `value` on the command line, such as `a-to-b`.
pub(crate) fn value_name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainOptions;
    use crate::data::{Augment, Direction, ResizeFilter, Size};

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
}
