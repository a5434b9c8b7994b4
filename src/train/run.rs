//! The training loop: batches in, steps, and at intervals a row, a picture and a checkpoint out.
//!
//! Everything that a step depends on is a function of the settings and the number of the step, so a run that goes on from a
//! checkpoint computes what the uninterrupted one would have, bit for bit.

use std::fs::{self, File};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;

use super::interrupt;
use super::losses::LossLog;
use super::progress::{Progress, say};
use super::samples;
use super::schedule::learning_rate;
use super::trainer::Trainer;
use crate::checkpoint::{Meta, Reader, save_to_run};
use crate::config::{TrainConfig, TrainRequest, ensure_free};
use crate::data::{
    CACHE_BYTES, Dataset, Facades, Loader, LoaderConfig, Pair, Pairs, Picture, Position, ResizeFilter, Split,
};
use crate::device::Chosen;
use crate::device::cpu::with_threads;
use crate::files::write_whole;

/// Built-in facades in an epoch: as many as the CMP data set has for training.
const FACADES_PER_EPOCH: usize = 400;

/// Trains as `request` says, from the start or from a checkpoint.
///
/// # Errors
/// When the data, a checkpoint or the run folder cannot be used, or a loss stops being a finite number. The checkpoints
/// that were saved until then stay.
pub fn run(request: &TrainRequest) -> Result<()> {
    let chosen = request.config.device.choose()?;
    let data = Data::open(&request.config)?;
    with_threads(request.config.threads, || Run::start(request, data, chosen)?.train())?
}

/// Pairs to learn from, and pairs to draw samples of.
struct Data {
    train: Arc<dyn Pairs>,
    samples: Vec<Pair>,
}

impl Data {
    fn open(config: &TrainConfig) -> Result<Data> {
        let (train, held_out): (Arc<dyn Pairs>, Option<Box<dyn Pairs>>) = match &config.data {
            None => {
                let facades = |split| Facades::new(config.seed, config.load_size, FACADES_PER_EPOCH, split);
                (Arc::new(facades(Split::Train)?), Some(Box::new(facades(Split::HeldOut)?)))
            }
            Some(dir) => {
                let Dataset { train, held_out } = open_folder(dir, config)?;
                (Arc::new(train), held_out.map(|folder| Box::new(folder) as Box<dyn Pairs>))
            }
        };
        let from: &dyn Pairs = held_out.as_deref().unwrap_or(&*train);
        let samples = (0..from.len().min(samples::ROWS)).map(|index| {
            let Pair { input, target } = from.pair(0, index)?;
            let fit = |picture: Picture| picture.resize(config.image_size, ResizeFilter::Bicubic);
            Ok(Pair { input: fit(input), target: fit(target) })
        });
        let samples = samples.collect::<Result<_>>()?;
        Ok(Data { train, samples })
    }
}

fn open_folder(dir: &Path, config: &TrainConfig) -> Result<Dataset> {
    let bar = if stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_message("reading images");
    let progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let dataset = Dataset::open(dir, config.direction, config.load_size, CACHE_BYTES, &progress);
    bar.finish_and_clear();
    dataset
}

struct Run {
    config: TrainConfig,
    chosen: Chosen,
    trainer: Trainer,
    loader: Loader,
    losses: LossLog,
    samples: Vec<Pair>,
    fingerprint: u64,
    /// Steps in all, those before a resume included.
    total: u64,
}

impl Run {
    fn start(request: &TrainRequest, data: Data, chosen: Chosen) -> Result<Run> {
        let config = request.config.clone();
        let steps_per_epoch = (data.train.len() / config.pairs()) as u64;
        let fingerprint = data.train.fingerprint();
        let mut trainer = Trainer::new(&config, chosen.place)?;
        let position = match &request.resume {
            None => {
                if let Some(file) = &config.start_from {
                    trainer.load_weights(&mut Reader::open(file)?)?;
                }
                Position { epoch: 0, step_in_epoch: 0 }
            }
            Some(file) => {
                let mut reader = Reader::open(file)?;
                let meta = reader.meta()?;
                ensure!(
                    meta.data_fingerprint == fingerprint,
                    "the training images are not those that {} was started with: a resumed run needs the same files",
                    config.out.display()
                );
                trainer.resume(&mut reader, meta.step)?;
                Position { epoch: meta.epoch, step_in_epoch: meta.step_in_epoch as usize }
            }
        };
        let loader_config = LoaderConfig {
            size: config.image_size,
            batch: config.pairs(),
            augment: config.augment,
            shuffle: config.shuffle,
            seed: config.seed,
        };
        let loader = Loader::start(Arc::clone(&data.train), loader_config, position)?;
        let by_epochs = config.epochs.map(|epochs| epochs.saturating_mul(steps_per_epoch));
        let total = by_epochs.into_iter().chain(config.steps).min().context("neither --epochs nor --steps is given")?;

        // Nothing is written before everything that can be wrong with the input has been looked at.
        make_folder(&config, request.resume.is_none())?;
        let losses = LossLog::open(&config.out, trainer.steps_done())?;
        interrupt::catch()?;
        Ok(Run { config, chosen, trainer, loader, losses, samples: data.samples, fingerprint, total })
    }

