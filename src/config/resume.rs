//! Resuming a run: the settings that it goes on with.
//!
//! The run's own settings are the base. A few of them steer how long it goes on, where it computes and what it writes,
//! and may be given anew; all others decide what it computes, and a changed one would make it another run.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use toml::{Table, Value};

use super::given::lay_over;
use super::options::changeable;
use super::{TrainConfig, TrainOptions};
use crate::base::files::is_same_file;

impl TrainOptions {
    /// Returns the settings for resuming the run in the folder `run`: `saved`, those of its checkpoint, with the values
    /// of the options given here in their place. `out` becomes `run`, since the folder may have been moved.
    ///
    /// # Errors
    /// When an option that may not change differs from `saved` (the error names both values), a new value makes no
    /// sense, or the folder of the training images does not exist.
    pub fn resume(self, saved: TrainConfig, run: &Path) -> Result<TrainConfig> {
        let mut given = self.with_absolute_inputs()?;
        // The folder may have been moved: the run continues in the folder given here, in any spelling of its path.
        let saved = TrainConfig { out: run.to_path_buf(), ..saved };
        if let Some(out) = &mut given.out
            && is_same_file(out, run)
        {
            *out = run.to_path_buf();
        }

        let (given, saved) = (given.to_table()?, Table::try_from(&saved)?);
        for (key, value) in &given {
            let before = saved.get(key);
            ensure!(
                key != "data" || before.is_some(),
                "--data {}: this run learns from the built-in facades, which are in no folder; leave it out",
                plain(value)
            );
            if before != Some(value) && !changeable().contains(key) {
                let before = before.map_or("not given".into(), plain);
                bail!(
                    "--{key} {}: this run was started with --{key} {before}, which cannot change when it is \
                     resumed (only {} can)",
                    plain(value),
                    changeable().iter().map(|key| format!("--{key}")).collect::<Vec<_>>().join(", ")
                );
            }
        }
        let config: TrainConfig = lay_over(saved, given).try_into()?;
        config.validate()?;
        if let Some(data) = config.data.as_ref().filter(|data| !data.exists()) {
            bail!(
                "{}: its training images were in {}, which is not there: give the folder where they are now with \
                 --data",
                run.display(),
                data.display()
            );
        }
        Ok(config)
    }
}

/// A value as it is typed behind a flag.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::engine::device::DeviceChoice;

    fn saved() -> TrainConfig {
        TrainOptions { epochs: Some(3), out: Some("somewhere".into()), ..Default::default() }.resolve().unwrap()
    }

    #[test]
    fn nothing_given_goes_on_as_before_where_the_folder_is_now() {
        let config = TrainOptions::default().resume(saved(), Path::new("moved")).unwrap();
        assert_eq!(config, TrainConfig { out: "moved".into(), ..saved() });
    }

    #[test]
    fn settings_that_are_no_part_of_the_recipe_may_differ() {
        let options = TrainOptions {
            steps: Some(50),
            device: Some(DeviceChoice::Cpu),
            cuda_graph: Some(false),
            threads: Some(3),
            save_every: Some(5),
            sample_every: Some(6),
            keep: Some(7),
            // An option that must not differ, with its old value.
            lr: Some(2e-4),
            ..Default::default()
        };
        let config = options.resume(saved(), Path::new("somewhere")).unwrap();
        let expected = TrainConfig {
            steps: Some(50),
            // A new end replaces the old one.
            epochs: None,
            device: DeviceChoice::Cpu,
            cuda_graph: false,
            threads: 3,
            save_every: 5,
            sample_every: 6,
            keep: 7,
            ..saved()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn the_images_may_lie_in_another_folder_that_is_there() {
        let [before, now] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let saved = TrainConfig { data: Some(before.path().to_path_buf()), ..saved() };
        let options = TrainOptions { data: Some(now.path().to_path_buf()), ..Default::default() };
        let config = options.resume(saved.clone(), Path::new("somewhere")).unwrap();
        assert_eq!(config.data, Some(now.path().canonicalize().unwrap()));
        drop(before);
        let error = TrainOptions::default().resume(saved, Path::new("somewhere")).unwrap_err().to_string();
        assert!(error.contains("which is not there") && error.contains("--data"), "{error}");
    }

    #[test]
    fn a_changed_setting_is_refused_with_both_values() {
        let here = std::env::current_dir().unwrap();
        let run = Path::new("somewhere");
        let cases = [
            (TrainOptions { lr: Some(1e-3), ..Default::default() }, ["--lr 0.001", "0.0002"]),
            (TrainOptions { data: Some(".".into()), ..Default::default() }, ["--data", "built-in facades"]),
            (TrainOptions { shuffle: Some(false), ..Default::default() }, ["--shuffle false", "true"]),
            (TrainOptions { out: Some("elsewhere".into()), ..Default::default() }, ["--out elsewhere", "somewhere"]),
        ];
        for (options, words) in cases {
            let error = options.resume(saved(), run).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        // The same folder spelt in another way is no change.
        let options = TrainOptions { out: Some(here.clone()), ..Default::default() };
        assert_eq!(options.resume(saved(), Path::new(".")).unwrap().out, Path::new("."));
    }

    #[test]
    fn a_new_value_is_checked_too() {
        let options = TrainOptions { keep: Some(0), ..Default::default() };
        let error = options.resume(saved(), Path::new("somewhere")).unwrap_err().to_string();
        assert!(error.starts_with("--keep 0"), "{error}");
    }
}
