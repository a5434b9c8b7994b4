//! Settings of a run from the options that were given: files, layers and checks.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use toml::Table;

use super::{TrainConfig, TrainOptions};
use crate::base::files;
use crate::data::Size;
use crate::gan::{PUBLISHED_CHANNELS, PUBLISHED_SIDE, Recipe};

impl TrainOptions {
    /// Returns the options of `recipe` at its published size: images of 256x256 pixels and 64 channels in the first
    /// layer of both networks. All other options are left to their defaults.
    pub fn published(recipe: Recipe) -> TrainOptions {
        TrainOptions {
            recipe: Some(recipe),
            image_size: Some(Size::square(PUBLISHED_SIDE)),
            ngf: Some(PUBLISHED_CHANNELS),
            ndf: Some(PUBLISHED_CHANNELS),
            ..Default::default()
        }
    }

    /// Reads a settings file: TOML, whose keys are the names of the flags, such as `image-size`. Options that the file
    /// lacks are `None`.
    ///
    /// # Errors
    /// When the file cannot be read or is no TOML, or has an unknown key or value; the error names the line.
    pub fn from_file(path: &Path) -> Result<TrainOptions> {
        let text =
            files::read_text(path).with_context(|| format!("cannot read the settings file {}", path.display()))?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(before).filter(|byte| *byte == b'\n').count();
            // The file may be that of a newer version, which has all settings of a run and more.
            let newer = match toml::from_str::<TrainConfig>(&text) {
                Ok(_) => {
                    "; it has the settings of a run of a newer pixtape: use that one, or remove those it does not share"
                }
                Err(_) => "",
            };
            anyhow!("{}, line {line}: {}{newer}", path.display(), error.message())
        })
    }

    /// Returns the complete settings of a new run: these options, and the defaults of those that were not given,
    /// checked. The paths in `data` and `start_from` become absolute.
    ///
    /// # Errors
    /// When one of these paths does not exist, or a value makes no sense or has no effect beside another one; the error
    /// names the flag and the value.
    pub fn resolve(self) -> Result<TrainConfig> {
        let config = TrainConfig::from_given(&self.with_absolute_inputs()?);
        config.validate()?;
        config.check_uses()?;
        Ok(config)
    }

    /// Returns these options, completed by those of `under` where a field is `None`.
    ///
    /// `steps` and `epochs` are one setting, the end of the run: if either is set here, `under` provides neither.
    ///
    /// # Errors
    /// When a value cannot be written as TOML, such as a path that is not UTF-8.
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

/// Returns `under` with the entries of `upper` added, in place of its own where both have a key. If `upper` has
/// `epochs` or `steps`, `under` loses both.
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

    use clap::ValueEnum;

    use super::*;
    use crate::data::{Augment, Preprocess};
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

    /// The step that the tests compare with PyTorch is the one that a user gets who asks for the recipe.
    #[test]
    fn a_recipe_is_the_step_that_is_compared_with_pytorch() {
        for &recipe in Recipe::value_variants() {
            let options = TrainOptions::published(recipe);
            assert_eq!(options.resolve().unwrap().objective(), Pix2Pix::published(recipe), "{recipe:?}");
        }
    }

    #[test]
    fn jitter_loads_larger_in_proportion() {
        let size = Size { width: 256, height: 512 };
        let options = TrainOptions { image_size: Some(size), augment: Some(Augment::Jitter), ..Default::default() };
        assert_eq!(options.resolve().unwrap().load_size, Size { width: 286, height: 572 });
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
    fn a_mistake_in_a_settings_file_is_one_line_with_its_line() {
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
