//! The training loop: batches in, steps, and at intervals a row, a picture and a checkpoint out.
//!
//! Everything that a step depends on is a function of the settings and the number of the step, so a run that goes on
//! from a checkpoint computes what the uninterrupted one would have, bit for bit.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use super::data::RunData;
use super::due::{is_report_due, is_save_due};
use super::feed::Feed;
use super::interrupt;
use super::journal::Journal;
use super::memory;
use super::progress::TrainingProgress;
use super::run_folder::{self, RunLock, SETTINGS};
use super::samples;
use super::schedule::learning_rate;
use super::trainer::{StepLosses, Trainer};
use super::validation::validate;
use crate::base::files::write_atomically;
use crate::base::progress::{say, tell};
use crate::base::words::count;
use crate::checkpoint::{Reader, RunState, names, save_best, save_to_run};
use crate::config::{LrSchedule, TrainConfig};
use crate::data::{CACHE_BYTES, LoaderConfig, Pair, Pairs, Picture, Position, Report, preparation};
use crate::engine::device::ChosenDevice;
use crate::engine::device::cpu::with_threads;
use crate::exchange::Weights;
use crate::metrics::{Metric, Validation, best};
use crate::report::{Outcome, RunPage};
use crate::train::{Resume, TrainRequest};

/// Steps that a GPU is ahead of the losses that are recorded, so that it has work while the host prepares more. The
/// records do not depend on it: all losses are waited for before anything else is written.
const LOSSES_LATE: usize = 4;

/// Advice for data without held-out pairs.
const HOW_TO_HOLD_OUT: &str = "put pairs into val/ beside train/, or hold a share of them out with --val-split";

/// Runs a training, from the start or from a checkpoint, until its last step or until a signal asks it to end.
/// Settings, losses, samples, checkpoints and the report are written into the run folder.
///
/// # Errors
/// When the data, the device, a checkpoint or the run folder cannot be used, there is too little memory, or a loss or
/// weight stops being finite. Checkpoints saved until then are kept.
pub fn run(request: TrainRequest) -> Result<()> {
    let TrainRequest { config, resume } = request;
    let chosen = config.device.choose()?;
    chosen.require(config.precision.activations())?;
    let cache_bytes = memory::check(&config, chosen.device, CACHE_BYTES)?;
    let data = RunData::open(&config, resume.is_some(), cache_bytes)?;
    with_threads(config.threads, || Run::start(config, resume, data, chosen)?.train())?
}

struct Run {
    config: TrainConfig,
    chosen: ChosenDevice,
    trainer: Trainer,
    feed: Feed,
    journal: Journal,
    progress: TrainingProgress,
    held_out: Option<Box<dyn Pairs>>,
    samples: Vec<Pair>,
    report: Option<Report>,
    history: Vec<Validation>,
    fingerprint: u64,
    /// Steps done when the program began.
    first: u64,
    /// Time at which the program began.
    start: Instant,
    /// Steps of the run, those before a resume included.
    total: u64,
    /// Step of the newest checkpoint.
    saved: u64,
    /// True if the newest checkpoint holds the present state.
    is_saved: bool,
    /// Time of the last checkpoint; the start if there is none yet.
    saved_at: Instant,
    /// Time of the last report; the start if there is none yet.
    reported_at: Instant,
    /// Held until the last file is written.
    _lock: RunLock,
}

