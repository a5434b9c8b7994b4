//! The header of a checkpoint: a description of the generator, and the origin of the weights, a position in a run or an
//! imported file.

use std::{collections::HashMap, fmt::Display, str::FromStr};

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;

use crate::base::words::shortened;
use crate::config::{TrainConfig, read_settings, value_name};
use crate::data::Direction;
use crate::gan::UNet;
use crate::metrics::Validation;

/// Version of the checkpoint format that this program writes, and the only one that it reads. It is raised when a
/// tensor or a key changes its meaning. A new setting needs no new version: [`TrainConfig`] gives it a value for older
/// checkpoints.
pub const FORMAT_VERSION: u32 = 2;

/// Maximum number of training steps of a run: a hundred days of ten milliseconds each. Its tables have a row for each.
const MOST_STEPS: u64 = 1_000_000_000;

const VERSION_KEY: &str = "pixtape.format-version";
const STEP_KEY: &str = "pixtape.step";
const EPOCH_KEY: &str = "pixtape.epoch";
const STEP_IN_EPOCH_KEY: &str = "pixtape.step-in-epoch";
const SEED_KEY: &str = "pixtape.seed";
const FINGERPRINT_KEY: &str = "pixtape.data-fingerprint";
const HISTORY_KEY: &str = "pixtape.history";
const CONFIG_KEY: &str = "pixtape.config";
const GENERATOR_KEY: &str = "pixtape.generator";
const IMPORTED_FROM_KEY: &str = "pixtape.imported-from";
const DIRECTION_KEY: &str = "pixtape.direction";

/// The metadata of a file of weights: the architecture of its generator (in the header as TOML, under
/// `pixtape.generator`), and the origin of the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    pub generator: UNet,
    pub origin: Origin,
}

/// Origin of the weights in a file: a training run of this program, or an imported PyTorch file.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// A run, with its position and settings when the weights were saved.
    Run(Box<RunState>),
    /// A file of another program, such as `latest_net_G.pth`.
    Import {
        /// Its name without the folder; in the header under `pixtape.imported-from`.
        file: String,
        /// The direction in which its generator translates pairs; in the header under `pixtape.direction`.
        direction: Direction,
    },
}

impl About {
    /// Makes the metadata of a checkpoint of a run; the generator is that of its settings.
    pub fn from_run(meta: RunState) -> About {
        About { generator: meta.config.objective().generator, origin: Origin::Run(Box::new(meta)) }
    }

    /// The direction in which the generator translates pairs: from A to B, or from B to A.
    pub fn direction(&self) -> Direction {
        match &self.origin {
            Origin::Run(meta) => meta.config.direction,
            Origin::Import { direction, .. } => *direction,
        }
    }

    /// Returns the origin of the weights as a phrase: `weights of step 400`, or
    /// `weights imported from latest_net_G.pth`.
    pub fn describe(&self) -> String {
        match &self.origin {
            Origin::Run(meta) => format!("weights of step {}", meta.step),
            Origin::Import { file, .. } => format!("weights imported from {}", shortened(file)),
        }
    }

    /// Returns the metadata as keys and values of a checkpoint's header.
    ///
    /// # Errors
    /// When a setting or the generator cannot be written as TOML.
    pub(crate) fn to_strings(&self) -> Result<HashMap<String, String>> {
        let mut strings = match &self.origin {
            Origin::Run(meta) => meta.to_strings()?,
            Origin::Import { file, direction } => HashMap::from([
                (VERSION_KEY.to_owned(), FORMAT_VERSION.to_string()),
                (IMPORTED_FROM_KEY.to_owned(), file.clone()),
                (DIRECTION_KEY.to_owned(), value_name(*direction)),
            ]),
        };
        let generator = toml::to_string(&self.generator).context("the generator cannot be written as TOML")?;
        strings.insert(GENERATOR_KEY.to_owned(), generator);
        Ok(strings)
    }

    /// As [`About::to_strings`], for a file of weights alone: without the format version, which marks a checkpoint.
    ///
    /// # Errors
    /// As [`About::to_strings`].
    pub(super) fn to_weights_strings(&self) -> Result<HashMap<String, String>> {
        let mut strings = self.to_strings()?;
        strings.remove(VERSION_KEY);
        Ok(strings)
    }

