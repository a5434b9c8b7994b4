//! A profile as the lines of a table.

use super::rows::{Profile, Row, Total};
use crate::inspect::table;

/// Formats `profile`: what it is of, a line for each row, and the whole step.
pub fn lines(profile: &Profile) -> Vec<String> {
    let Profile { subject, device, batch, modelled, kernels, step } = profile;
    let mut lines = vec![format!("{subject}, batch {batch}, on {device}")];
    lines.push(match modelled {
        Some(gpu) => format!(
            "Requests are counted on some blocks of each launch; times are modelled for one {gpu}, and nobody has \
             measured by how much they are wrong"
        ),
        None => "Times are measured: the least of five executions".to_owned(),
    });
    lines.push(String::new());
    lines.extend(match modelled {
        Some(_) => counted(kernels),
        None => measured(kernels),
    });
    lines.push(String::new());
    lines.extend(total(step));
    lines
}

fn or_dash<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

fn counted(rows: &[Row]) -> Vec<String> {
    let heads = [
        "layer",
        "kernel",
        "bound",
        "launches",
        "blocks",
        "waves",
        "GFLOP",
        "memory MB",
        "L2 MB",
        "coalesced",
        "conflicts",
        "registers",
        "shared",
        "us modelled",
    ];
    let mut cells = vec![heads.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.layer.clone(),
            row.kernel.clone(),
            or_dash(row.bound, str::to_owned),
            row.launches.to_string(),
            or_dash(row.blocks, |blocks| blocks.to_string()),
            or_dash(row.waves, |waves| format!("{waves:.2}")),
            format!("{:.2}", row.flop as f64 / 1e9),
            megabytes(row.memory_bytes),
            or_dash(row.l2_bytes, megabytes),
            or_dash(row.coalesced, |share| format!("{:.0} %", share * 100.0)),
            or_dash(row.shared_excess, |excess| format!("{excess:.2}")),
            or_dash(row.registers, |registers| registers.to_string()),
            or_dash(row.shared_bytes, |bytes| bytes.to_string()),
            or_dash(row.model_us, |us| format!("{us:.1}")),
        ]
    }));
    table(&cells, 3)
}

fn measured(rows: &[Row]) -> Vec<String> {
    let mut cells = vec![["layer", "kernel", "launches", "GFLOP", "MB", "us"].map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.layer.clone(),
            row.kernel.clone(),
            row.launches.to_string(),
            format!("{:.2}", row.flop as f64 / 1e9),
            megabytes(row.distinct_bytes),
            or_dash(row.us, |us| format!("{us:.1}")),
        ]
    }));
    table(&cells, 2)
}

fn total(step: &Total) -> Vec<String> {
    let ms = |us: f64| format!("{:.3} ms", us / 1e3);
    let mut lines = vec![format!("The step: {} launches", step.launches)];
    let numbers = [
        ("measured", step.us),
        ("modelled, one launch after another", step.model_us),
        ("modelled, the longest chain of launches that wait for each other", step.critical_us),
        ("floor of f32 arithmetic and memory", step.floor_us),
    ];
    lines.extend(numbers.iter().filter_map(|&(what, us)| Some(format!("  {:>10}  {what}", ms(us?)))));
    lines
}
