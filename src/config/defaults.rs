//! The values of settings that nobody gave. Every number that may be tuned stands in one of the two tables below.

use anyhow::{Result, ensure};

use super::size_rules::default_depth;
use super::{LrSchedule, Precision, TrainConfig, TrainOptions, available_threads, run_name};
use crate::data::{Augment, Direction, Preprocess, ResizeFilter, Size};
use crate::engine::device::DeviceChoice;
use crate::gan::{
    BlockOrder, DropoutAt, GanLoss, InitKind, LastLayer, Norm, PixelLoss, ReceptiveField, Recipe, Skips, StepOrder,
};
use crate::metrics::Metric;

/// What a recipe prescribes, whatever the data.
#[derive(Clone, Copy)]
struct RecipeDefaults {
    batch: usize,
    lr: f64,
    beta1: f64,
    lr_schedule: LrSchedule,
    init: InitKind,
    init_gain: f64,
    augment: Augment,
    resize_filter: ResizeFilter,
    generator: Skips,
    norm: Norm,
    block_order: BlockOrder,
    last_layer: LastLayer,
    dropout: f64,
    dropout_at: DropoutAt,
    receptive_field: ReceptiveField,
    conditional: bool,
    halve_d: bool,
    step_order: StepOrder,
    gan_loss: GanLoss,
    lambda_gan: f64,
    pixel_loss: PixelLoss,
    lambda_pixel: f64,
}

/// What depends on where the pairs come from: how large the job is.
struct JobDefaults {
    image_size: Size,
    ngf: usize,
    ndf: usize,
    epochs: u64,
    sample_every: u64,
    save_every: u64,
    keep: usize,
}

const PYTORCH_GAN: RecipeDefaults = RecipeDefaults {
    batch: 1,
    lr: 2e-4,
    beta1: 0.5,
    lr_schedule: LrSchedule::Constant,
    init: InitKind::Normal,
    init_gain: 0.02,
    augment: Augment::Flip,
    resize_filter: ResizeFilter::Bicubic,
    generator: Skips::Unet,
    norm: Norm::Instance,
    block_order: BlockOrder::ConvNormActDropout,
    last_layer: LastLayer::Resize,
    dropout: 0.5,
    dropout_at: DropoutAt::BothWays,
    receptive_field: ReceptiveField::R94,
    conditional: true,
    halve_d: true,
    step_order: StepOrder::GeneratorFirst,
    gan_loss: GanLoss::Lsgan,
    lambda_gan: 1.0,
    pixel_loss: PixelLoss::L1,
    lambda_pixel: 100.0,
};

const BLOCK_CK: RecipeDefaults = RecipeDefaults {
    augment: Augment::Jitter,
    resize_filter: ResizeFilter::Bilinear,
    block_order: BlockOrder::ConvNormDropoutAct,
    last_layer: LastLayer::Transposed,
    dropout_at: DropoutAt::Up,
    receptive_field: ReceptiveField::Map70,
    step_order: StepOrder::DiscriminatorFirstFresh,
    gan_loss: GanLoss::Bce,
    ..PYTORCH_GAN
};

const ISOLA: RecipeDefaults = RecipeDefaults {
    augment: Augment::Jitter,
    lr_schedule: LrSchedule::Linear,
    block_order: BlockOrder::ActConvNormDropout,
    last_layer: LastLayer::Transposed,
    dropout_at: DropoutAt::UpAfterInnermost,
    receptive_field: ReceptiveField::R70,
    step_order: StepOrder::DiscriminatorFirst,
    gan_loss: GanLoss::BceLogits,
    ..PYTORCH_GAN
};

/// `--data`: the published recipe at its full size.
const FULL: JobDefaults = JobDefaults {
    image_size: Size { width: 256, height: 256 },
    ngf: 64,
    ndf: 64,
    epochs: 200,
    sample_every: 400,
    save_every: 400,
    keep: 2,
};