impl Run {
    fn start(config: TrainConfig, resume: Option<Resume>, data: RunData, chosen: ChosenDevice) -> Result<Run> {
        let steps_per_epoch = (data.train.len() / config.pairs_per_step()) as u64;
        let fingerprint = data.train.fingerprint();
        let mut trainer = Trainer::new(&config, chosen.device)?;
        let mut history = Vec::new();
        let mut started = None;
        let position = match &resume {
            None => {
                if let Some(file) = &config.start_from {
                    let networks = trainer.load_weights(&mut Weights::open_networks(file)?)?.join(" and the ");
                    started = Some(format!("Started with the {networks} of {}", file.display()));
                }
                Position { epoch: 0, step_in_epoch: 0 }
            }
            Some(Resume { checkpoint, .. }) => {
                let mut reader = Reader::open(checkpoint)?;
                let meta = reader.meta()?;
                ensure!(meta.data_fingerprint == fingerprint, "{}", other_images(&config, &meta.config));
                let by_epochs = meta.epoch.saturating_mul(steps_per_epoch).saturating_add(meta.step_in_epoch);
                ensure!(
                    meta.step == by_epochs && meta.step_in_epoch < steps_per_epoch.max(1),
                    "{}: is damaged: {} epochs and {} steps are not {} steps",
                    checkpoint.display(),
                    meta.epoch,
                    meta.step_in_epoch,
                    meta.step
                );
                trainer.resume(&mut reader, meta.step)?;
                history = meta.history;
                Position { epoch: meta.epoch, step_in_epoch: meta.step_in_epoch as usize }
            }
        };
        let loader_config = LoaderConfig {
            image_size: config.image_size,
            pairs_per_step: config.pairs_per_step(),
            augment: config.augment,
            shuffle: config.shuffle,
            seed: config.seed,
        };
        let feed = Feed::start(&mut trainer, Arc::clone(&data.train), loader_config, position)?;
        let by_epochs = config.epochs.map(|epochs| epochs.saturating_mul(steps_per_epoch));
        let total = by_epochs.into_iter().chain(config.steps).min().context("neither --epochs nor --steps is given")?;
        ensure!(
            config.lr_schedule != LrSchedule::Plateau || data.held_out.is_some(),
            "--lr-schedule plateau needs held-out pairs: {HOW_TO_HOLD_OUT}"
        );

        // Nothing is written before everything that can be wrong with the input has been looked at.
        let is_saved = resume.is_some();
        let lock = match resume {
            None => run_folder::create(&config.out)?,
            Some(Resume { lock, .. }) => {
                run_folder::clear_unfinished(&config.out)?;
                run_folder::make_folders(&config.out)?;
                lock
            }
        };
        let settings = config.to_toml()?;
        write_atomically(&config.out.join(SETTINGS), settings.as_bytes())?;
        let first = trainer.steps_done();
        let mut journal = Journal::open(&config.out, first, trainer.terms())?;
        if data.held_out.is_some() {
            journal.begin_metrics(&history)?;
        }
        interrupt::catch()?;
        started.iter().for_each(|line| say(line));
        let progress = TrainingProgress::new(first, total, total.div_ceil(steps_per_epoch), trainer.terms());
        let RunData { held_out, samples, report, .. } = data;
        Ok(Run {
            config,
            chosen,
            trainer,
            feed,
            journal,
            progress,
            held_out,
            samples,
            report,
            history,
            fingerprint,
            first,
            start: Instant::now(),
            total,
            saved: first,
            is_saved,
            saved_at: Instant::now(),
            reported_at: Instant::now(),
            _lock: lock,
        })
    }

    /// Runs the remaining steps. If they fail, the error is written into the report.
    fn train(mut self) -> Result<()> {
        if let Err(error) = self.learn() {
            // If even the report cannot be written, the first error is still the one to return.
            let _ = self.write_report(Outcome::Failed(&format!("{error:#}")));
            return Err(error);
        }
        self.conclude()
    }

    fn learn(&mut self) -> Result<()> {
        self.introduce();
        self.progress.begin();
        if self.first == 0 {
            self.draw_samples()?;
        }
        // A validation that was interrupted is done before anything changes.
        if self.validate_if_due()? || self.first == 0 {
            self.report()?;
        }
        while self.trainer.steps_done() < self.total && !interrupt::asked() {
            let pictures = match self.feed.next() {
                Ok(pictures) => pictures,
                Err(error) => return Err(self.save_then(error)),
            };
            let learning_rate = learning_rate(&self.config, self.epoch(self.trainer.steps_done() + 1), &self.history);
            self.trainer.step(&pictures, learning_rate)?;
            self.is_saved = false;
            self.feed.recycle(pictures);
            self.record_losses(LOSSES_LATE)?;
            let step = self.trainer.steps_done();
            let is_sampled = step.is_multiple_of(self.config.sample_every);
            if is_sampled {
                self.draw_samples()?;
            }
            let is_saved = self.is_save_due();
            let is_validated = self.validate_if_due()?;
            if is_saved {
                self.save_once()?;
            }
            if is_report_due(is_sampled || is_validated || is_saved, self.reported_at.elapsed()) {
                self.report()?;
            }
        }
        self.save_once()?;
        if !samples::path(&self.config.out, self.trainer.steps_done()).exists() {
            self.draw_samples()?;
        }
        self.report()?;
        self.progress.finish();
        Ok(())
    }

    /// Records the losses of all steps but the last `late`, which a GPU may still compute. With 0 it waits for these
    /// too, as is done before anything else is written about the present step.
    fn record_losses(&mut self, late: usize) -> Result<()> {
        while let Some(StepLosses { step, learning_rate, values }) = self.trainer.next_losses(late)? {
            let epoch = self.epoch(step);
            self.journal.step(epoch, step, &values, learning_rate)?;
            if !values.iter().all(|value| value.is_finite()) {
                self.journal.sync()?;
                self.progress.finish();
                bail!("{}", self.not_finite(&format!("a loss of step {step} is")));
            }
            self.progress.step(epoch, step, &values);
        }
        Ok(())
    }

