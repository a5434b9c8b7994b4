//! `losses.csv`: one row for every step, in full. A loss that the run does not have is an empty cell; a row of which
//! only the step is there has been lost.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::base::files::replace;
use crate::gan::step::Losses;

pub(super) const HEADER: &str = "epoch,step,d,adv,pixel";

/// The open file. Rows may wait in memory until [`LossLog::sync`].
pub struct LossLog {
    path: PathBuf,
    file: BufWriter<File>,
}

impl LossLog {
    /// Begins the log at `path` with the rows of earlier steps, in place of the one that is there. Losses that are
    /// known are handed to `row`, by their steps.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, earlier: &[String], mut row: impl FnMut(u64, Losses)) -> Result<LossLog> {
        earlier.iter().filter_map(|text| parse(text)).for_each(|(step, losses)| row(step, losses));
        let cannot = || format!("cannot write {}", path.display());
        // A whole new file takes the old one's place, so that a kill in between loses nothing.
        let written = replace(path, |file| {
            let mut file = BufWriter::new(file);
            writeln!(file, "{HEADER}")?;
            earlier.iter().try_for_each(|row| writeln!(file, "{row}"))?;
            Ok(file.into_inner().map_err(IntoInnerError::into_error)?.sync_all()?)
        });
        let target = written.with_context(cannot)?;
        let file = OpenOptions::new().append(true).open(target).with_context(cannot)?;
        Ok(LossLog { path: path.to_path_buf(), file: BufWriter::new(file) })
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

/// The row of a step whose losses are not known any more.
pub(super) fn lost_row(step: u64) -> String {
    format!(",{step},,,")
}

/// Step and losses of a row.
pub(super) fn parse(row: &str) -> Option<(u64, Losses)> {
    let cells: Vec<&str> = row.split(',').collect();
    let [epoch, step, losses @ ..] = &cells[..] else { return None };
    let losses: [&str; 3] = losses.try_into().ok()?;
    let is_lost = losses == [""; 3];
    let is_epoch = if is_lost { epoch.is_empty() } else { epoch.parse::<u64>().is_ok() };
    let step = step.parse().ok().filter(|_| is_epoch)?;
    let cell = |cell: &str| if cell.is_empty() { Some(None) } else { cell.parse().ok().map(Some) };
    let [discriminator, adversarial, pixel] = losses.map(cell);
    Some((step, Losses { discriminator: discriminator?, adversarial: adversarial?, pixel: pixel? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_in_full_behind_the_earlier_ones() -> Result<()> {
        let run = tempfile::tempdir()?;
        let path = run.path().join("losses.csv");
        let losses = |x: f32| Losses { discriminator: Some(x), adversarial: None, pixel: Some(f32::MIN_POSITIVE) };
        let mut log = LossLog::create(&path, &[], |_, _| unreachable!())?;
        (1..=2).try_for_each(|step| log.add(1, step, losses(step as f32)))?;
        log.sync()?;
        let text = std::fs::read_to_string(&path)?;
        assert_eq!(text.lines().nth(2), Some("1,2,2,,0.000000000000000000000000000000000000011754944"));

        let mut earlier: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        earlier.push(lost_row(3));
        let mut rows = Vec::new();
        let mut log = LossLog::create(&path, &earlier, |step, losses| rows.push((step, losses)))?;
        let lost = Losses { discriminator: None, adversarial: None, pixel: None };
        assert_eq!(rows, [(1, losses(1.0)), (2, losses(2.0)), (3, lost)]);
        log.add(2, 4, losses(9.0))?;
        log.sync()?;
        let text = std::fs::read_to_string(&path)?;
        assert_eq!(text.lines().skip(1).count(), 4);
        assert!(text.starts_with(HEADER) && text.contains("\n,3,,,\n2,4,9,,"), "{text}");
        Ok(())
    }

    #[test]
    fn what_is_no_row_is_none() {
        for row in
            ["", "1,2", "1,2,0.5,0.5", "1,2,0.5,0.5,0.5,1", "1,2,x,0.5,0.5", "x,2,,,1", "1,x,1,1,1", "1,2,,,", ",2,,,1"]
        {
            assert_eq!(parse(row), None, "{row}");
        }
        assert!(parse("1,2,NaN,inf,-1e-9").is_some() && parse(",2,,,").is_some());
    }
}