/// The built-in facades: small enough to end in about two minutes on two cores.
const BUILT_IN: JobDefaults =
    JobDefaults { image_size: Size { width: 128, height: 128 }, ngf: 16, ndf: 16, epochs: 15, ..FULL };

/// Epochs that schedules reckon with where no number of epochs is given.
const SCHEDULED_EPOCHS: u64 = 200;

fn prescribed(recipe: Recipe) -> RecipeDefaults {
    match recipe {
        Recipe::PytorchGan => PYTORCH_GAN,
        Recipe::BlockCk => BLOCK_CK,
        Recipe::Isola => ISOLA,
    }
}

impl TrainOptions {
    /// The complete settings of a new run: these options over the defaults, checked.
    ///
    /// Fails, naming the flag and its value, if a value makes no sense or the run folder already holds a run or
    /// something else.
    pub fn resolve(self) -> Result<TrainConfig> {
        let given = self.with_absolute_inputs()?;
        let job = if given.data.is_some() { FULL } else { BUILT_IN };
        let recipe = given.recipe.unwrap_or(Recipe::PytorchGan);
        let prescribed = prescribed(recipe);

        let image_size = given.image_size.unwrap_or(job.image_size);
        let preprocess = given.preprocess.unwrap_or(Preprocess::ResizeAndCrop);
        let augment = given.augment.unwrap_or(match preprocess {
            Preprocess::ResizeAndCrop => prescribed.augment,
            Preprocess::Crop | Preprocess::ScaleWidthAndCrop => Augment::Jitter,
            Preprocess::ScaleWidth | Preprocess::None => Augment::Flip,
        });
        let load_size = given.load_size.unwrap_or(match (augment, preprocess) {
            (Augment::Jitter, Preprocess::ResizeAndCrop | Preprocess::ScaleWidthAndCrop) => jitter_size(image_size),
            _ => image_size,
        });
        // A run that was given an end by either measure needs no other.
        let epochs = given.epochs.or(if given.steps.is_none() { Some(job.epochs) } else { None });
        let lr_schedule = given.lr_schedule.unwrap_or(prescribed.lr_schedule);
        let default_of = |flag: &str, value: u64| lr_schedule.uses().contains(&flag).then_some(value);
        let scheduled = epochs.unwrap_or(SCHEDULED_EPOCHS);
        let (constant, decay) = match lr_schedule {
            // Of an odd number the first half is the longer one; one epoch at least decays.
            LrSchedule::Linear => (scheduled.div_ceil(2), (scheduled / 2).max(1)),
            _ => (0, scheduled),
        };
        let lr_factor = match lr_schedule {
            LrSchedule::Step => Some(0.1),
            LrSchedule::Plateau => Some(0.2),
            LrSchedule::Constant | LrSchedule::Linear | LrSchedule::Cosine => None,
        };
        let out = given.out.unwrap_or_else(|| run_name::next_free(given.data.as_deref()));

        let config = TrainConfig {
            data: given.data,
            direction: given.direction.unwrap_or(Direction::AToB),
            in_channels: given.in_channels.unwrap_or(3),
            out_channels: given.out_channels.unwrap_or(3),
            val_split: given.val_split.unwrap_or(0.0),
            image_size,
            preprocess,
            load_size,
            resize_filter: given.resize_filter.unwrap_or(prescribed.resize_filter),
            augment,
            shuffle: given.shuffle.unwrap_or(true),
            recipe,
            epochs,
            steps: given.steps,
            batch: given.batch.unwrap_or(prescribed.batch),
            accumulate: given.accumulate.unwrap_or(1),
            step_order: given.step_order.unwrap_or(prescribed.step_order),
            beta1: given.beta1.unwrap_or(prescribed.beta1),
            init: given.init.unwrap_or(prescribed.init),
            init_gain: given.init_gain.unwrap_or(prescribed.init_gain),
            start_from: given.start_from,
            generator: given.generator.unwrap_or(prescribed.generator),
            ngf: given.ngf.unwrap_or(job.ngf),
            depth: given.depth.unwrap_or_else(|| default_depth(image_size)),
            norm: given.norm.unwrap_or(prescribed.norm),
            block_order: given.block_order.unwrap_or(prescribed.block_order),
            last_layer: given.last_layer.unwrap_or(prescribed.last_layer),
            dropout: given.dropout.unwrap_or(prescribed.dropout),
            dropout_at: given.dropout_at.unwrap_or(prescribed.dropout_at),
            receptive_field: given.receptive_field.unwrap_or(prescribed.receptive_field),
            conditional: given.conditional.unwrap_or(prescribed.conditional),
            ndf: given.ndf.unwrap_or(job.ndf),
            halve_d: given.halve_d.unwrap_or(prescribed.halve_d),
            gan_loss: given.gan_loss.unwrap_or(prescribed.gan_loss),
            lambda_gan: given.lambda_gan.unwrap_or(prescribed.lambda_gan),
            pixel_loss: given.pixel_loss.unwrap_or(prescribed.pixel_loss),
            lambda_pixel: given.lambda_pixel.unwrap_or(prescribed.lambda_pixel),
            lr: given.lr.unwrap_or(prescribed.lr),
            lr_schedule,
            lr_constant_epochs: given.lr_constant_epochs.or(default_of("lr-constant-epochs", constant)),
            lr_decay_epochs: given.lr_decay_epochs.or(default_of("lr-decay-epochs", decay)),
            lr_step_epochs: given.lr_step_epochs.or(default_of("lr-step-epochs", 50)),
            lr_factor: given.lr_factor.or(lr_factor),
            lr_patience: given.lr_patience.or(default_of("lr-patience", 5)),
            seed: given.seed.unwrap_or(1),
            threads: given.threads.unwrap_or_else(available_threads),
            device: given.device.unwrap_or(DeviceChoice::Auto),
            cuda_graph: given.cuda_graph.unwrap_or(true),
            precision: given.precision.unwrap_or(Precision::F32),
            out,
            sample_every: given.sample_every.unwrap_or(job.sample_every),
            save_every: given.save_every.unwrap_or(job.save_every),
            keep: given.keep.unwrap_or(job.keep),
            validate_every: given.validate_every.unwrap_or(1),
            best_by: given.best_by.unwrap_or(Metric::L1),
        };
        config.validate()?;
        ensure_used(&config)?;
        Ok(config)
    }
}

