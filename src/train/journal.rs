//! The records of a run beside its checkpoints: `losses.csv`, `metrics.csv`, sample grids, TensorBoard's event file and
//! `report.html`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;

use super::losses::{Columns, LossLog};
use super::run_folder::{LOSSES as LOSSES_FILE, METRICS, REPORT};
use super::samples;
use super::tables;
use super::tensorboard::EventFile;
use crate::base::files::write_atomically;
use crate::data::read_picture;
use crate::gan::Term;
use crate::metrics::{Metric, Validation, to_csv};
use crate::report::{Curve, LossCurve, RunPage, Sample};

/// Steps between two values in TensorBoard, which smooths and thins them out anyway; `losses.csv` has them all.
const SCALARS_EVERY: u64 = 10;

/// The most samples in the report. More of them are no easier to look at, and each takes some 200 kB.
const MOST_SAMPLES: usize = 12;

pub struct Journal {
    run: PathBuf,
    log: LossLog,
    events: EventFile,
    terms: Vec<Term>,
    /// A curve for each loss term.
    curves: Vec<Curve>,
    /// The samples that the report shows, each with its index among all that the run has drawn.
    samples: Vec<(usize, Sample)>,
    /// Number of samples that the run has drawn.
    drawn: usize,
}

impl Journal {
    /// Opens the records in the run folder `run`, to go on after step `steps_done`, which is 0 for a new run. Reads the
    /// losses and samples up to that step, writes `losses.csv` without the rows of later steps, and begins a new event
    /// file. `terms` are the loss terms of a step, in the order of their values.
    ///
    /// # Errors
    /// When `losses.csv` cannot be read, or a file cannot be written. A sample that cannot be read is left out of the
    /// report.
    pub fn open(run: &Path, steps_done: u64, terms: &[Term]) -> Result<Journal> {
        let (path, columns) = (run.join(LOSSES_FILE), Columns::new(terms));
        let earlier = tables::losses_until(&path, &columns, steps_done)?;
        let mut curves = vec![Curve::default(); terms.len()];
        for (step, values) in earlier.iter().filter_map(|row| columns.parse(row, columns.count())) {
            add(&mut curves, step, values);
        }
        let log = LossLog::create(&path, columns, &earlier)?;
        let events = EventFile::create(&run.join("tensorboard"), steps_done)?;
        let (run, terms, samples) = (run.to_path_buf(), terms.to_vec(), Vec::new());
        let mut journal = Journal { run, log, events, terms, curves, samples, drawn: 0 };
        if steps_done > 0 {
            journal.read_samples(steps_done);
        }
        Ok(journal)
    }

    /// Records a training step: a row of `losses.csv`, and for the first and every tenth step the values for
    /// TensorBoard. `values` are those of the loss terms, in the order of `terms` in [`Journal::open`]; `learning_rate`
    /// is the one that the step used; `epoch` and `step` count from 1.
    ///
    /// # Errors
    /// When a file cannot be written.
    ///
    /// # Panics
    /// If there are fewer values than terms.
    pub fn step(&mut self, epoch: u64, step: u64, values: &[f32], learning_rate: f64) -> Result<()> {
        self.log.add(epoch, step, values)?;
        add(&mut self.curves, step, values.iter().copied().map(Some));
        if step == 1 || step.is_multiple_of(SCALARS_EVERY) {
            let scalars = self.terms.iter().zip(values).map(|(term, value)| (tag(term), f64::from(*value)));
            self.events.scalars(step, scalars.chain([("learning_rate".to_owned(), learning_rate)]))?;
        }
        Ok(())
    }

    /// Saves `grid`, the sample grid drawn after `step` steps, as a PNG in the samples folder, and adds it to
    /// TensorBoard and to the next report.
    ///
    /// # Errors
    /// When it is too large for a JPEG, or a file cannot be written.
    pub fn sample(&mut self, step: u64, grid: &RgbImage) -> Result<()> {
        samples::save(&samples::path(&self.run, step), grid)?;
        let (jpeg, size) = samples::jpeg(grid)?;
        self.events.image(step, "samples", size, &jpeg)?;
        // A run that resumes at this very step draws the sample again.
        self.samples.retain(|(_, sample)| sample.step != step);
        self.samples.push((self.drawn, Sample { step, address: address(&jpeg) }));
        self.drawn += 1;
        self.samples.retain(|(index, _)| is_shown(*index, self.drawn));
        Ok(())
    }

