//! `losses.csv`: one row for every step, in full. A loss that the run does not have is an empty cell.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::step::Losses;
use crate::files::{UNFINISHED, with_ending};

const HEADER: &str = "epoch,step,d,adv,pixel";

/// The open file. Rows may wait in memory until [`LossLog::sync`].
pub struct LossLog {
    path: PathBuf,
    file: BufWriter<File>,
}

impl LossLog {
    /// Opens the log of `run` for the step after `steps_done`: rows of later steps, which a run that was killed had written
    /// after its last checkpoint, are cut off. The other ones are handed to `row`, by their steps.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(run: &Path, steps_done: u64, mut row: impl FnMut(u64, Losses)) -> Result<LossLog> {
        let path = run.join("losses.csv");
        let kept = if path.exists() && steps_done > 0 { kept_rows(&path, steps_done)? } else { Vec::new() };
        kept.iter().filter_map(|text| parse(text)).for_each(|(step, losses)| row(step, losses));
        // A whole new file takes the old one's place, so that a kill in between loses nothing.
        let fresh = with_ending(&path, UNFINISHED);
        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::new(File::create(&fresh)?);
            writeln!(file, "{HEADER}")?;
            kept.iter().try_for_each(|row| writeln!(file, "{row}"))?;
            file.into_inner()?.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = BufWriter::new(file.with_context(|| format!("cannot write {}", path.display()))?);
        Ok(LossLog { path, file })
    }

    /// Adds the row of a step. `epoch` and `step` count from 1.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, epoch: u64, step: u64, losses: Losses) -> Result<()> {
        let Losses { discriminator, adversarial, pixel } = losses;
        let cell = |loss: Option<f32>| loss.map_or_else(String::new, |loss| loss.to_string());
        let [d, adv, pixel] = [discriminator, adversarial, pixel].map(cell);
        writeln!(self.file, "{epoch},{step},{d},{adv},{pixel}").with_context(|| self.cannot_write())
    }

    /// Hands all rows to the operating system.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().with_context(|| self.cannot_write())
    }

    /// Brings all rows to the disk. A checkpoint is saved only after the rows of its steps.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.get_ref().sync_all().with_context(|| self.cannot_write())
    }

    fn cannot_write(&self) -> String {
        format!("cannot write {}", self.path.display())
    }
}

/// The rows of the steps up to `steps_done`.
fn kept_rows(path: &Path, steps_done: u64) -> Result<Vec<String>> {
    let read = || format!("cannot read {}", path.display());
    let mut rows = Vec::new();
    for row in BufReader::new(File::open(path).with_context(read)?).lines().skip(1) {
        let row = row.with_context(read)?;
        // The last row may be cut short by a kill; it is then later than the checkpoint.
        if parse(&row).is_none_or(|(step, _)| step > steps_done) {
            break;
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Step and losses of a row.
fn parse(row: &str) -> Option<(u64, Losses)> {
    let mut cells = row.split(',').skip(1);
    let step = cells.next()?.parse().ok()?;
    let mut loss = || cells.next().map(|cell| cell.parse::<f32>().ok());
    Some((step, Losses { discriminator: loss()?, adversarial: loss()?, pixel: loss()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_log_is_cut_back_to_the_checkpoint() -> Result<()> {
        let run = tempfile::tempdir()?;
        let losses = |x: f32| Losses { discriminator: Some(x), adversarial: None, pixel: Some(f32::MIN_POSITIVE) };
        let mut log = LossLog::open(run.path(), 0, |_, _| unreachable!())?;
        (1..=5).try_for_each(|step| log.add(1, step, losses(step as f32)))?;
        log.sync()?;
        // A kill in the middle of a row.
        let path = run.path().join("losses.csv");
        write!(OpenOptions::new().append(true).open(&path)?, "1,6,0.5")?;

        let mut rows = Vec::new();
        let mut log = LossLog::open(run.path(), 3, |step, losses| rows.push((step, losses)))?;
        assert_eq!(rows, [1, 2, 3].map(|step| (step, losses(step as f32))));
        log.add(2, 4, losses(9.0))?;
        log.sync()?;
        let text = fs::read_to_string(&path)?;
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], HEADER);
        assert_eq!(rows.len(), 5);
        assert_eq!(rows[4], "2,4,9,,0.000000000000000000000000000000000000011754944");
        Ok(())
    }
}
