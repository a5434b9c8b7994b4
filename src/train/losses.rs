//! `losses.csv`: one row for every step, with full precision. A term that the run does not have is an empty cell. A row
//! with the step alone replaces one that was lost.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::base::files::replace;
use crate::gan::Term;

/// The columns of epoch and step, and those of the terms that every table has, whether or not the run has them. Runs of
/// earlier versions have the first three terms alone.
const BEGINNING: [&str; 2] = ["epoch", "step"];
const USUAL: [&str; 6] = ["d", "adv", "pixel", "g", "d_real", "d_fake"];
const FEWEST: usize = 3;

/// The columns of `losses.csv` behind epoch and step: a name for each loss term, those of every table first.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    names: Vec<&'static str>,
    /// Index of the term in each column, if the run has it.
    terms: Vec<Option<usize>>,
}

impl Columns {
    pub fn new(terms: &[Term]) -> Columns {
        let others = terms.iter().map(|term| term.name).filter(|name| !USUAL.contains(name));
        let names: Vec<&str> = USUAL.into_iter().chain(others).collect();
        let index = |name: &&str| terms.iter().position(|term| term.name == *name);
        Columns { terms: names.iter().map(index).collect(), names }
    }

    /// Terms in a row.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    pub fn header(&self) -> String {
        self.header_of(self.names.len())
    }

    fn header_of(&self, columns: usize) -> String {
        [&BEGINNING[..], &self.names[..columns]].concat().join(",")
    }

    /// The number of terms in the table whose first line is `header`: all of this run's; or fewer, the first of them,
    /// if an earlier version has written it. `None` if it is another table.
    pub fn of_header(&self, header: &str) -> Option<usize> {
        (FEWEST..=self.names.len()).find(|&columns| self.header_of(columns) == header)
    }

    /// The row of a step: `epoch` and `step` count from 1, and `values` are those of the terms.
    fn row(&self, epoch: u64, step: u64, values: &[f32]) -> String {
        let cell = |term: &Option<usize>| term.map_or_else(String::new, |term| values[term].to_string());
        let cells: Vec<String> = self.terms.iter().map(cell).collect();
        format!("{epoch},{step},{}", cells.join(","))
    }

    /// The row of a step whose losses are not known any more.
    pub fn lost_row(&self, step: u64) -> String {
        format!(",{step}{}", ",".repeat(self.names.len()))
    }

    /// A row of `columns` terms, extended by empty cells to the terms of this run.
    pub fn widened(&self, row: &str, columns: usize) -> String {
        format!("{row}{}", ",".repeat(self.names.len() - columns))
    }

    /// Step and terms of a row with `columns` terms. A term is `None` if its cell is empty or missing.
    pub fn parse(&self, row: &str, columns: usize) -> Option<(u64, Vec<Option<f32>>)> {
        let cells: Vec<&str> = row.split(',').collect();
        let [epoch, step, losses @ ..] = &cells[..] else { return None };
        if losses.len() != columns {
            return None;
        }
        let is_lost = losses.iter().all(|cell| cell.is_empty());
        let is_epoch = if is_lost { epoch.is_empty() } else { epoch.parse::<u64>().is_ok() };
        let step = step.parse().ok().filter(|_| is_epoch)?;
        let cell = |cell: &&str| if cell.is_empty() { Some(None) } else { cell.parse().ok().map(Some) };
        let cells: Vec<Option<f32>> = losses.iter().map(cell).collect::<Option<_>>()?;
        let count = self.terms.iter().flatten().count();
        let mut values = vec![None; count];
        for (term, cell) in self.terms.iter().zip(cells) {
            if let Some(term) = term {
                values[*term] = cell;
            }
        }
        Some((step, values))
    }
}

/// The open `losses.csv`. Rows may wait in memory until [`LossLog::sync`].
pub struct LossLog {
    path: PathBuf,
    columns: Columns,
    file: BufWriter<File>,
}

