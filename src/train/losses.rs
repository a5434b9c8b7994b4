//! `losses.csv`: one row for every step, with full precision. The cell of a term that the run does not have is empty. A
//! row whose losses were lost has the step alone.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::base::files::replace;
use crate::gan::Term;

/// The first columns of every table.
const INDEX_COLUMNS: [&str; 2] = ["epoch", "step"];
/// The loss columns that every table has, even if the run lacks the term.
const COMMON_COLUMNS: [&str; 6] = ["d", "adv", "pixel", "g", "d_real", "d_fake"];
/// The number of loss columns in the tables of the first versions: the first of [`COMMON_COLUMNS`].
const MIN_LOSS_COLUMNS: usize = 3;

/// The loss columns of `losses.csv`, which follow the columns `epoch` and `step`: the six that every table has, then
/// the other loss terms of the run. A column whose term the run lacks has empty cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    names: Vec<&'static str>,
    /// Index of the term in each column, if the run has it.
    terms: Vec<Option<usize>>,
}

impl Columns {
    pub fn new(terms: &[Term]) -> Columns {
        let others = terms.iter().map(|term| term.name).filter(|name| !COMMON_COLUMNS.contains(name));
        let names: Vec<&str> = COMMON_COLUMNS.into_iter().chain(others).collect();
        let index = |name: &&str| terms.iter().position(|term| term.name == *name);
        Columns { terms: names.iter().map(index).collect(), names }
    }

    /// Returns the number of loss columns.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    pub fn header(&self) -> String {
        self.header_of(self.names.len())
    }

    fn header_of(&self, columns: usize) -> String {
        [&INDEX_COLUMNS[..], &self.names[..columns]].concat().join(",")
    }

    /// Returns how many of these loss columns the table with the first line `header` has: all of them, or in a table of
    /// an earlier version the first three or more. `None` if it is no such table.
    pub fn count_in_header(&self, header: &str) -> Option<usize> {
        (MIN_LOSS_COLUMNS..=self.names.len()).find(|&columns| self.header_of(columns) == header)
    }

    /// Returns the row of a step, without a line end: `epoch` and `step` count from 1, and `values` are those of the
    /// run's terms, in their order.
    fn row(&self, epoch: u64, step: u64, values: &[f32]) -> String {
        let cell = |term: &Option<usize>| term.map_or_else(String::new, |term| values[term].to_string());
        let cells: Vec<String> = self.terms.iter().map(cell).collect();
        format!("{epoch},{step},{}", cells.join(","))
    }

    /// Returns the row, without a line end, of a step whose losses were lost: the number `step` alone, and empty cells.
    pub fn lost_row(&self, step: u64) -> String {
        format!(",{step}{}", ",".repeat(self.names.len()))
    }

    /// Returns `row`, which has `columns` loss columns, with empty cells appended for the other columns.
    ///
    /// # Panics
    /// If `columns` is more than [`Columns::count`].
    pub fn padded(&self, row: &str, columns: usize) -> String {
        format!("{row}{}", ",".repeat(self.names.len() - columns))
    }

    /// Parses `row`, `epoch,step` and `columns` losses, separated by commas. Returns the step and the values of the
    /// run's terms, in the order of `terms` in [`Columns::new`]; a value is `None` if its cell is empty or missing.
    /// Returns `None` for the whole if `row` is malformed: another number of cells, or a cell that is no number.
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

/// `losses.csv`, open for appending rows. Rows may wait in a buffer until [`LossLog::flush`] or [`LossLog::sync`].
pub struct LossLog {
    path: PathBuf,
    columns: Columns,
    file: BufWriter<File>,
}

impl LossLog {
    /// Creates the file at `path`, in place of an existing one, with a header line and the rows `earlier`, which have
    /// no line ends, and opens it for appending.
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

    /// Appends the row of a step. `epoch` and `step` count from 1; `values` are those of the run's terms, in the order
    /// of `terms` in [`Columns::new`].
    ///
    /// # Errors
    /// When the file cannot be written.
    ///
    /// # Panics
    /// If there are fewer values than terms.
    pub fn add(&mut self, epoch: u64, step: u64, values: &[f32]) -> Result<()> {
        writeln!(self.file, "{}", self.columns.row(epoch, step, values)).with_context(|| self.cannot_write())
    }

    /// Writes the buffered rows to the file, where other programs can read them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().with_context(|| self.cannot_write())
    }

    /// Writes the buffered rows to the file and forces it to the disk (fsync). To be called before a checkpoint is
    /// saved, which must not be ahead of the rows of its steps.
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
    use crate::gan::{Term, TermValue};

    /// The columns of a run that has a discriminator's total, a pixel loss and a term beyond the usual ones.
    pub fn columns() -> Columns {
        let term = |name| Term { name, title: "", note: "", is_detail: false, value: TermValue::Losses(vec![1.0]) };
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
        assert_eq!(columns.count_in_header("epoch,step,d,adv,pixel"), Some(3));
        assert_eq!(columns.count_in_header(&columns.header()), Some(7));
        assert_eq!(columns.count_in_header("epoch,step,d,adv"), None);
        assert_eq!(columns.count_in_header("epoch,step,d,adv,pixel,other"), None);
        let row = columns.padded("1,2,0.5,,0.25", 3);
        assert_eq!(row, "1,2,0.5,,0.25,,,,");
        assert_eq!(columns.parse(&row, 7), Some((2, vec![Some(0.5), Some(0.25), None])));
        assert_eq!(columns.parse(&columns.padded(",2,,,", 3), 7), Some((2, vec![None; 3])));
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
