//! `losses.csv` and `metrics.csv` of a resumed run. Both agree with the checkpoint, except for later rows of a run that
//! was killed. A table that does not agree is kept under another name before it is written anew, and a message says so.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::losses::Columns;
use crate::base::files::{self, write_atomically};
use crate::base::progress::say;
use crate::base::words::count;
use crate::metrics::{Validation, to_csv};

/// Separator between the name of a table that is kept and its number.
const KEPT: &str = "-kept-";

/// Returns true for the name of a file to which an earlier table was copied, such as `losses-kept-1.csv`.
pub fn is_kept(name: &str) -> bool {
    let number = ["losses", "metrics"].iter().find_map(|stem| name.strip_prefix(stem)?.strip_prefix(KEPT));
    number.and_then(|number| number.strip_suffix(".csv")).is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Reads the `losses.csv` at `path`. Returns the rows of steps 1 to `steps_done`, in order and without line ends, with
/// cells for all of `columns`; those that an older table lacks are empty. A row that is missing or malformed is
/// replaced by [`Columns::lost_row`]. Rows of later steps and an unfinished last line are dropped. With any other
/// fault, the table is first copied to
/// `losses-kept-N.csv`, and a message says so.
///
/// # Errors
/// When the file exists but cannot be read, or the copy cannot be written.
pub fn losses_until(path: &Path, columns: &Columns, steps_done: u64) -> Result<Vec<String>> {
    let Some(bytes) = read(path)? else {
        if steps_done > 0 {
            say(&format!(
                "{} is missing: a new one begins, whose rows until step {steps_done} are empty",
                path.display()
            ));
        }
        return Ok((1..=steps_done).map(|step| columns.lost_row(step)).collect());
    };
    let (rows, fault) = read_losses(&bytes, columns, steps_done);
    if let Some(fault) = fault {
        let lost = (1..).zip(&rows).filter(|(step, row)| **row == columns.lost_row(*step)).count();
        let lost = match lost {
            0 => String::new(),
            lost => format!("; without losses in the new one: {}", count(lost, "row")),
        };
        keep(path, &bytes, &format!("{fault}{lost}"))?;
    }
    Ok(rows)
}

/// The rows up to `steps_done`, and a description of the first fault in the table, if any.
fn read_losses(bytes: &[u8], columns: &Columns, steps_done: u64) -> (Vec<String>, Option<String>) {
    // A row that a kill has cut short has no line end.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &bytes[..end]);
    let mut lines = whole.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
    let known = columns.count_in_header(&lines.next().unwrap_or_default());
    let mut fault = known.is_none().then(|| format!("it does not begin with {}", columns.header()));
    let mut rows: Vec<Option<String>> = Vec::new();
    let mut last = 0_u64;
    for (row, line) in lines.zip(2..) {
        // Rows may be good even if the header is damaged.
        let found = known.or_else(|| row.matches(',').count().checked_sub(1)).filter(|&found| found <= columns.count());
        let Some((step, found)) = found.and_then(|found| Some((columns.parse(&row, found)?.0, found))) else {
            fault.get_or_insert(format!("its line {line} is not the row of a step"));
            continue;
        };
        if Some(step) != last.checked_add(1) {
            fault.get_or_insert(format!("its line {line} is of step {step}, and the one before of step {last}"));
        }
        last = step;
        if (1..=steps_done).contains(&step) {
            let index = (step - 1) as usize;
            rows.resize(rows.len().max(index + 1), None);
            rows[index].get_or_insert_with(|| columns.padded(&row, found));
        }
    }
    if (rows.len() as u64) < steps_done {
        fault.get_or_insert(format!("it ends after step {}, before the checkpoint of step {steps_done}", rows.len()));
    }
    rows.resize(steps_done as usize, None);
    let rows = (1..).zip(rows).map(|(step, row)| row.unwrap_or_else(|| columns.lost_row(step)));
    (rows.collect(), fault)
}

/// Compares the `metrics.csv` at `path` with `history`, the validations in the checkpoint. If it does not begin with
/// them, or goes on with anything but later validations, it is copied to `metrics-kept-N.csv`, and a message says so.
///
/// # Errors
/// When the file exists but cannot be read, or the copy cannot be written.
pub fn keep_stale_metrics(path: &Path, history: &[Validation]) -> Result<()> {
    let Some(bytes) = read(path)? else {
        if !history.is_empty() {
            say(&format!("{} is missing: it is written again from the checkpoint", path.display()));
        }
        return Ok(());
    };
    let last = history.last().map_or(0, |last| last.step);
    let later = bytes.strip_prefix(to_csv(history).as_bytes()).map(String::from_utf8_lossy);
    let is_good = later.is_some_and(|rows| {
        let mut steps = rows.lines().map(step_of_metrics);
        steps.try_fold(last, |last, step| step.filter(|step| *step > last)).is_some()
    });
    match is_good {
        true => Ok(()),
        false => keep(path, &bytes, "it does not hold the results of the checkpoint"),
    }
}

/// The step of a row of `metrics.csv`.
fn step_of_metrics(row: &str) -> Option<u64> {
    let (cells, values): (Vec<&str>, Vec<&str>) = (row.split(',').take(2).collect(), row.split(',').skip(2).collect());
    let [epoch, step] = cells[..] else { return None };
    let is_row = values.len() == 3 && values.iter().all(|value| value.parse::<f64>().is_ok());
    epoch.parse::<u64>().ok().filter(|_| is_row)?;
    step.parse().ok()
}

/// Returns the largest step in the rows of the `losses.csv` at `path`; 0 if there is no file or no row.
///
/// # Errors
/// When the file exists but cannot be read.
pub fn last_step(path: &Path) -> Result<u64> {
    let text = read(path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let step = |line: &str| line.split(',').nth(1)?.parse().ok();
    Ok(text.lines().filter_map(step).max().unwrap_or(0))
}

/// Copies the table at `path`, that of a run that starts over, to the first free name `NAME-kept-N.csv` beside it, if
/// it has rows. The table itself stays.
///
/// # Errors
/// When the table exists but cannot be read, or the copy cannot be written.
pub fn keep_copy(path: &Path) -> Result<()> {
    match read(path)? {
        Some(bytes) if bytes.iter().filter(|byte| **byte == b'\n').count() > 1 => {
            keep(path, &bytes, "it is of the run that is started over")
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match files::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes `bytes`, the contents of a table, to the first free `NAME-kept-N.csv` beside it.
fn keep(path: &Path, bytes: &[u8], why: &str) -> Result<()> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let names = (1_u32..).map(|number| path.with_file_name(format!("{stem}{KEPT}{number}.csv")));
    let free: Option<PathBuf> = names.into_iter().find(|kept| kept.symlink_metadata().is_err());
    let kept = free.with_context(|| format!("there is no free name beside {}", path.display()))?;
    write_atomically(&kept, bytes)?;
    say(&format!("{} is written anew and was kept as {}: {why}", path.display(), kept.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::losses::fixture::columns;

    /// A table of an earlier version, with three columns of losses.
    const GOOD: &str = "epoch,step,d,adv,pixel\n1,1,0.5,,0.25\n1,2,0.5,,0.25\n2,3,0.5,,0.25\n2,4,NaN,,0.25\n";

    fn rows_of(text: &str, steps: u64) -> (Vec<String>, Option<String>) {
        read_losses(text.as_bytes(), &columns(), steps)
    }

    fn row(step: u64) -> String {
        columns().padded(GOOD.lines().nth(step as usize).unwrap(), 3)
    }

    #[test]
    fn later_rows_and_a_torn_one_are_cut_off_silently() {
        for text in [GOOD.to_owned(), format!("{GOOD}2,5,0.5,"), format!("{GOOD}2,5,0.5,,0.25\n")] {
            for steps in 0..=4 {
                let (rows, fault) = rows_of(&text, steps);
                assert_eq!(fault, None, "{text}");
                assert_eq!(rows, (1..=steps).map(row).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn every_other_fault_is_named_and_the_rows_beside_it_stay() {
        for (text, words, lost) in [
            (String::new(), "does not begin with epoch", &[1, 2, 3][..]),
            (GOOD.replace("epoch,", "time,"), "does not begin with epoch", &[]),
            (GOOD.replace("1,2,0.5", "1,2,x"), "line 3 is not the row of a step", &[2]),
            (GOOD.replace("1,2,0.5,,0.25", ""), "line 3 is not the row of a step", &[2]),
            (GOOD.replace("1,2,0.5,,0.25\n", ""), "line 3 is of step 3, and the one before of step 1", &[2]),
            (GOOD.replace("1,2,", "1,7,"), "line 3 is of step 7, and the one before of step 1", &[2]),
            (GOOD.replace("1,2,0.5", "1,1,9"), "line 3 is of step 1, and the one before of step 1", &[2]),
            (GOOD.replace("2,4,", "2,3,"), "line 5 is of step 3, and the one before of step 3", &[]),
            (GOOD.replace("NaN,,0.25", "NaN,,0.25,1"), "line 5 is not the row of a step", &[]),
            (GOOD[..GOOD.len() - 28].to_owned(), "ends after step 2, before the checkpoint of step 3", &[3]),
            (GOOD[..GOOD.len() - 20].to_owned(), "ends after step 2, before the checkpoint of step 3", &[3]),
        ] {
            let (rows, fault) = rows_of(&text, 3);
            assert!(fault.as_ref().is_some_and(|fault| fault.contains(words)), "{text}: {fault:?}");
            let expected: Vec<String> =
                (1..=3).map(|step| if lost.contains(&step) { columns().lost_row(step) } else { row(step) }).collect();
            assert_eq!(rows, expected, "{text}");
            // The table written from these rows has no fault.
            let text = format!("{}\n{}\n", columns().header(), rows.join("\n"));
            assert_eq!(rows_of(&text, 3), (rows, None));
        }
    }

    #[test]
    fn tables_are_kept_under_names_of_their_own() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("losses.csv");
        for number in 1..=3 {
            std::fs::write(&path, format!("{number}\n")).unwrap();
            losses_until(&path, &columns(), 1).unwrap();
        }
        for number in 1..=3 {
            let name = format!("losses-kept-{number}.csv");
            assert!(is_kept(&name));
            assert_eq!(std::fs::read_to_string(run.path().join(name)).unwrap(), format!("{number}\n"));
        }
        assert!(!is_kept("losses-kept-x.csv") && !is_kept("losses.csv") && !is_kept("my-losses-kept-1.csv"));
    }
}