    /// Writes `metrics.csv` with `history`, the validations in the checkpoint from which the run goes on (none for a
    /// new run). An existing file that disagrees with them is first copied to `metrics-kept-N.csv`.
    ///
    /// # Errors
    /// When the existing file cannot be read, or a file cannot be written.
    pub fn begin_metrics(&mut self, history: &[Validation]) -> Result<()> {
        tables::keep_stale_metrics(&self.run.join(METRICS), history)?;
        self.write_metrics(history)
    }

    /// Writes `metrics.csv` with `history`, in place of an existing file.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn write_metrics(&mut self, history: &[Validation]) -> Result<()> {
        write_atomically(&self.run.join(METRICS), to_csv(history).as_bytes())
    }

    /// Records a new validation, the last of `history`, which holds all validations of the run: adds it to TensorBoard
    /// and writes `metrics.csv` again.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn validation(&mut self, history: &[Validation]) -> Result<()> {
        if let Some(Validation { step, mean, .. }) = history.last() {
            let tags = Metric::ALL.into_iter().zip(["held_out/l1", "held_out/psnr", "held_out/ssim"]);
            self.events.scalars(*step, tags.map(|(metric, tag)| (tag.to_owned(), metric.value(mean))))?;
        }
        self.write_metrics(history)
    }

    /// Forces all rows of `losses.csv` to the disk (fsync). To be called before a checkpoint is saved, which must not
    /// be ahead of the rows of its steps.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sync(&mut self) -> Result<()> {
        self.log.sync()
    }

    /// Writes `report.html` from `page`, with the losses and samples of this journal in place of those of `page`, and
    /// writes all buffered rows and events to their files.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn report(&mut self, page: RunPage) -> Result<()> {
        self.log.flush()?;
        self.events.flush()?;
        let curves = self.terms.iter().zip(&self.curves).filter(|(_, curve)| !curve.points().is_empty());
        let curve =
            |(term, curve): (&Term, &Curve)| LossCurve { title: term.title, note: term.note, curve: curve.clone() };
        let curves: Vec<LossCurve> = curves.map(curve).collect();
        let samples: Vec<Sample> = self.samples.iter().map(|(_, sample)| sample.clone()).collect();
        let html = RunPage { losses: &curves, samples: &samples, ..page }.html();
        write_atomically(&self.run.join(REPORT), html.as_bytes())
    }

    /// Reads the samples that the run has drawn up to a step. They are only for display, so one that cannot be read is
    /// left out.
    fn read_samples(&mut self, steps_done: u64) {
        let names = fs::read_dir(self.run.join("samples")).into_iter().flatten().flatten();
        let mut steps: Vec<u64> = names.filter_map(|entry| samples::step_of(&entry.file_name())).collect();
        steps.retain(|&step| step <= steps_done);
        steps.sort_unstable();
        self.drawn = steps.len();
        let shown = steps.iter().enumerate().filter(|(index, _)| is_shown(*index, steps.len()));
        self.samples = shown
            .filter_map(|(index, &step)| {
                let grid = read_picture(&samples::path(&self.run, step)).ok()?.0.to_rgb8();
                Some((index, Sample { step, address: address(&samples::jpeg(&grid).ok()?.0) }))
            })
            .collect();
    }
}

/// Adds the values of a step's terms to their curves.
fn add(curves: &mut [Curve], step: u64, values: impl IntoIterator<Item = Option<f32>>) {
    for (curve, value) in curves.iter_mut().zip(values) {
        if let Some(value) = value {
            curve.add(step, f64::from(value));
        }
    }
}

/// The name of a term in TensorBoard: `loss/discriminator_real`.
fn tag(term: &Term) -> String {
    format!("loss/{}", term.title.to_lowercase().replace(' ', "_"))
}

fn address(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg))
}

/// True if the report shows the sample at `index` of `count`: each of a few, later every second, every fourth and so
/// on, and always the last one. A sample that is shown was shown before, so that no picture is encoded twice.
fn is_shown(index: usize, count: usize) -> bool {
    let every = count.div_ceil(MOST_SAMPLES - 1).next_power_of_two();
    index.is_multiple_of(every) || index + 1 == count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_shows_a_few_samples_that_it_had_already() {
        let shown = |count: usize| (0..count).filter(|&index| is_shown(index, count)).collect::<Vec<_>>();
        assert_eq!(shown(3), [0, 1, 2]);
        assert_eq!(shown(14), [0, 2, 4, 6, 8, 10, 12, 13]);
        let mut before = Vec::new();
        for count in 1..500 {
            let now = shown(count);
            assert!(now.len() <= MOST_SAMPLES && now[0] == 0 && now.contains(&(count - 1)), "{now:?}");
            assert!(now.iter().all(|index| before.contains(index) || index + 1 == count), "{before:?} {now:?}");
            before = now;
        }
    }
}
