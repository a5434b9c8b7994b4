//! Checks of the settings of a run: each value, and combinations that make no sense.

use anyhow::{Context, Result, ensure};

use super::{TrainConfig, size_rules, value_name};
use crate::data::{Augment, Preprocess};
use crate::gan::{GanLoss, Pix2Pix, PixelLoss};

impl TrainConfig {
    /// Checks each value by its rule, then the combinations of losses, schedule, sizes and data options.
    ///
    /// # Errors
    /// When a value breaks its rule, or a combination makes no sense; the error names the flag and the value.
    pub(super) fn validate(&self) -> Result<()> {
        self.check_values()?;
        self.validate_losses()?;
        self.validate_schedule()?;

        size_rules::check_depth(self.image_size, self.depth)?;
        if self.gan_loss != GanLoss::None {
            let Pix2Pix { discriminator, scales, .. } = self.objective();
            for [height, width] in self.objective().picture_sizes() {
                discriminator.map_size(height, width).with_context(|| {
                    let scales = if scales > 1 { format!(" --scales {scales}") } else { String::new() };
                    format!("--receptive-field {}{scales}", value_name(self.receptive_field))
                })?;
            }
        }
        self.validate_data()
    }

    /// Refuses data options that would have no effect beside the others, and a load size below the image size.
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
        let weights = [
            ("lambda-gan", is_adversarial, self.lambda_gan),
            ("lambda-feature", is_adversarial, self.lambda_feature),
            ("lambda-pixel", has_pixel, self.lambda_pixel),
        ];
        let present = || weights.iter().filter(|(_, is_present, _)| *is_present);
        let flags: Vec<String> = present().map(|(flag, _, weight)| format!("--{flag} {weight}")).collect();
        ensure!(
            present().any(|(.., weight)| *weight > 0.0),
            "{}: no loss of the generator has any weight; one has to be above 0",
            flags.join(" ")
        );
        Ok(())
    }

    /// Refuses an option of another schedule than the chosen one, which would have no effect, and a chosen schedule
    /// that lacks one of its options.
    fn validate_schedule(&self) -> Result<()> {
        let used = self.lr_schedule.flags();
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LrSchedule, TrainOptions};
    use crate::data::Size;

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
