//! The settings of a run as a person gives them: flags, or the same names in a TOML file. The doc comments are the help
//! text.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::{LrSchedule, TrainConfig};
use crate::base::files;
use crate::data::{Augment, Direction, Preprocess, ResizeFilter, Size};
use crate::engine::device::DeviceChoice;
use crate::gan::{
    BlockOrder, DropoutAt, GanLoss, InitKind, LastLayer, Norm, PixelLoss, ReceptiveField, Recipe, Skips, StepOrder,
};
use crate::metrics::Metric;

/// The number format of activations and gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats throughout.
    F32,
}

/// What was asked for. A field that nobody set is `None` and takes its default later.
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[command(allow_negative_numbers = true)]
pub struct TrainOptions {
    /// Folder of training pairs of images, A and B; how they lie in it is found by looking
    ///
    /// Either files with A in the left half and B in the right half, or folders A/ and B/ with files of the same names,
    /// or pairs of files such as house.jpg (A) and house.png (B). With train/, val/ and test/ in it (or A/train/,
    /// trainA/, ...) train/ is learned from and val/ (else test/) held out; a flat folder is all training data, but for
    /// --val-split. `pixtape data check DIR` tells what is found. Left out: built-in synthetic facades, drawn as they
    /// are needed.
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    pub data: Option<PathBuf>,

    /// Which side is the input and which the target [default: a-to-b]
    #[arg(long, help_heading = "Data")]
    pub direction: Option<Direction>,

    /// Channels of the input: 1 grey, 2 grey with alpha, 3 RGB, 4 RGB with alpha [default: 3]
    ///
    /// Of whichever side the direction makes the input. Files of other kinds are converted: colours to grey by the
    /// weights of ITU-R BT.601, no alpha to opaque.
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub in_channels: Option<usize>,

    /// Channels of the target, and so of what the generator makes; as --in-channels [default: 3]
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub out_channels: Option<usize>,

    /// Share of the training pairs to hold out where there is no val/ and no test/, from 0 to below 1 [default: 0]
    ///
    /// Which pairs is drawn with the seed. They are never trained on.
    #[arg(long, value_name = "SHARE", help_heading = "Data")]
    pub val_split: Option<f64>,

    /// Size of the images the networks see, N or WIDTHxHEIGHT in pixels [default: 256 with --data, 128 without]
    ///
    /// Files of other sizes come to it by --preprocess. The U-Net halves both sides --depth times, so both
    /// must be multiples of that power of two: 64, 128, 256, 512 and 512x256 work, 200 does not unless the depth is 2
    /// or 3. The smallest side is 32.
    #[arg(long, value_name = "SIZE", help_heading = "Data")]
    pub image_size: Option<Size>,

    /// How files come to the image size [default: resize-and-crop]
    ///
    /// resize-and-crop: resized to the load size, whatever the proportions, and cropped. crop: cropped as they are.
    /// scale-width: scaled to the width; the height has to fit then. scale-width-and-crop: scaled to the load width,
    /// and cropped. none: they have the image size already. Held-out pairs are cropped in the middle, and by
    /// resize-and-crop resized right to the image size.
    #[arg(long, help_heading = "Data")]
    pub preprocess: Option<Preprocess>,

    /// Size to resize to before cropping to the image size; for --augment jitter only [default: 286/256 of the image
    /// size]
    ///
    /// Of a scaled width only the width counts.
    #[arg(long, value_name = "SIZE", help_heading = "Data")]
    pub load_size: Option<Size>,

    /// How resizing weighs samples; both filters widen where they reduce [default: bicubic, bilinear, bicubic]
    #[arg(long, help_heading = "Data")]
    pub resize_filter: Option<ResizeFilter>,

    /// Random changes made to a pair, both sides alike [default: flip, jitter, jitter]
    ///
    /// none: crops are made in the middle. flip: the same, and mirrored left to right half of the time. jitter: cropped
    /// at a random place, out of a larger load size where there is one, and mirrored half of the time. --preprocess
    /// crop and scale-width-and-crop make it jitter, scale-width and none, which crop nothing, flip.
    #[arg(long, help_heading = "Data")]
    pub augment: Option<Augment>,

    /// Draw a new order of the pairs for every epoch; false: file-name order [default: true]
    #[arg(long, value_name = "true|false", help_heading = "Data")]
    pub shuffle: Option<bool>,

    /// The published system to reproduce: the defaults of most flags below [default: pytorch-gan]
    ///
    /// `pixtape inspect RECIPE` shows what it is made of. The defaults that differ from one recipe to another are given
    /// in the order pytorch-gan, block-ck, isola.
    #[arg(long, help_heading = "Recipe")]
    pub recipe: Option<Recipe>,