    fn train(mut self) -> Result<()> {
        let steps_per_epoch = self.loader.steps_per_epoch() as u64;
        let epochs = self.total.div_ceil(steps_per_epoch);
        let first = self.trainer.steps_done();
        self.introduce(first);
        let mut progress = Progress::new(first, self.total, epochs);
        let start = Instant::now();
        let mut saved = first;
        if first == 0 {
            self.draw_samples()?;
        }
        while self.trainer.steps_done() < self.total && !interrupt::asked() {
            let batch = match self.loader.next() {
                Ok(batch) => batch,
                Err(error) => {
                    // What has been learned so far is good: only the next picture is not.
                    self.save_once(saved)?;
                    return Err(error);
                }
            };
            let epoch = batch.epoch + 1;
            let losses = self.trainer.step(&batch.pictures, learning_rate(&self.config, epoch, &[]))?;
            let step = self.trainer.steps_done();
            self.loader.recycle(batch);
            self.losses.add(epoch, step, losses)?;
            if !losses.is_finite() {
                self.losses.sync()?;
                progress.finish();
                bail!("{}", self.not_finite(&format!("a loss of step {step} is"), saved));
            }
            progress.step(epoch, step, losses);
            if step % self.config.sample_every == 0 {
                self.losses.flush()?;
                self.draw_samples()?;
            }
            if step % self.config.save_every == 0 {
                self.save_once(saved)?;
                saved = step;
            }
        }
        let done = self.trainer.steps_done();
        self.save_once(saved)?;
        if !self.newest_sample().exists() {
            self.draw_samples()?;
        }
        progress.finish();
        self.conclude(done, done - first, start.elapsed().as_secs_f64())
    }

    /// What is about to happen.
    fn introduce(&self, first: u64) {
        let config = &self.config;
        let pairs = config.data.as_ref().map_or("the built-in facades".into(), |dir| dir.display().to_string());
        let batch = match config.accumulate {
            1 => config.batch.to_string(),
            accumulate => format!("{} x {accumulate}", config.batch),
        };
        let from = if first == 0 { String::new() } else { format!(", going on after step {first}") };
        say(&format!(
            "Training {} on {pairs} at {}: {} steps of batch {batch} on {}{from}",
            config.out.display(),
            config.image_size,
            self.total,
            self.chosen.describe(config.threads),
        ));
        let left_over = match self.loader.left_over() {
            0 => return,
            1 => "1 pair".to_owned(),
            count => format!("{count} pairs"),
        };
        let which = if config.shuffle { "drawn anew each time" } else { "the last in order" };
        say(&format!("Each epoch leaves out {left_over}, {which}: the others fill its steps of {}", config.pairs()));
    }

    fn draw_samples(&mut self) -> Result<()> {
        let outputs: Vec<Picture> =
            self.samples.iter().map(|pair| self.trainer.preview(pair)).collect::<Result<_>>()?;
        samples::save(&self.newest_sample(), &self.samples, &outputs)
    }

    /// Where the samples of the step just done belong.
    fn newest_sample(&self) -> PathBuf {
        self.config.out.join("samples").join(format!("step-{:08}.png", self.trainer.steps_done()))
    }

    /// Saves a checkpoint, unless that of the step just done is the one `saved` last. A run that is stopped before its first
    /// step gets one too, so that it is gone on with like any other.
    fn save_once(&mut self, saved: u64) -> Result<()> {
        self.losses.sync()?;
        let step = self.trainer.steps_done();
        if step == saved && step > 0 {
            return Ok(());
        }
        ensure!(self.trainer.is_finite()?, "{}", self.not_finite(&format!("a weight after step {step} is"), saved));
        let steps_per_epoch = self.loader.steps_per_epoch() as u64;
        let meta = Meta {
            step,
            epoch: step / steps_per_epoch,
            step_in_epoch: step % steps_per_epoch,
            seed: self.config.seed,
            data_fingerprint: self.fingerprint,
            config: self.config.clone(),
        };
        save_to_run(&self.config.out, &meta, &self.trainer, self.config.keep)?;
        Ok(())
    }

    fn not_finite(&self, what: &str, saved: u64) -> String {
        let kept = match saved {
            0 => "no checkpoint had been saved yet".to_owned(),
            saved => format!("the checkpoint of step {saved} is kept"),
        };
        let losses = self.config.out.join("losses.csv");
        format!("{what} not a finite number, see {}; {kept}; try a smaller --lr", losses.display())
    }

    /// What has happened, and where to look.
    fn conclude(&self, done: u64, steps: u64, seconds: f64) -> Result<()> {
        let run = self.config.out.display();
        let mut out = stdout();
        if done < self.total {
            writeln!(out, "Stopped after step {done} of {}; go on with: pixtape train --resume {run}", self.total)?;
        } else {
            writeln!(out, "Trained {steps} steps in {seconds:.0} s")?;
        }
        writeln!(out, "Look at   {run}/samples (input | output | target; the newest is step-{done:08}.png)")?;
        writeln!(out, "Translate pixtape translate {run} IMAGE_OR_FOLDER... --out DIR")?;
        Ok(())
    }
}

/// Makes the run folder. A new run claims it by its settings file, which only one process can be the first to write.
fn make_folder(config: &TrainConfig, is_new: bool) -> Result<()> {
    let run = &config.out;
    let settings = config.to_toml()?;
    let cannot = || format!("cannot write the run folder {}", run.display());
    fs::create_dir_all(run.join("samples")).with_context(cannot)?;
    fs::create_dir_all(run.join("checkpoints")).with_context(cannot)?;
    let file = run.join("config.toml");
    if is_new {
        ensure_free(run)?;
        let claimed = File::create_new(&file).with_context(cannot);
        return claimed?.write_all(settings.as_bytes()).with_context(cannot);
    }
    write_whole(&file, settings.as_bytes())
}