impl LossLog {
    /// Begins the log at `path` with the rows of earlier steps, replacing the file that is there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, columns: Columns, earlier: &[String]) -> Result<LossLog> {
        let cannot = || format!("cannot write {}", path.display());
        // The new file replaces the old one as a whole, so that a kill in between loses nothing.
        let written = replace(path, |file| {
            let mut file = BufWriter::new(file);
            writeln!(file, "{}", columns.header())?;
            earlier.iter().try_for_each(|row| writeln!(file, "{row}"))?;
            Ok(file.into_inner().map_err(IntoInnerError::into_error)?.sync_all()?)
        });
        let target = written.with_context(cannot)?;
        let file = OpenOptions::new().append(true).open(target).with_context(cannot)?;
        Ok(LossLog { path: path.to_path_buf(), columns, file: BufWriter::new(file) })
    }

    /// Adds the row of a step. `epoch` and `step` count from 1; `values` are those of the terms.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, epoch: u64, step: u64, values: &[f32]) -> Result<()> {
        writeln!(self.file, "{}", self.columns.row(epoch, step, values)).with_context(|| self.cannot_write())
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

#[cfg(test)]
pub mod fixture {
    use super::Columns;
    use crate::gan::{Term, Value};

    /// The columns of a run that has a discriminator's total, a pixel loss and a term beyond the usual ones.
    pub fn columns() -> Columns {
        let term = |name| Term { name, title: "", note: "", is_detail: false, value: Value::Losses(vec![1.0]) };
        Columns::new(&["d", "pixel", "extra"].map(term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_in_full_behind_the_earlier_ones() -> Result<()> {
        let run = tempfile::tempdir()?;
        let path = run.path().join("losses.csv");
        let columns = fixture::columns();
        let mut log = LossLog::create(&path, columns.clone(), &[])?;
        (1..=2).try_for_each(|step| log.add(1, step, &[step as f32, f32::MIN_POSITIVE, 0.5]))?;
        log.sync()?;
        let text = std::fs::read_to_string(&path)?;
        assert!(text.starts_with("epoch,step,d,adv,pixel,g,d_real,d_fake,extra\n"), "{text}");
        assert_eq!(text.lines().nth(2), Some("1,2,2,,0.000000000000000000000000000000000000011754944,,,,0.5"));
        let row = |row: &str| columns.parse(row, 7);
        assert_eq!(row(text.lines().nth(2).unwrap()), Some((2, vec![Some(2.0), Some(f32::MIN_POSITIVE), Some(0.5)])));

        let mut earlier: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        earlier.push(columns.lost_row(3));
        let mut log = LossLog::create(&path, columns.clone(), &earlier)?;
        log.add(2, 4, &[9.0, 8.0, 7.0])?;
        log.sync()?;
        let text = std::fs::read_to_string(&path)?;
        assert_eq!(text.lines().skip(1).count(), 4);
        assert!(text.contains("\n,3,,,,,,,\n2,4,9,,8,,,,7\n"), "{text}");
        assert_eq!(row(&columns.lost_row(3)), Some((3, vec![None; 3])));
        Ok(())
    }

    #[test]
    fn the_table_of_an_earlier_version_has_fewer_columns() {
        let columns = fixture::columns();
        assert_eq!(columns.of_header("epoch,step,d,adv,pixel"), Some(3));
        assert_eq!(columns.of_header(&columns.header()), Some(7));
        assert_eq!(columns.of_header("epoch,step,d,adv"), None);
        assert_eq!(columns.of_header("epoch,step,d,adv,pixel,other"), None);
        let row = columns.widened("1,2,0.5,,0.25", 3);
        assert_eq!(row, "1,2,0.5,,0.25,,,,");
        assert_eq!(columns.parse(&row, 7), Some((2, vec![Some(0.5), Some(0.25), None])));
        assert_eq!(columns.parse(&columns.widened(",2,,,", 3), 7), Some((2, vec![None; 3])));
    }

    #[test]
    fn what_is_no_row_is_none() {
        let columns = fixture::columns();
        for row in
            ["", "1,2", "1,2,0.5,0.5", "1,2,0.5,0.5,0.5,1", "1,2,x,0.5,0.5", "x,2,,,1", "1,x,1,1,1", "1,2,,,", ",2,,,1"]
        {
            assert_eq!(columns.parse(row, 3), None, "{row}");
        }
        assert!(columns.parse("1,2,NaN,inf,-1e-9", 3).is_some() && columns.parse(",2,,,", 3).is_some());
    }
}
