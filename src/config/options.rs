//! The options of `train`, each declared once: name, help, default, and the values that make sense.
//!
//! Their order is that of the help and of the settings file. Published choices come from
//! [`Pix2Pix::published`](crate::gan::Pix2Pix::published).

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::available_threads;
use super::checks::{LARGEST, above_zero, between, count, decay_factor, fraction, positive, weight};
use super::declare::{Present, flag, is_changeable, options, resolved, setting};
use super::lr_schedule::LrSchedule;
use super::run_name::next_free;
use super::size_rules::{default_depth, jitter_load};
use crate::data::{Augment, Direction, Preprocess, ResizeFilter, Size};
use crate::engine::device::DeviceChoice;
use crate::gan::{
    BlockOrder, DropoutAt, GanLoss, GeneratorKind, InitKind, LastLayer, Norm, PUBLISHED_SIDE, Pix2Pix, PixelLoss,
    Precision, ReceptiveField, Recipe, StepOrder,
};
use crate::metrics::Metric;

const DEFAULT_RECIPE: Recipe = Recipe::PytorchGan;

/// Epochs of a published training; schedules reckon with them where no number of epochs is given.
const FULL_EPOCHS: u64 = 200;

fn without_discriminator(config: &TrainConfig) -> Option<&'static str> {
    (config.gan_loss == GanLoss::None).then_some("--gan-loss none has no discriminator")
}

/// The number of discriminators in a run of a version without the option.
fn one_scale() -> usize {
    1
}

/// The weight of the feature-matching loss in a run of a version without the option.
fn no_weight() -> f64 {
    0.0
}

fn drops_nothing(config: &TrainConfig) -> bool {
    config.dropout == 0.0 || !config.objective().generator.has_dropout()
}

