//! `pixtape train`: a new run, or a run to resume.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, ensure};
use clap::Args;

use crate::checkpoint::{self, Reader};
use crate::config::TrainOptions;
use crate::train::run_folder::{self, Contents};
use crate::train::{Resume, RunLock, TrainRequest};

/// Train on pairs of images, or on built-in synthetic facades
///
/// Shows the losses as it goes and writes settings, losses, sample pictures and checkpoints into a run folder. Ctrl-C
/// saves and ends the run; --resume goes on with it exactly where it was.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    options: TrainOptions,

    /// Read settings from a TOML file; flags given beside it win.
    ///
    /// Its keys are the flags without the dashes: batch = 1, image-size = "512x256", shuffle = false. Paths in it are
    /// relative to the current folder, as on the command line. The config.toml of a run folder is such a file.
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,

    /// Go on with the run in this folder from its newest checkpoint, on the same device bit for bit.
    ///
    /// Its settings stay; only CHANGEABLE may be given anew, --data for the same images in another folder. A checkpoint
    /// moves from one device to another.
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    resume: Option<PathBuf>,
}

impl TrainArgs {
    /// Turns the arguments into a complete request. Flags win over the settings file of `--config`; with `--resume`,
    /// the rest comes from the run's newest checkpoint, and the run's folder is locked.
    ///
    /// # Errors
    /// When a file cannot be read or a setting not be used, when the folder of a new run is taken, or when the run to
    /// resume has no checkpoint or is in use.
    pub fn request(self) -> Result<TrainRequest> {
        let options = match &self.config {
            Some(file) => self.options.over(TrainOptions::from_file(file)?)?,
            None => self.options,
        };
        match &self.resume {
            Some(run) => resume(options, run),
            None => TrainRequest::new_run(options.resolve()?),
        }
    }
}

fn resume(options: TrainOptions, run: &Path) -> Result<TrainRequest> {
    ensure!(
        !run.is_file(),
        "--resume {}: give the folder of a run (--start-from starts a new run from the weights in a file)",
        run.display()
    );
    // If there is no run, nothing is written, not even the lock file.
    find_checkpoint(run)?;
    let lock = RunLock::take(run).context("--resume")?;
    let checkpoint = find_checkpoint(run)?;
    // The settings come from the checkpoint: its state was computed with these.
    let meta = Reader::open(&checkpoint).and_then(|reader| reader.meta());
    let saved = meta.map_err(|error| damaged(run, &checkpoint, error))?.config;
    Ok(TrainRequest { config: options.resume(saved, run)?, resume: Some(Resume { checkpoint, lock }) })
}

/// The error of a run's newest checkpoint, with the way to go on from another one.
fn damaged(run: &Path, newest: &Path, error: Error) -> Error {
    let mut others = checkpoint::names(run).unwrap_or_default();
    others.retain(|name| Some(name.as_ref()) != newest.file_name());
    // The best checkpoint stands last, and is the one to resume from if there is no other.
    match others.iter().rfind(|name| name.starts_with("step-")).or(others.last()) {
        Some(other) => anyhow!("{error:#}; with that file moved away the run goes on from {other}"),
        None => error,
    }
}

fn find_checkpoint(run: &Path) -> Result<PathBuf> {
    let is_begun = run.is_dir() && matches!(run_folder::contents(run), Ok(Contents::Unsaved));
    ensure!(
        !is_begun,
        "--resume {0}: it has no checkpoint to go on from: the run has just begun, or ended before its first one; the \
         same `pixtape train` command with --out {0} starts it over",
        run.display()
    );
    checkpoint::resolve(run).context("--resume")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::checkpoint::{RunState, TensorSpec, Tensors, save_to_run};

    struct Nothing;
    impl Tensors for Nothing {
        fn specs(&self) -> Vec<TensorSpec> {
            Vec::new()
        }
        fn read(&self, _: usize) -> Result<Vec<f32>> {
            Ok(Vec::new())
        }
    }

    fn args(options: TrainOptions, config: Option<PathBuf>, resume: Option<PathBuf>) -> TrainArgs {
        TrainArgs { options, config, resume }
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        fs::write(&file, "batch = 4\nngf = 8\n").unwrap();
        let flags = TrainOptions { batch: Some(2), ..Default::default() };
        let config = args(flags, Some(file), None).request().unwrap().config;
        assert_eq!((config.batch, config.ngf), (2, 8));
    }

    #[test]
    fn a_run_goes_on_from_its_newest_checkpoint_with_its_own_settings() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let options = TrainOptions { batch: Some(3), out: Some(run.clone()), ..Default::default() };
        let config = options.resolve().unwrap();
        for step in [10, 20] {
            let meta = RunState {
                step,
                epoch: 0,
                step_in_epoch: step,
                seed: 1,
                data_fingerprint: 0,
                history: Vec::new(),
                config: config.clone(),
            };
            save_to_run(&run, &meta, &Nothing, 5).unwrap();
        }
        let request = args(TrainOptions::default(), None, Some(run.clone())).request().unwrap();
        assert_eq!(request.config, config);
        let newest = request.resume.unwrap().checkpoint;
        assert!(newest.ends_with("step-00000020.safetensors"), "{newest:?}");

        let other = TrainOptions { batch: Some(4), ..Default::default() };
        let error = args(other, None, Some(run)).request().unwrap_err().to_string();
        assert!(error.starts_with("--batch 4"), "{error}");
        let error = args(TrainOptions::default(), None, Some(newest)).request().unwrap_err().to_string();
        assert!(error.contains("give the folder of a run"), "{error}");
    }
}
