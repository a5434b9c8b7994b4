//! The files in which a run tells about itself, beside its checkpoints: `losses.csv`, `metrics.csv`, sample grids,
//! TensorBoard's event file and `report.html`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;

use super::losses::LossLog;
use super::run_folder::{LOSSES as LOSSES_FILE, METRICS, REPORT};
use super::samples;
use super::tables;
use super::tensorboard::EventFile;
use crate::base::files::write_whole;
use crate::data::read_picture;
use crate::gan::step::Losses;
use crate::metrics::{Metric, Validation, to_csv};
use crate::report::{Curve, LossCurve, RunPage, Sample};

/// Steps between two rows in TensorBoard, which smooths and thins them out anyway; `losses.csv` has them all.
const SCALARS_EVERY: u64 = 10;

/// The most samples in the report. More of them are no easier to look at, and each takes some 200 kB.
const MOST_SAMPLES: usize = 12;

/// Title, meaning and name in TensorBoard of each loss.
const LOSSES: [[&str; 3]; 3] = [
    ["Discriminator", "how far it is from telling real and generated apart", "loss/discriminator"],
    ["Adversarial", "how far the generator is from being taken for real", "loss/adversarial"],
    ["Pixel", "how far outputs are from their targets", "loss/pixel"],
];

pub struct Journal {
    run: PathBuf,
    log: LossLog,
    events: EventFile,
    losses: [Curve; 3],
    samples: Vec<(usize, Sample)>,
    /// Samples that the run has drawn.
    drawn: usize,
}

impl Journal {
    /// Opens the files of a run for the step after `steps_done`; what they hold of later steps is forgotten. Those of a
    /// new run are not there yet.
    ///
    /// # Errors
    /// When one of them cannot be read or written.
    pub fn open(run: &Path, steps_done: u64) -> Result<Journal> {
        let mut losses: [Curve; 3] = Default::default();
        let path = run.join(LOSSES_FILE);
        let earlier = tables::losses(&path, steps_done)?;
        let log = LossLog::create(&path, &earlier, |step, row| add(&mut losses, step, row))?;
        let events = EventFile::create(&run.join("tensorboard"), steps_done)?;
        let mut journal = Journal { run: run.to_path_buf(), log, events, losses, samples: Vec::new(), drawn: 0 };
        if steps_done > 0 {
            journal.read_samples(steps_done);
        }
        Ok(journal)
    }