/// Refuses a choice that another one leaves without effect, where it is not the recipe's own.
fn ensure_used(config: &TrainConfig) -> Result<()> {
    let recipe = prescribed(config.recipe);
    let no_gan = config.gan_loss == GanLoss::None;
    let no_pixel = config.pixel_loss == PixelLoss::None;
    let no_gain = config.init == InitKind::Kaiming && !config.norm.is_affine();
    let no_dropout = config.dropout == 0.0 || !config.objective().generator.has_dropout();
    let no_resize = config.data.is_none() || !config.preprocess.resizes();
    let discriminator = "--gan-loss none has no discriminator";
    let unused = [
        (
            "resize-filter",
            no_resize && config.resize_filter != recipe.resize_filter,
            "nothing is resized with --preprocess crop or none, nor without --data",
        ),
        ("receptive-field", no_gan && config.receptive_field != recipe.receptive_field, discriminator),
        ("conditional", no_gan && config.conditional != recipe.conditional, discriminator),
        ("halve-d", no_gan && config.halve_d != recipe.halve_d, discriminator),
        ("step-order", no_gan && config.step_order != recipe.step_order, discriminator),
        ("lambda-gan", no_gan && config.lambda_gan != recipe.lambda_gan, "--gan-loss none has nothing to weigh"),
        (
            "lambda-pixel",
            no_pixel && config.lambda_pixel != recipe.lambda_pixel,
            "--pixel-loss none has nothing to weigh",
        ),
        ("dropout", no_dropout && ![0.0, recipe.dropout].contains(&config.dropout), "no level of this depth drops out"),
        (
            "dropout-at",
            no_dropout && config.dropout_at != recipe.dropout_at,
            "no level drops out with --dropout 0 or this depth",
        ),
        (
            "init-gain",
            no_gain && config.init_gain != recipe.init_gain,
            "--init kaiming has a scale of its own, and no norm here has a gain",
        ),
    ];
    for (flag, is_unused, why) in unused {
        ensure!(!is_unused, "--{flag}: {why}, so it would do nothing; leave it out");
    }
    Ok(())
}