    /// True if `strings` are from the header of a checkpoint or an import, of any format version.
    pub(crate) fn is_checkpoint(strings: &HashMap<String, String>) -> bool {
        strings.contains_key(VERSION_KEY)
    }

    /// Reads the metadata of weights that `export` has written; `None` for weights of another program.
    ///
    /// # Errors
    /// When the header is damaged, or has settings that this program does not know.
    pub(crate) fn from_weights_strings(strings: &HashMap<String, String>) -> Result<Option<About>> {
        strings.contains_key(GENERATOR_KEY).then(|| About::from_versionless(strings)).transpose()
    }

    /// The inverse of [`About::to_strings`]. The version is checked first: keys of another format may have other
    /// meanings.
    pub(super) fn from_strings(strings: &HashMap<String, String>) -> Result<About> {
        ensure!(
            About::is_checkpoint(strings),
            "holds tensors but is not a pixtape checkpoint (weights alone go to train --start-from)"
        );
        let version: u32 = parse(strings, VERSION_KEY)?;
        ensure!(
            version == FORMAT_VERSION,
            "is of checkpoint format {version}, and this pixtape reads format {FORMAT_VERSION} \
             only: use the pixtape that wrote it"
        );
        About::from_versionless(strings)
    }

    fn from_versionless(strings: &HashMap<String, String>) -> Result<About> {
        let origin = match strings.get(IMPORTED_FROM_KEY) {
            Some(file) => Origin::Import { file: file.clone(), direction: parse_choice(strings, DIRECTION_KEY)? },
            None => Origin::Run(Box::new(RunState::from_strings(strings)?)),
        };
        let generator: UNet = read_settings(text(strings, GENERATOR_KEY)?).context(GENERATOR_KEY)?;
        generator.validate().context(GENERATOR_KEY)?;
        Ok(About { generator, origin })
    }
}

/// Position, settings and validation results of a run when a checkpoint is saved. With the tensors that is enough to
/// resume the run bit for bit: every random draw is a function of the seed and the position.
///
/// In the file each field is a string under `pixtape.` and its name with dashes (numbers in decimal, the history as
/// JSON, the config as TOML), beside `pixtape.format-version`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// Training steps completed since the start of the run.
    pub step: u64,
    /// Epochs completed.
    pub epoch: u64,
    /// Training steps completed in the current epoch.
    pub step_in_epoch: u64,
    /// Seed of all random draws of the run.
    pub seed: u64,
    /// A hash of the training pairs, so that a run is not resumed with others unnoticed.
    pub data_fingerprint: u64,
    /// The validation results so far, in order of their steps.
    pub history: Vec<Validation>,
    pub config: TrainConfig,
}

impl RunState {
    fn to_strings(&self) -> Result<HashMap<String, String>> {
        let pairs = [
            (VERSION_KEY, FORMAT_VERSION.to_string()),
            (STEP_KEY, self.step.to_string()),
            (EPOCH_KEY, self.epoch.to_string()),
            (STEP_IN_EPOCH_KEY, self.step_in_epoch.to_string()),
            (SEED_KEY, self.seed.to_string()),
            (FINGERPRINT_KEY, self.data_fingerprint.to_string()),
            (HISTORY_KEY, serde_json::to_string(&self.history).context(HISTORY_KEY)?),
            (CONFIG_KEY, self.config.to_toml()?),
        ];
        Ok(pairs.map(|(key, value)| (key.to_string(), value)).into())
    }

    fn from_strings(strings: &HashMap<String, String>) -> Result<RunState> {
        let step = parse(strings, STEP_KEY)?;
        ensure!(step <= MOST_STEPS, "has {STEP_KEY} = {step} in its header, more than any run does: it is damaged");
        Ok(RunState {
            step,
            epoch: parse(strings, EPOCH_KEY)?,
            step_in_epoch: parse(strings, STEP_IN_EPOCH_KEY)?,
            seed: parse(strings, SEED_KEY)?,
            data_fingerprint: parse(strings, FINGERPRINT_KEY)?,
            history: serde_json::from_str(text(strings, HISTORY_KEY)?).context(HISTORY_KEY)?,
            config: TrainConfig::from_toml(text(strings, CONFIG_KEY)?).context(CONFIG_KEY)?,
        })
    }
}