    /// Adds the losses of a step, and the rate that it learned at. `epoch` and `step` count from 1.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn step(&mut self, epoch: u64, step: u64, losses: Losses, learning_rate: f64) -> Result<()> {
        self.log.add(epoch, step, losses)?;
        add(&mut self.losses, step, losses);
        if step == 1 || step.is_multiple_of(SCALARS_EVERY) {
            let named = LOSSES.iter().zip(losses.all());
            let scalars = named.filter_map(|([_, _, tag], loss)| Some((*tag, f64::from(loss?))));
            self.events.scalars(step, scalars.chain([("learning_rate", learning_rate)]))?;
        }
        Ok(())
    }

    /// Adds the samples drawn after a step.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn sample(&mut self, step: u64, grid: &RgbImage) -> Result<()> {
        samples::save(&samples::path(&self.run, step), grid)?;
        let (jpeg, size) = samples::jpeg(grid)?;
        self.events.image(step, "samples", size, &jpeg)?;
        // Drawn again by a run that goes on from the very step.
        self.samples.retain(|(_, sample)| sample.step != step);
        self.samples.push((self.drawn, Sample { step, address: address(&jpeg) }));
        self.drawn += 1;
        self.samples.retain(|(place, _)| is_shown(*place, self.drawn));
        Ok(())
    }

    /// Begins `metrics.csv` with the results of a checkpoint.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn begin_metrics(&mut self, history: &[Validation]) -> Result<()> {
        tables::metrics(&self.run.join(METRICS), history)?;
        self.write_metrics(history)
    }

    /// Writes `metrics.csv`.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn write_metrics(&mut self, history: &[Validation]) -> Result<()> {
        write_whole(&self.run.join(METRICS), to_csv(history).as_bytes())
    }

    /// Adds the last validation of `history`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn validation(&mut self, history: &[Validation]) -> Result<()> {
        if let Some(Validation { step, mean, .. }) = history.last() {
            let tags = Metric::ALL.into_iter().zip(["held_out/l1", "held_out/psnr", "held_out/ssim"]);
            self.events.scalars(*step, tags.map(|(metric, tag)| (tag, metric.of(mean))))?;
        }
        self.write_metrics(history)
    }

    /// Brings the losses to the disk. A checkpoint is saved only after the rows of its steps.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sync(&mut self) -> Result<()> {
        self.log.sync()
    }

    /// Writes `report.html`, of which `page` knows everything but losses and samples, and hands all other files to the
    /// operating system.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn report(&mut self, page: RunPage) -> Result<()> {
        self.log.flush()?;
        self.events.flush()?;
        let curves = LOSSES.iter().zip(&self.losses).filter(|(_, curve)| !curve.points().is_empty());
        let curves: Vec<LossCurve> =
            curves.map(|(&[title, note, _], curve)| LossCurve { title, note, curve: curve.clone() }).collect();
        let samples: Vec<Sample> = self.samples.iter().map(|(_, sample)| sample.clone()).collect();
        let html = RunPage { losses: &curves, samples: &samples, ..page }.html();
        write_whole(&self.run.join(REPORT), html.as_bytes())
    }

    /// Takes up the samples that the run has drawn until a step. They are only shown: one that cannot be read is left
    /// out.
    fn read_samples(&mut self, steps_done: u64) {
        let names = fs::read_dir(self.run.join("samples")).into_iter().flatten().flatten();
        let mut steps: Vec<u64> = names.filter_map(|entry| samples::step_of(&entry.file_name())).collect();
        steps.retain(|&step| step <= steps_done);
        steps.sort_unstable();
        self.drawn = steps.len();
        let shown = steps.iter().enumerate().filter(|(place, _)| is_shown(*place, steps.len()));
        self.samples = shown
            .filter_map(|(place, &step)| {
                let grid = read_picture(&samples::path(&self.run, step)).ok()?.0.to_rgb8();
                Some((place, Sample { step, address: address(&samples::jpeg(&grid).ok()?.0) }))
            })
            .collect();
    }
}

fn add(curves: &mut [Curve; 3], step: u64, losses: Losses) {
    for (curve, loss) in curves.iter_mut().zip(losses.all()) {
        if let Some(loss) = loss {
            curve.add(step, f64::from(loss));
        }
    }
}

fn address(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg))
}

/// True if the report shows the sample at `place` of `count`: each of a few, later every second, every fourth and so
/// on, and always the last one. What is shown has been shown before, so that no picture is made twice.
fn is_shown(place: usize, count: usize) -> bool {
    let every = count.div_ceil(MOST_SAMPLES - 1).next_power_of_two();
    place.is_multiple_of(every) || place + 1 == count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_shows_a_few_samples_that_it_had_already() {
        let shown = |count: usize| (0..count).filter(|&place| is_shown(place, count)).collect::<Vec<_>>();
        assert_eq!(shown(3), [0, 1, 2]);
        assert_eq!(shown(14), [0, 2, 4, 6, 8, 10, 12, 13]);
        let mut before = Vec::new();
        for count in 1..500 {
            let now = shown(count);
            assert!(now.len() <= MOST_SAMPLES && now[0] == 0 && now.contains(&(count - 1)), "{now:?}");
            assert!(now.iter().all(|place| before.contains(place) || place + 1 == count), "{before:?} {now:?}");
            before = now;
        }
    }
}
