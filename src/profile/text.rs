//! A profile as the lines of a table.

use super::columns::{Column, columns};
use super::rows::{Profile, Total};
use crate::inspect::table;

/// Formats `profile`: what it is of, a line for each row, and the whole step.
pub fn lines(profile: &Profile) -> Vec<String> {
    let Profile { subject, device, batch, step, .. } = profile;
    let mut lines = vec![format!("{subject}, batch {batch}, on {device}"), provenance(profile)];
    lines.extend(profile.peaks.map(|peaks| format!("Peaks, measured: {peaks}")));
    lines.push(String::new());
    let [names, numbers] = columns(profile);
    let columns = || names.iter().chain(&numbers);
    let mut cells: Vec<Vec<String>> = vec![columns().map(|column| column.head.to_owned()).collect()];
    let cell = |column: &Column, row| (column.cell)(row).unwrap_or_else(|| "-".to_owned());
    cells.extend(profile.kernels.iter().map(|row| columns().map(|column| cell(column, row)).collect()));
    lines.extend(table(&cells, names.len()));
    lines.push(String::new());
    lines.push(format!("The step: {} launches", step.launches));
    lines.extend(totals(step).iter().map(|(us, what)| format!("  {:>10}  {what}", milliseconds(*us))));
    lines
}

/// Returns a sentence that says which numbers were counted, modelled or measured.
pub fn provenance(profile: &Profile) -> String {
    match &profile.modelled {
        Some(gpu) => format!(
            "Requests are counted on some blocks of each launch; times are modelled for one {gpu}, and nobody has \
             measured by how much they are wrong"
        ),
        None => "Times are measured: the least of five executions".to_owned(),
    }
}

/// Returns the times of the whole step that are known, in microseconds, each with what it is.
pub fn totals(step: &Total) -> Vec<(f64, &'static str)> {
    let times = [
        (step.us, "measured"),
        (step.model_us, "modelled, one launch after another"),
        (step.critical_us, "modelled, the longest chain of launches that wait for each other"),
        (step.floor_us, "modelled, the floor of f32 arithmetic and memory"),
    ];
    times.into_iter().filter_map(|(us, what)| Some((us?, what))).collect()
}

pub fn milliseconds(us: f64) -> String {
    format!("{:.3} ms", us / 1e3)
}