fn text<'a>(strings: &'a HashMap<String, String>, key: &str) -> Result<&'a str> {
    strings.get(key).map(String::as_str).ok_or_else(|| anyhow!("lacks {key} in its header: it is damaged"))
}

fn parse_choice<T: ValueEnum>(strings: &HashMap<String, String>, key: &str) -> Result<T> {
    let text = text(strings, key)?;
    let choices = || T::value_variants().iter().cloned().map(value_name).collect::<Vec<_>>().join(", ");
    T::from_str(text, false)
        .map_err(|_| anyhow!("has {key} = {:?} in its header, which is none of {}", shortened(text), choices()))
}

fn parse<T: FromStr<Err: Display>>(strings: &HashMap<String, String>, key: &str) -> Result<T> {
    let text = text(strings, key)?;
    text.parse().map_err(|error| anyhow!("has {key} = {:?} in its header: {error}", shortened(text)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn strings_and_back() {
        let run = About::from_run(fixture::meta(5));
        let origin = Origin::Import { file: "latest_net_G.pth".into(), direction: Direction::BToA };
        let import = About { origin, ..run.clone() };
        for about in [run, import] {
            assert_eq!(About::from_strings(&about.to_strings().unwrap()).unwrap(), about);
        }
    }

    #[test]
    fn another_format_is_named_before_anything_else_is_read() {
        for other in [FORMAT_VERSION - 1, FORMAT_VERSION + 1] {
            let header = HashMap::from([(VERSION_KEY.to_string(), other.to_string())]);
            let error = About::from_strings(&header).unwrap_err().to_string();
            let [theirs, ours] = [other, FORMAT_VERSION].map(|version| format!("format {version}"));
            assert!(error.contains(&theirs) && error.contains(&ours), "{error}");
        }
    }

    #[test]
    fn a_foreign_header_and_a_damaged_one_are_told_apart() {
        let foreign = HashMap::from([("format".to_string(), "pt".to_string())]);
        assert!(About::from_strings(&foreign).unwrap_err().to_string().contains("not a pixtape checkpoint"));
        let mut damaged = About::from_run(fixture::meta(5)).to_strings().unwrap();
        damaged.insert(STEP_KEY.into(), "five".into());
        assert!(About::from_strings(&damaged).unwrap_err().to_string().contains("\"five\""));
        damaged.insert(STEP_KEY.into(), (MOST_STEPS + 1).to_string());
        assert!(
            About::from_strings(&damaged).unwrap_err().to_string().contains("more than any run does: it is damaged")
        );
        damaged.remove(STEP_KEY);
        assert!(About::from_strings(&damaged).unwrap_err().to_string().contains("lacks pixtape.step"));

        // A setting, and a value, of a newer program.
        for (key, before, after) in [
            (CONFIG_KEY, "lr = ", "range-a = 1\nrange-b = 2\nlr = "),
            (GENERATOR_KEY, "width = ", "range-a = 1\nrange-b = 2\nwidth = "),
            (CONFIG_KEY, "\"bicubic\"", "\"range-a range-b\""),
        ] {
            let mut newer = About::from_run(fixture::meta(5)).to_strings().unwrap();
            newer.insert(key.into(), newer[key].replacen(before, after, 1));
            let error = format!("{:#}", About::from_strings(&newer).unwrap_err());
            let words = [key, "range-a", "range-b", "use the pixtape that wrote them"];
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }

        let mut absurd = About::from_run(fixture::meta(5)).to_strings().unwrap();
        let generator = absurd[GENERATOR_KEY].replace("width = 16", "width = 9999999999");
        absurd.insert(GENERATOR_KEY.into(), generator);
        assert!(format!("{:#}", About::from_strings(&absurd).unwrap_err()).contains("ngf 9999999999"));
    }
}