    /// Passes over the training pairs [default: 200 with --data, 15 without; no limit when --steps is given alone]
    ///
    /// An epoch is floor(pairs / (batch x accumulate)) steps; the built-in facades count 400 pairs an epoch.
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    pub epochs: Option<u64>,

    /// Optimiser steps in all, those before a resume included [default: no limit but --epochs]
    ///
    /// With both --steps and --epochs the one reached first ends the run. Either one given replaces both of a settings
    /// file, or of a run that is resumed.
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    pub steps: Option<u64>,

    /// Pairs that are computed at once [default: 1]
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    pub batch: Option<usize>,

    /// Batches whose gradients are added up for one optimiser step [default: 1]
    ///
    /// --batch 2 --accumulate 4 learns what --batch 8 learns, with the activations of 2 pairs in memory instead of 8.
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    pub accumulate: Option<usize>,

    /// Which network is updated first, and on what [default: generator-first, discriminator-first-fresh,
    /// discriminator-first]
    #[arg(long, value_name = "ORDER", help_heading = "Recipe")]
    pub step_order: Option<StepOrder>,

    /// Adam's decay of the gradient mean, from 0 to below 1 [default: 0.5]
    ///
    /// Lower than the usual 0.9 because the two networks pull at each other: an old gradient is soon a wrong one.
    #[arg(long, value_name = "DECAY", help_heading = "Recipe")]
    pub beta1: Option<f64>,

    /// Distribution of the initial weights [default: normal]
    #[arg(long, help_heading = "Recipe")]
    pub init: Option<InitKind>,

    /// Scale of the initial weights, and deviation of the gains of a norm around 1 [default: 0.02]
    #[arg(long, value_name = "GAIN", help_heading = "Recipe")]
    pub init_gain: Option<f64>,

    /// Start from the weights in this safetensors file instead of random ones.
    ///
    /// Tensors have PyTorch's names and layouts, under "generator." and "discriminator.", as in a checkpoint of another
    /// run, or bare, as `export --safetensors` writes one network. A network of which the file has nothing starts from
    /// random weights: so does the discriminator beside an imported generator.
    #[arg(long, value_name = "FILE", help_heading = "Recipe")]
    pub start_from: Option<PathBuf>,

    /// With or without skip connections from the way down to the way up [default: unet]
    #[arg(long, value_name = "KIND", help_heading = "Generator")]
    pub generator: Option<Skips>,

    /// Channels of the generator's first layer; deeper layers have up to 8 times as many [default: 64 with --data, 16
    /// without]
    #[arg(long, value_name = "N", help_heading = "Generator")]
    pub ngf: Option<usize>,

    /// Times that the generator halves the image, at least 2 [default: floor(log2(shorter side)), at most 8]
    #[arg(long, value_name = "N", help_heading = "Generator")]
    pub depth: Option<usize>,

    /// Normalisation, in both networks [default: instance]
    #[arg(long, help_heading = "Generator")]
    pub norm: Option<Norm>,

    /// Where in a block the activation stands [default: conv-norm-act-dropout, conv-norm-dropout-act,
    /// act-conv-norm-dropout]
    #[arg(long, value_name = "ORDER", help_heading = "Generator")]
    pub block_order: Option<BlockOrder>,

    /// How the generator comes back to the full size [default: resize, transposed, transposed]
    #[arg(long, value_name = "KIND", help_heading = "Generator")]
    pub last_layer: Option<LastLayer>,

    /// Share of the generator's inner activations set to zero, from 0 to below 1; its only noise [default: 0.5]
    #[arg(long, value_name = "P", help_heading = "Generator")]
    pub dropout: Option<f64>,

    /// Which levels of the generator drop out [default: both-ways, up, up-after-innermost]
    #[arg(long, value_name = "LEVELS", help_heading = "Generator")]
    pub dropout_at: Option<DropoutAt>,

    /// Side of the patches that the discriminator judges, in pixels, or map70 [default: 94, map70, 70]
    #[arg(long, value_name = "PIXELS", help_heading = "Discriminator")]
    pub receptive_field: Option<ReceptiveField>,

    /// Show the discriminator the input beside the picture it judges; false: the picture alone [default: true]
    #[arg(long, value_name = "true|false", help_heading = "Discriminator")]
    pub conditional: Option<bool>,

    /// Channels of the discriminator's first layer; deeper layers have up to 8 times as many [default: 64 with --data,
    /// 16 without]
    #[arg(long, value_name = "N", help_heading = "Discriminator")]
    pub ndf: Option<usize>,

    /// Halve the sum of the discriminator's losses on real and fake pictures [default: true]
    ///
    /// The paper does so to slow the discriminator down. Under Adam, which is blind to a constant factor, it changes
    /// little but the number that is shown.
    #[arg(long, value_name = "true|false", help_heading = "Discriminator")]
    pub halve_d: Option<bool>,