/// 286 for 256 as in the paper, in proportion for other sizes.
fn jitter_size(image: Size) -> Size {
    let scale = |side: usize| (side * 286 + 128) / 256;
    Size { width: scale(image.width), height: scale(image.height) }
}

#[cfg(test)]
mod tests {
    use clap::{Args, ValueEnum};

    use super::super::train_config::value_name;
    use super::*;
    use crate::gan::Pix2Pix;

    #[test]
    fn data_asks_for_the_full_recipe_and_nothing_for_the_small_one() {
        let folder = tempfile::tempdir().unwrap();
        let full = TrainOptions { data: Some(folder.path().to_path_buf()), ..Default::default() }.resolve().unwrap();
        assert_eq!((full.image_size, full.ngf, full.epochs), (Size { width: 256, height: 256 }, 64, Some(200)));
        assert_eq!(full.load_size, full.image_size);
        let small = TrainOptions::default().resolve().unwrap();
        assert_eq!((small.data, small.ngf), (None, 16));
        assert_eq!((small.lr, small.lambda_pixel), (full.lr, full.lambda_pixel));
    }

    /// What the tests hold to PyTorch is what a person gets who asks for a recipe.
    #[test]
    fn a_recipe_is_the_step_that_is_compared_with_pytorch() {
        for &recipe in Recipe::value_variants() {
            let options = TrainOptions {
                recipe: Some(recipe),
                image_size: Some(FULL.image_size),
                ngf: Some(FULL.ngf),
                ndf: Some(FULL.ndf),
                ..Default::default()
            };
            assert_eq!(options.resolve().unwrap().objective(), Pix2Pix::small(recipe, 256, 64, 0.5), "{recipe:?}");
        }
    }

    #[test]
    fn jitter_loads_larger_in_proportion() {
        let size = Size { width: 256, height: 512 };
        let options = TrainOptions { image_size: Some(size), augment: Some(Augment::Jitter), ..Default::default() };
        assert_eq!(options.resolve().unwrap().load_size, Size { width: 286, height: 572 });
        // 64 * 286 / 256 = 71.5, rounded up.
        assert_eq!(jitter_size(Size { width: 64, height: 32 }), Size { width: 72, height: 36 });
    }

    #[test]
    fn what_is_cropped_is_cropped_at_random_unless_told_otherwise() {
        let resolved = |preprocess, augment| {
            let options =
                TrainOptions { data: Some(".".into()), preprocess: Some(preprocess), augment, ..Default::default() };
            let config = options.resolve().unwrap();
            (config.augment, config.load_size)
        };
        let (image, load) = (Size::square(256), Size::square(286));
        assert_eq!(resolved(Preprocess::Crop, None), (Augment::Jitter, image));
        assert_eq!(resolved(Preprocess::ScaleWidthAndCrop, None), (Augment::Jitter, load));
        assert_eq!(resolved(Preprocess::ScaleWidthAndCrop, Some(Augment::None)), (Augment::None, image));
        assert_eq!(resolved(Preprocess::ScaleWidth, None), (Augment::Flip, image));
        assert_eq!(resolved(Preprocess::None, None), (Augment::Flip, image));
        assert_eq!(resolved(Preprocess::ResizeAndCrop, None), (Augment::Flip, image));
    }