    /// The epoch of a step, both from 1.
    fn epoch(&self, step: u64) -> u64 {
        (step - 1) / self.steps_per_epoch() + 1
    }

    fn is_save_due(&self) -> bool {
        let step = self.trainer.steps_done();
        let is_epoch_end = step.is_multiple_of(self.steps_per_epoch());
        is_save_due(step, self.config.save_every, is_epoch_end, self.saved_at.elapsed())
    }

    fn steps_per_epoch(&self) -> u64 {
        self.feed.draws().steps_per_epoch() as u64
    }

    /// Prints what the run is about to do.
    fn introduce(&self) {
        let first = self.first;
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
        if let Some(report) = &self.report {
            report.lines().iter().for_each(|line| say(line));
            say(&preparation(&config.pair_options(), config.augment));
        }
        if let Some(note) = self.feed.note() {
            say(note);
        }
        if self.held_out.is_none() {
            say(&format!("No pairs are held out, so nothing is measured while it learns: {HOW_TO_HOLD_OUT}"));
        }
        if let Some(end) = config.decay_end().filter(|end| first / self.steps_per_epoch() >= *end) {
            let learning_rate = learning_rate(config, end, &[]);
            say(&format!(
                "The learning rate stays at the {learning_rate:.2e} that its schedule ended with, after epoch {end}; \
                 for another one begin a new run with --start-from"
            ));
        }
        let left_over = match self.feed.draws().left_over() {
            0 => return,
            pairs => count(pairs, "pair"),
        };
        let which = if config.shuffle { "drawn anew each time" } else { "the last in order" };
        say(&format!(
            "Each epoch leaves out {left_over}, {which}: the others fill its steps of {}",
            config.pairs_per_step()
        ));
    }

    fn draw_samples(&mut self) -> Result<()> {
        self.record_losses(0)?;
        let outputs: Vec<Picture> =
            self.samples.iter().map(|pair| self.trainer.preview(pair)).collect::<Result<_>>()?;
        self.journal.sample(self.trainer.steps_done(), &samples::rows(&self.samples, &outputs))
    }

    /// Measures the held-out pairs if an epoch with a validation has ended, and saves the best checkpoint if this one
    /// is the best so far. True if there was anything to measure.
    fn validate_if_due(&mut self) -> Result<bool> {
        let step = self.trainer.steps_done();
        let (epoch, is_end) = (step / self.steps_per_epoch(), step.is_multiple_of(self.steps_per_epoch()));
        let is_due = is_end && epoch > 0 && epoch.is_multiple_of(self.config.validate_every);
        let is_done = self.history.last().is_some_and(|last| last.step >= step);
        let is_due = is_due && !is_done;
        if is_due {
            self.record_losses(0)?;
        }
        let Some(pairs) = self.held_out.as_deref().filter(|_| is_due) else { return Ok(false) };
        let progress = &self.progress;
        let translated = |count| progress.aside(&format!("measuring held-out pairs, {count} of {}", pairs.len()));
        let mean = match validate(&mut self.trainer, pairs, translated) {
            Ok(Some(mean)) => mean,
            Ok(None) => return Ok(false),
            Err(error) => return Err(self.save_then(error)),
        };
        // Finite weights may still be too large to compute with.
        let is_number = !mean.l1.is_nan();
        ensure!(is_number, "{}", self.not_finite(&format!("the L1 of the held-out pairs after step {step} is")));
        self.history.push(Validation { epoch, step, mean });
        self.is_saved = false;
        self.journal.validation(&self.history)?;
        let is_best = best(&self.history, self.config.best_by).is_some_and(|best| best.step == step);
        if is_best {
            // The best checkpoint is then a link to this one.
            if self.is_save_due() || step == self.saved {
                self.save_once()?;
            }
            let meta = self.meta()?;
            save_best(&self.config.out, &meta, &self.trainer)?;
        }
        let values = Metric::ALL.map(|metric| format!("{} {}", metric.name(), metric.format(metric.value(&mean))));
        let best = if is_best { format!("  best {} so far", self.config.best_by.name()) } else { String::new() };
        self.progress.line(&format!("epoch {epoch}  held out: {}{best}", values.join("  ")));
        Ok(true)
    }