    /// What the discriminator's judgements are compared with ones and zeros by [default: lsgan, bce, bce-logits]
    #[arg(long, value_name = "LOSS", help_heading = "Losses")]
    pub gan_loss: Option<GanLoss>,

    /// Weight of the GAN loss in the generator's [default: 1]
    #[arg(long, value_name = "WEIGHT", help_heading = "Losses")]
    pub lambda_gan: Option<f64>,

    /// What the generator's picture is compared with the target by [default: l1]
    #[arg(long, value_name = "LOSS", help_heading = "Losses")]
    pub pixel_loss: Option<PixelLoss>,

    /// Weight of the pixel loss in the generator's [default: 100]
    #[arg(long, value_name = "WEIGHT", help_heading = "Losses")]
    pub lambda_pixel: Option<f64>,

    /// Learning rate of Adam, for both networks, before any schedule [default: 0.0002]
    #[arg(long, value_name = "RATE", help_heading = "Learning rate")]
    pub lr: Option<f64>,

    /// How the learning rate changes with the epoch e, which counts from 1 [default: constant, constant, linear]
    ///
    /// constant: lr.
    ///
    /// linear: lr x (1 - max(0, e - C) / (D + 1)), C being --lr-constant-epochs and D --lr-decay-epochs.
    ///
    /// cosine: lr x (1 + cos(pi x (e - 1) / D)) / 2.
    ///
    /// step: lr x F^floor((e - 1) / S), F being --lr-factor and S --lr-step-epochs.
    ///
    /// plateau: lr x F^k, k being how often more than --lr-patience validations in a row had not brought the held-out
    /// L1 below 0.99 of its best.
    ///
    /// After the last epoch of a decay the rate stays what it was in it.
    #[arg(long, value_name = "SCHEDULE", help_heading = "Learning rate")]
    pub lr_schedule: Option<LrSchedule>,

    /// linear: epochs at the full rate [default: half of --epochs; 100 without --epochs]
    #[arg(long, value_name = "C", help_heading = "Learning rate")]
    pub lr_constant_epochs: Option<u64>,

    /// linear, cosine: epochs of decay [default: linear: the other half of --epochs, or 100; cosine: --epochs, or 200]
    #[arg(long, value_name = "D", help_heading = "Learning rate")]
    pub lr_decay_epochs: Option<u64>,

    /// step: epochs from one fall of the rate to the next [default: 50]
    #[arg(long, value_name = "S", help_heading = "Learning rate")]
    pub lr_step_epochs: Option<u64>,

    /// step, plateau: what the rate is multiplied by, above 0 and below 1 [default: step: 0.1; plateau: 0.2]
    #[arg(long, value_name = "F", help_heading = "Learning rate")]
    pub lr_factor: Option<f64>,

    /// plateau: validations without progress that are put up with [default: 5]
    #[arg(long, value_name = "N", help_heading = "Learning rate")]
    pub lr_patience: Option<u64>,

    /// Seed of everything random: weights, order, augmentation, dropout, built-in facades [default: 1]
    ///
    /// The same seed and number of threads give the same bits.
    #[arg(long, value_name = "N", help_heading = "Run")]
    // TOML has no larger numbers.
    #[arg(value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,

    /// Threads for the arithmetic on the CPU [default: all of this machine's]
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub threads: Option<usize>,

    /// Where to compute: auto, cpu, cuda, or cuda:N for the GPU with number N [default: auto]
    ///
    /// auto: the first GPU that can be used, else the CPU; the first line of a run says which, and why. `pixtape
    /// devices` lists what this machine has.
    #[arg(long, value_name = "DEVICE", help_heading = "Run")]
    pub device: Option<DeviceChoice>,

    /// Replay each training step as one CUDA graph; false: launch its kernels one by one [default: true]
    ///
    /// The numbers are the same. One by one is slower, and for profilers and debuggers that look at single kernels.
    #[arg(long, value_name = "true|false", help_heading = "Run")]
    pub cuda_graph: Option<bool>,

    /// Number format of activations and gradients [default: f32]
    #[arg(long, help_heading = "Run")]
    pub precision: Option<Precision>,

    /// Run folder, made if it is missing [default: the next free runs/NAME-N, NAME being the data folder's]
    ///
    /// A folder that is there must be empty, or hold a run that ended before its first checkpoint, which starts over.
    ///
    /// Gets report.html (all of it on one page), config.toml (every setting), losses.csv (a row a step), metrics.csv (a
    /// row a validation), samples/ (input, output and target in rows), checkpoints/ and tensorboard/.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,

    /// Steps between two sample pictures; one more at the end [default: 400]
    #[arg(long, value_name = "STEPS", help_heading = "Output")]
    pub sample_every: Option<u64>,