    #[test]
    fn an_end_in_steps_is_not_cut_short_by_default_epochs() {
        let config = TrainOptions { steps: Some(1_000_000), ..Default::default() }.resolve().unwrap();
        assert_eq!((config.steps, config.epochs), (Some(1_000_000), None));
    }

    #[test]
    fn data_that_is_not_there_is_named() {
        let error = TrainOptions { data: Some("no/such/folder".into()), ..Default::default() }.resolve().unwrap_err();
        assert!(format!("{error:#}").starts_with("--data: cannot open no/such/folder"), "{error:#}");
    }

    /// The help texts state the defaults; this holds them to the tables.
    #[test]
    fn the_help_states_these_defaults() {
        let command = TrainOptions::augment_args(clap::Command::new("train"));
        let states = |flag: &str, text: String| {
            let argument = command.get_arguments().find(|a| a.get_long() == Some(flag)).expect(flag);
            let help = argument.get_help().expect(flag).to_string();
            assert!(help.contains(&format!("[default: {text}")), "--{flag}: {help}");
        };
        let by_job = |full: &dyn std::fmt::Display, small: &dyn std::fmt::Display| {
            format!("{full} with --data, {small} without")
        };
        states("image-size", by_job(&FULL.image_size, &BUILT_IN.image_size) + "]");
        states("ngf", by_job(&FULL.ngf, &BUILT_IN.ngf) + "]");
        states("ndf", by_job(&FULL.ndf, &BUILT_IN.ndf) + "]");
        states("epochs", by_job(&FULL.epochs, &BUILT_IN.epochs));
        for job in [FULL, BUILT_IN] {
            states("sample-every", format!("{}]", job.sample_every));
            states("save-every", format!("{}]", job.save_every));
            states("keep", format!("{}]", job.keep));
        }
        states("batch", format!("{}]", PYTORCH_GAN.batch));
        states("lr", format!("{}]", PYTORCH_GAN.lr));
        states("beta1", format!("{}]", PYTORCH_GAN.beta1));
        states("lambda-pixel", format!("{}]", PYTORCH_GAN.lambda_pixel));
        states("dropout", format!("{}]", PYTORCH_GAN.dropout));
        let by_recipe = |of: fn(RecipeDefaults) -> String| [PYTORCH_GAN, BLOCK_CK, ISOLA].map(of).join(", ");
        for (flag, of) in [
            ("augment", (|recipe| value_name(recipe.augment)) as fn(RecipeDefaults) -> String),
            ("resize-filter", |recipe| value_name(recipe.resize_filter)),
            ("step-order", |recipe| value_name(recipe.step_order)),
            ("block-order", |recipe| value_name(recipe.block_order)),
            ("last-layer", |recipe| value_name(recipe.last_layer)),
            ("dropout-at", |recipe| value_name(recipe.dropout_at)),
            ("receptive-field", |recipe| value_name(recipe.receptive_field)),
            ("gan-loss", |recipe| value_name(recipe.gan_loss)),
            ("lr-schedule", |recipe| value_name(recipe.lr_schedule)),
        ] {
            states(flag, by_recipe(of) + "]");
        }
        // What the recipes agree on.
        for (flag, of) in [
            ("generator", (|recipe| value_name(recipe.generator)) as fn(RecipeDefaults) -> String),
            ("norm", |recipe| value_name(recipe.norm)),
            ("conditional", |recipe| recipe.conditional.to_string()),
            ("halve-d", |recipe| recipe.halve_d.to_string()),
            ("lambda-gan", |recipe| recipe.lambda_gan.to_string()),
            ("pixel-loss", |recipe| value_name(recipe.pixel_loss)),
            ("init", |recipe| value_name(recipe.init)),
            ("init-gain", |recipe| recipe.init_gain.to_string()),
        ] {
            let [default, others @ ..] = [PYTORCH_GAN, BLOCK_CK, ISOLA].map(of);
            assert!(others.iter().all(|other| *other == default), "--{flag}");
            states(flag, default + "]");
        }
    }
}