options! {
    given, published;

    "Data" {
        /// Folder of training pairs of images, A and B; the layout of the folder is detected
        ///
        /// Either files with A in the left half and B in the right half, or folders A/ and B/ with files of the same
        /// names, or pairs of files such as house.jpg (A) and house.png (B). With train/, val/ and test/ in it (or
        /// A/train/, trainA/, ...) train/ is learned from and val/ (else test/) held out; a flat folder is all training
        /// data, but for --val-split. `pixtape data check DIR` tells what is found. Left out: built-in synthetic
        /// facades, drawn as they are needed.
        #[arg(value_name = "DIR")]
        data: PathBuf => None, resume may_change;

        /// The side of a pair that is the input; the other one is the target
        direction: Direction = Direction::AToB;

        /// Channels of the input: 1 grey, 2 grey with alpha, 3 RGB, 4 RGB with alpha
        ///
        /// Of whichever side the direction makes the input. Files of other kinds are converted: colours to grey by the
        /// weights of ITU-R BT.601, no alpha to opaque.
        #[arg(value_name = "N")]
        in_channels: usize = published.generator.in_channels, check between(1, 4);

        /// Channels of the target, and so of what the generator makes; as --in-channels
        #[arg(value_name = "N")]
        out_channels: usize = published.generator.out_channels, check between(1, 4);

        /// Share of the training pairs to hold out where there is no val/ and no test/, from 0 to below 1
        ///
        /// They are drawn with the seed, and never trained on.
        #[arg(value_name = "SHARE")]
        val_split: f64 = 0.0, check fraction;

        /// Size of the images the networks see, N or WIDTHxHEIGHT in pixels
        ///
        /// Files of other sizes come to it by --preprocess. The U-Net halves both sides --depth times, so both must be
        /// multiples of that power of two: 64, 128, 256, 512 and 512x256 work, 200 does not unless the depth is 2 or 3.
        /// The smallest side is 32.
        #[arg(value_name = "SIZE")]
        image_size: Size = Size::square(if given.data.is_some() { PUBLISHED_SIDE } else { 128 });

        /// Preprocessing that brings files to the image size
        ///
        /// resize-and-crop: resized to the load size, whatever the proportions, and cropped. crop: cropped as they are.
        /// scale-width: scaled to the width; the height has to fit then. scale-width-and-crop: scaled to the load
        /// width, and cropped. none: they have the image size already. Held-out pairs are cropped in the middle, and by
        /// resize-and-crop resized right to the image size.
        preprocess: Preprocess = Preprocess::ResizeAndCrop;

        /// Filter of resizing; both are antialiased where they reduce
        resize_filter: ResizeFilter = match published.generator.recipe {
            Recipe::PytorchGan | Recipe::Isola => ResizeFilter::Bicubic,
            Recipe::BlockCk => ResizeFilter::Bilinear,
        }, unused |config| (config.data.is_none() || !config.preprocess.resizes())
            .then_some("nothing is resized with --preprocess crop or none, nor without --data");

        /// Random changes made to a pair, both sides alike
        ///
        /// none: crops are made in the middle. flip: the same, and mirrored left to right half of the time. jitter:
        /// cropped at a random offset, out of a larger load size where there is one, and mirrored half of the time.
        /// --preprocess crop and scale-width-and-crop make it jitter, scale-width and none, which crop nothing, flip.
        augment: Augment = match (preprocess, published.generator.recipe) {
            (Preprocess::ResizeAndCrop, Recipe::PytorchGan) => Augment::Flip,
            (Preprocess::ResizeAndCrop, Recipe::BlockCk | Recipe::Isola) => Augment::Jitter,
            (Preprocess::Crop | Preprocess::ScaleWidthAndCrop, _) => Augment::Jitter,
            (Preprocess::ScaleWidth | Preprocess::None, _) => Augment::Flip,
        };

        /// Size to resize to before cropping to the image size; for --augment jitter only [default: 286/256 of the
        /// image size]
        ///
        /// Of a scaled width only the width counts.
        #[arg(value_name = "SIZE")]
        load_size: Size = match (augment, preprocess) {
            (Augment::Jitter, Preprocess::ResizeAndCrop | Preprocess::ScaleWidthAndCrop) => jitter_load(image_size),
            _ => image_size,
        };

        /// Draw a new order of the pairs for every epoch; false: file-name order
        #[arg(value_name = "true|false")]
        shuffle: bool = true;
    }

    "Recipe" {
        /// The published system to reproduce: the defaults of most flags below
        ///
        /// `pixtape inspect RECIPE` shows what it is made of. The defaults that differ from one recipe to another are
        /// given in the order pytorch-gan, block-ck, isola.
        recipe: Recipe = DEFAULT_RECIPE;

        /// Passes over the training pairs [default: 200 with --data, 15 without; no limit when --steps is given alone]
        ///
        /// An epoch is floor(pairs / (batch x accumulate)) steps; the built-in facades count 400 pairs an epoch.
        #[arg(value_name = "N")]
        epochs: u64 => given.steps.is_none().then_some(if given.data.is_some() { FULL_EPOCHS } else { 15 }),
            check positive, resume may_change;

        /// Optimiser steps in all, those before a resume included [default: no limit but --epochs]
        ///
        /// With both --steps and --epochs the one reached first ends the run. Either one given replaces both of a
        /// settings file, or of a run that is resumed.
        #[arg(value_name = "N")]
        steps: u64 => None, check positive, resume may_change;

        /// Batch size: pairs in one forward and backward pass
        #[arg(value_name = "N")]
        batch: usize = published.batch, check between(1, 4096);

        /// Batches whose gradients are added up for one optimiser step
        ///
        /// --batch 2 --accumulate 4 learns what --batch 8 learns, with the activations of 2 pairs in memory, not 8.
        #[arg(value_name = "N")]
        accumulate: usize = published.accumulate, check between(1, 256);

        /// Order of the two networks' updates in a step
        #[arg(value_name = "ORDER")]
        step_order: StepOrder = published.step_order, unused without_discriminator;

        /// Adam's decay of the gradient mean, from 0 to below 1
        ///
        /// Lower than the usual 0.9 because the two networks pull at each other: an old gradient is soon a wrong one.
        #[arg(value_name = "DECAY")]
        beta1: f64 = published.adam.beta1, check fraction;

        /// Distribution of the initial weights
        init: InitKind = InitKind::Normal;

        /// Scale of the initial weights, and deviation of the gains of a norm around 1
        #[arg(value_name = "GAIN")]
        init_gain: f64 = 0.02, check above_zero,
            unused |config| (config.init == InitKind::Kaiming && !config.norm.is_affine())
            .then_some("--init kaiming has a scale of its own, and no norm here has a gain");

        /// Start from the weights in this safetensors file instead of random ones.
        ///
        /// Tensors have PyTorch's names and layouts, under "generator." and "discriminator.", as in a checkpoint of
        /// another run, or bare, as `export --safetensors` writes one network. A network of which the file has nothing
        /// starts from random weights: so does the discriminator beside an imported generator.
        #[arg(value_name = "FILE")]
        start_from: PathBuf => None;
    }

    "Generator" {
        /// With or without skip connections from the way down to the way up
        #[arg(value_name = "KIND")]
        generator: GeneratorKind = published.generator.kind;

        /// Channels of the generator's first layer; deeper layers have up to 8 times as many
        #[arg(value_name = "N")]
        ngf: usize = if given.data.is_some() { published.generator.ngf } else { 16 }, check between(1, 1024);

        /// Times that the generator halves the image, at least 2 [default: floor(log2(shorter side)), at most 8]
        #[arg(value_name = "N")]
        depth: usize = default_depth(image_size), check between(2, 12);

        /// Normalisation, in both networks
        norm: Norm = published.generator.norm;

        /// Order of convolution, norm, activation and dropout in a block of the generator
        #[arg(value_name = "ORDER")]
        block_order: BlockOrder = published.generator.block_order;

        /// Last layer of the generator, which comes back to the full size
        #[arg(value_name = "KIND")]
        last_layer: LastLayer = published.generator.last_layer;

        /// Share of the generator's inner activations set to zero, from 0 to below 1; its only noise
        #[arg(value_name = "P")]
        dropout: f64 = published.generator.dropout, check fraction,
            unused |config| {
                (config.dropout != 0.0 && drops_nothing(config)).then_some("no level of this depth drops out")
            };

        /// Levels of the generator that drop out
        #[arg(value_name = "LEVELS")]
        dropout_at: DropoutAt = published.generator.dropout_at,
            unused |config| drops_nothing(config).then_some("no level drops out with --dropout 0 or this depth");
    }

    "Discriminator" {
        /// Side of the patches that the discriminator classifies, in pixels, or map70
        #[arg(value_name = "PIXELS")]
        receptive_field: ReceptiveField = published.discriminator.receptive_field, unused without_discriminator;

        /// Give the discriminator the input beside the picture; false: the picture alone
        #[arg(value_name = "true|false")]
        conditional: bool = published.conditional, unused without_discriminator;

        /// Discriminators, from 1 to 3: each further one sees pictures of half the size, as in pix2pixHD
        ///
        /// Each has weights of its own; their losses are added up. Pictures are halved by averages over 3x3 pixels. In
        /// a checkpoint they are called discriminator, discriminator2 and discriminator3.
        #[arg(value_name = "N")]
        #[before("one_scale")]
        scales: usize = published.scales, check between(1, 3), unused without_discriminator;

        /// Channels of the discriminator's first layer; deeper layers have up to 8 times as many
        #[arg(value_name = "N")]
        ndf: usize = if given.data.is_some() { published.discriminator.ndf } else { 16 },
            check between(1, 1024), unused without_discriminator;

        /// Halve the sum of the discriminator's losses on real and fake pictures
        ///
        /// The paper does so to slow the discriminator down. Under Adam, which is blind to a constant factor, it
        /// changes little but the number that is shown.
        #[arg(value_name = "true|false")]
        halve_d: bool = published.halve_d, unused without_discriminator;
    }

    "Losses" {
        /// GAN loss, which compares the discriminator's output with ones and zeros
        #[arg(value_name = "LOSS")]
        gan_loss: GanLoss = published.gan_loss;

        /// Weight of the GAN loss in the generator's total
        #[arg(value_name = "WEIGHT")]
        lambda_gan: f64 = published.lambda_gan, check weight,
            unused |config| (config.gan_loss == GanLoss::None).then_some("--gan-loss none has nothing to weigh");

        /// Pixel loss, which compares the generator's picture with the target
        #[arg(value_name = "LOSS")]
        pixel_loss: PixelLoss = published.pixel_loss;

        /// Weight of the pixel loss in the generator's total
        #[arg(value_name = "WEIGHT")]
        lambda_pixel: f64 = published.lambda_pixel, check weight,
            unused |config| (config.pixel_loss == PixelLoss::None).then_some("--pixel-loss none has nothing to weigh");

        /// Weight of the feature-matching loss in the generator's total, 10 in pix2pixHD; 0: none
        ///
        /// The L1 distance between the outputs of the discriminators' inner layers on generated and on real pictures:
        /// for each scale 4 times the mean over the layers, then the mean over the scales.
        #[arg(value_name = "WEIGHT")]
        #[before("no_weight")]
        lambda_feature: f64 = published.lambda_feature, check weight, unused without_discriminator;
    }

    "Learning rate" {
        /// Learning rate of Adam, for both networks, before any schedule
        #[arg(value_name = "RATE")]
        lr: f64 = 2e-4, check above_zero;

        /// Schedule of the learning rate over the epochs e, which count from 1
        ///
        /// constant: lr.
        ///
        /// linear: lr x (1 - max(0, e - C) / (D + 1)), C being --lr-constant-epochs and D --lr-decay-epochs.
        ///
        /// cosine: lr x (1 + cos(pi x (e - 1) / D)) / 2.
        ///
        /// step: lr x F^floor((e - 1) / S), F being --lr-factor and S --lr-step-epochs.
        ///
        /// plateau: lr x F^k, k being how often more than --lr-patience validations in a row had not brought the
        /// held-out L1 below 0.99 of its best.
        ///
        /// After the last epoch of a decay the rate stays what it was in it.
        #[arg(value_name = "SCHEDULE")]
        lr_schedule: LrSchedule = match published.generator.recipe {
            Recipe::PytorchGan | Recipe::BlockCk => LrSchedule::Constant,
            Recipe::Isola => LrSchedule::Linear,
        };

        /// linear: epochs at the full rate [default: half of --epochs; 100 without --epochs]
        #[arg(value_name = "C")]
        lr_constant_epochs: u64 => lr_schedule.default_constant_epochs(epochs.unwrap_or(FULL_EPOCHS)), check count;

        /// linear, cosine: epochs of decay [default: linear: the other half of --epochs, or 100; cosine: --epochs, or
        /// 200]
        #[arg(value_name = "D")]
        lr_decay_epochs: u64 => lr_schedule.default_decay_epochs(epochs.unwrap_or(FULL_EPOCHS)), check positive;

        /// step: epochs from one fall of the rate to the next [default: 50]
        #[arg(value_name = "S")]
        lr_step_epochs: u64 => (lr_schedule == LrSchedule::Step).then_some(50), check positive;

        /// step, plateau: what the rate is multiplied by, above 0 and below 1 [default: step: 0.1; plateau: 0.2]
        #[arg(value_name = "F")]
        lr_factor: f64 => match lr_schedule {
            LrSchedule::Step => Some(0.1),
            LrSchedule::Plateau => Some(0.2),
            LrSchedule::Constant | LrSchedule::Linear | LrSchedule::Cosine => None,
        }, check decay_factor;

        /// plateau: validations in a row without progress that leave the rate as it is [default: 5]
        #[arg(value_name = "N")]
        lr_patience: u64 => (lr_schedule == LrSchedule::Plateau).then_some(5), check count;
    }

    "Run" {
        /// Seed of everything random: weights, order, augmentation, dropout, built-in facades
        ///
        /// The same seed gives the same bits, with any number of threads.
        // TOML has no larger numbers.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
        seed: u64 = 1;

        /// Threads for the arithmetic on the CPU [default: all of this machine's]
        #[arg(value_name = "N")]
        threads: usize = available_threads(), check between(1, 1024), resume may_change;

        /// Device to compute on: auto, cpu, cuda, or cuda:N for the GPU with number N
        ///
        /// auto: the first GPU that can be used, else the CPU; the first line of a run says which, and why. `pixtape
        /// devices` lists what this machine has.
        #[arg(value_name = "DEVICE")]
        device: DeviceChoice = DeviceChoice::Auto, resume may_change;

        /// Replay each training step as one CUDA graph; false: launch its kernels one by one
        ///
        /// The numbers are the same. One by one is slower, and for profilers and debuggers that look at single kernels.
        #[arg(value_name = "true|false")]
        cuda_graph: bool = true, resume may_change;

        /// Number format of activations, gradients and the operands of convolutions; bf16 on the CPU alone
        ///
        /// Sums, statistics, losses, weights and Adam's moments are f32 in any case, and so are checkpoints: a run may
        /// change its precision when it is resumed. bf16 has 8 of f32's 24 bits, and takes half of the memory for
        /// activations.
        #[arg(value_name = "FORMAT")]
        precision: Precision = Precision::F32, resume may_change;
    }

    "Output" {
        /// Run folder, made if it is missing [default: the next free runs/NAME-N, NAME being the data folder's]
        ///
        /// A folder that is there must be empty, or hold a run that ended before its first checkpoint, which starts
        /// over.
        ///
        /// Gets report.html (all of it on one page), config.toml (every setting), losses.csv (a row a step),
        /// metrics.csv (a row a validation), samples/ (input, output and target in rows), checkpoints/ and
        /// tensorboard/.
        #[arg(value_name = "DIR")]
        out: PathBuf = next_free(given.data.as_deref());

        /// Steps between two sample pictures; one more at the end
        #[arg(value_name = "STEPS")]
        sample_every: u64 = 400, check positive, resume may_change;

        /// Steps between two checkpoints; one more at the end
        ///
        /// And one at the end of an epoch if five minutes have passed since the last.
        #[arg(value_name = "STEPS")]
        save_every: u64 = 400, check positive, resume may_change;

        /// Newest checkpoints to keep; one of the full recipe takes 686 MB
        #[arg(value_name = "N")]
        keep: usize = 2, check between(1, LARGEST as usize), resume may_change;

        /// Epochs between two validations, at their end: L1, PSNR and SSIM of the held-out pairs, into metrics.csv
        ///
        /// Held-out pairs are those in val/, else in test/, else the share that --val-split holds out; 40 of the
        /// built-in facades.
        #[arg(value_name = "EPOCHS")]
        validate_every: u64 = 1, check positive;

        /// The metric by which checkpoints/best.safetensors is chosen, beside the --keep newest ones
        #[arg(value_name = "METRIC")]
        best_by: Metric = Metric::L1;
    }
}