    /// Steps between two checkpoints; one more at the end [default: 400]
    ///
    /// And one at the end of an epoch if five minutes have passed since the last.
    #[arg(long, value_name = "STEPS", help_heading = "Output")]
    pub save_every: Option<u64>,

    /// Newest checkpoints to keep; one of the full recipe takes 686 MB [default: 2]
    #[arg(long, value_name = "N", help_heading = "Output")]
    pub keep: Option<usize>,

    /// Epochs between two validations, at their end: L1, PSNR and SSIM of the held-out pairs, into metrics.csv
    /// [default: 1]
    ///
    /// Held-out pairs are those in val/, else in test/, else the share that --val-split holds out; 40 of the built-in
    /// facades.
    #[arg(long, value_name = "EPOCHS", help_heading = "Output")]
    pub validate_every: Option<u64>,

    /// The metric by which checkpoints/best.safetensors is chosen, beside the --keep newest ones [default: l1]
    #[arg(long, value_name = "METRIC", help_heading = "Output")]
    pub best_by: Option<Metric>,
}

impl TrainOptions {
    /// Reads a settings file: TOML, the keys being the flags without their dashes.
    pub fn from_file(path: &Path) -> Result<TrainOptions> {
        let text =
            files::read_text(path).with_context(|| format!("cannot read the settings file {}", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(before).filter(|byte| *byte == b'\n').count();
            // Every setting of a run is there, and more.
            let newer = match toml::from_str::<TrainConfig>(&text) {
                Ok(_) => {
                    "; it has the settings of a run of a newer pixtape: use that one, or remove those it does not share"
                }
                Err(_) => "",
            };
            anyhow!("{}, line {line}: {}{newer}", path.display(), error.message())
        })
    }

    /// Lays these options over `under`: a field set here wins.
    ///
    /// `steps` and `epochs` are one setting, the end of the run: setting either here drops both of `under`.
    pub fn over(self, under: TrainOptions) -> Result<TrainOptions> {
        Ok(lay_over(under.to_table()?, self.to_table()?).try_into()?)
    }

    /// The fields that are set, by their TOML names.
    pub(super) fn to_table(&self) -> Result<Table> {
        Table::try_from(self).context("a setting cannot be written as TOML")
    }

    /// The same options with `data` and `start_from` as absolute paths, so that a run can be resumed from another
    /// folder.
    pub(super) fn with_absolute_inputs(mut self) -> Result<TrainOptions> {
        for (flag, path) in [("data", &mut self.data), ("start-from", &mut self.start_from)] {
            if let Some(path) = path {
                *path = path.canonicalize().with_context(|| format!("--{flag}: cannot open {}", path.display()))?;
            }
        }
        Ok(self)
    }
}

/// `under` with the keys of `upper` laid over it. An end of the run in `upper` replaces the whole end of the run in
/// `under`.
pub(super) fn lay_over(mut under: Table, upper: Table) -> Table {
    const END: [&str; 2] = ["epochs", "steps"];
    if END.iter().any(|key| upper.contains_key(*key)) {
        under.retain(|key, _| !END.contains(&key));
    }
    under.extend(upper);
    under
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_command_line_lies_over_the_file() {
        let file = TrainOptions { batch: Some(4), lr: Some(1e-3), epochs: Some(7), ..Default::default() };
        let line = TrainOptions { batch: Some(2), steps: Some(9), ..Default::default() };
        let both = line.over(file).unwrap();
        let expected =
            TrainOptions { batch: Some(2), lr: Some(1e-3), steps: Some(9), epochs: None, ..Default::default() };
        assert_eq!(both, expected);
    }

    #[test]
    fn a_mistake_in_a_settings_file_is_one_line_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        for (text, line, word) in [
            ("batch = 1\nlearning-rate = 1\n", "line 2", "learning-rate"),
            ("batch = 1\n\naugment = \"sideways\"\n", "line 3", "sideways"),
            ("batch = -1\n", "line 1", "-1"),
            ("batch = \n", "line 1", "value"),
            ("image-size = \"wide\"", "line 1", ""),
        ] {
            fs::write(&path, text).unwrap();
            let error = format!("{:#}", TrainOptions::from_file(&path).unwrap_err());
            assert!(error.contains(line) && error.contains(word) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn file_keys_are_the_flags() {
        let keys = "image-size = 64\nload-size = \"72x80\"\nlambda-pixel = 10\nshuffle = false\n";
        let options: TrainOptions = toml::from_str(keys).unwrap();
        assert_eq!(options.image_size, Some(Size { width: 64, height: 64 }));
        assert_eq!(options.load_size, Some(Size { width: 72, height: 80 }));
        assert_eq!((options.lambda_pixel, options.shuffle), (Some(10.0), Some(false)));
    }
}
