//! The display of a run in progress: a bar on a terminal, a plain line every few seconds elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::progress::{LINE_EVERY, say};
use crate::gan::Term;

/// Time between two updates of the losses on the bar; the eye needs no more.
const BAR_EVERY: Duration = Duration::from_millis(100);

pub struct TrainingProgress {
    bar: Option<ProgressBar>,
    terms: Vec<Term>,
    first: u64,
    total: u64,
    epochs: u64,
    start: Instant,
    last: Instant,
}

impl TrainingProgress {
    /// Creates the display of a run of `total` steps in `epochs` epochs, of which `done` steps were done before.
    /// `terms` are the loss terms to show. Speed and remaining time are measured from [`TrainingProgress::begin`] on.
    pub fn new(done: u64, total: u64, epochs: u64, terms: &[Term]) -> TrainingProgress {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let template = "{prefix} [{bar:24}] step {pos}/{len}  {msg}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let now = Instant::now();
        TrainingProgress { bar, terms: terms.to_vec(), first: done, total, epochs, start: now, last: now }
    }

    /// Begins to measure speed and remaining time.
    pub fn begin(&mut self) {
        let now = Instant::now();
        (self.start, self.last) = (now, now);
    }

    /// Shows that `step` is done: epoch, speed, remaining time, and `values`, those of the loss terms in the order of
    /// `terms` in [`TrainingProgress::new`]. `epoch` and `step` count from 1. A call soon after the last update shows
    /// nothing.
    pub fn step(&mut self, epoch: u64, step: u64, values: &[f32]) {
        let every = if self.bar.is_some() { BAR_EVERY } else { LINE_EVERY };
        let is_due = self.last.elapsed() >= every || step == self.total;
        if !is_due {
            return;
        }
        self.last = Instant::now();
        let position = format!("epoch {epoch}/{}", self.epochs);
        let rate = (step - self.first) as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let left = Duration::try_from_secs_f64((self.total - step) as f64 / rate.max(1e-9)).unwrap_or(Duration::MAX);
        let left = HumanDuration(Duration::from_secs(left.as_secs()));
        let mut news = format!("{rate:.2} it/s  ETA {left:#}");
        for (term, value) in self.terms.iter().zip(values).filter(|(term, _)| !term.is_detail) {
            news += &format!("  {} {value:.3}", term.name);
        }
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(position);
                bar.set_position(step);
                bar.set_message(news);
            }
            None => say(&format!("{position}  step {step}/{}  {news}", self.total)),
        }
    }

    /// Shows `what`, an activity between two training steps, on the bar in place of the losses; nothing without a
    /// terminal.
    pub fn aside(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Writes a line to stderr, above the bar if there is one.
    pub fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