    /// Writes the report of a run without an error.
    fn report(&mut self) -> Result<()> {
        self.record_losses(0)?;
        self.write_report(match () {
            () if self.trainer.steps_done() >= self.total => Outcome::Finished,
            () if interrupt::asked() => Outcome::Stopped,
            () => Outcome::Running,
        })
    }

    fn write_report(&mut self, state: Outcome) -> Result<()> {
        self.reported_at = Instant::now();
        let step = self.trainer.steps_done();
        let seconds = self.start.elapsed().as_secs_f64();
        let speed = (step > self.first).then(|| (step - self.first) as f64 / seconds);
        let steps_per_epoch = self.steps_per_epoch();
        self.journal.report(RunPage {
            config: &self.config,
            device: &self.chosen.describe(self.config.threads),
            state,
            step,
            total: self.total,
            steps_per_epoch,
            speed,
            written: SystemTime::now(),
            losses: &[],
            history: &self.history,
            held_out: self.held_out.as_ref().map_or(0, |pairs| pairs.len()),
            samples: &[],
            checkpoints: &names(&self.config.out)?,
        })
    }

    /// Saves a checkpoint, unless the newest one holds the present state. A run that is stopped before its first step
    /// gets one too, so that it can be resumed like any other.
    fn save_once(&mut self) -> Result<()> {
        self.record_losses(0)?;
        self.journal.sync()?;
        if self.is_saved {
            return Ok(());
        }
        let meta = self.meta()?;
        save_to_run(&self.config.out, &meta, &self.trainer, self.config.keep)?;
        (self.saved, self.is_saved, self.saved_at) = (meta.step, true, Instant::now());
        Ok(())
    }

    /// Saves the present state, which is good, after an error in reading a picture. Returns the error to report: that
    /// of an earlier step if there is one.
    fn save_then(&mut self, error: anyhow::Error) -> anyhow::Error {
        if let Err(earlier) = self.record_losses(0) {
            return earlier;
        }
        let _ = self.save_once();
        error
    }

    /// The header of a checkpoint of the present state.
    fn meta(&mut self) -> Result<RunState> {
        let step = self.trainer.steps_done();
        ensure!(self.trainer.is_finite()?, "{}", self.not_finite(&format!("a weight after step {step} is")));
        Ok(RunState {
            step,
            epoch: step / self.steps_per_epoch(),
            step_in_epoch: step % self.steps_per_epoch(),
            seed: self.config.seed,
            data_fingerprint: self.fingerprint,
            history: self.history.clone(),
            config: self.config.clone(),
        })
    }

    fn not_finite(&self, what: &str) -> String {
        let kept = match self.saved {
            0 => "no checkpoint had been saved yet".to_owned(),
            saved => format!("the checkpoint of step {saved} is kept"),
        };
        let losses = self.config.out.join("losses.csv");
        format!("{what} not a finite number, see {}; {kept}; try a smaller --lr", losses.display())
    }

    /// Prints the result, and where to look at it.
    fn conclude(&self) -> Result<()> {
        let run = self.config.out.display();
        let (done, seconds) = (self.trainer.steps_done(), self.start.elapsed().as_secs_f64());
        if done < self.total {
            tell(format_args!(
                "Stopped after step {done} of {}; go on with: pixtape train --resume {run}",
                self.total
            ))?;
        } else {
            tell(format_args!("Trained {} steps in {seconds:.0} s", done - self.first))?;
        }
        let by = self.config.best_by;
        if let Some(best) = best(&self.history, by) {
            let value = by.format(by.value(&best.mean));
            let file = format!("{run}/checkpoints/best.safetensors");
            tell(format_args!(
                "Best      {} {value} on held-out pairs, after epoch {}: {file}",
                by.name(),
                best.epoch
            ))?;
        }
        tell(format_args!("Look at   {run}/report.html"))?;
        tell(format_args!("          {run}/samples (input | output | target; the newest is step-{done:08}.png)"))?;
        tell(format_args!("Translate pixtape translate {run} IMAGE_OR_FOLDER... --out DIR"))?;
        Ok(())
    }
}

/// The refusal to go on with the images that `config` names, of a run that was started with the settings `before`.
fn other_images(config: &TrainConfig, before: &TrainConfig) -> String {
    let run = config.out.display();
    match (&config.data, &before.data) {
        (Some(now), Some(before)) if now != before => format!(
            "--data {}: its training images are not those of {}, with which {run} was started: a resumed run needs the \
             same files",
            now.display(),
            before.display()
        ),
        _ => format!(
            "the training images are not those that {run} was started with: a resumed run needs the same files; --data \
             names another folder that has them"
        ),
    }
}
