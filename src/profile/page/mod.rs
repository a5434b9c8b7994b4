//! The page of a profile: the roofline, the step as a timeline, and the table, in one file without references.

mod kind;
mod roofline;
mod timeline;

use maud::{Markup, html};

use super::columns::{Column, Source, columns};
use super::model::TimeModel;
use super::rows::{Profile, Row};
use super::text::{milliseconds, totals};
use crate::report::{page, tile};
use kind::Kind;
use roofline::Roofs;

/// Returns the page of `profile` as HTML; `gpu` is the model of its GPU, `None` if there is none.
pub fn html(profile: &Profile, gpu: Option<&TimeModel>) -> String {
    let is_gpu = profile.kernels.iter().any(|row| row.blocks.is_some());
    let body = html! {
        header {
            h1 { (profile.subject) }
            span.soft { "batch " (profile.batch) ", on " (profile.device) }
        }
        div.tiles {
            (tile(&profile.step.launches.to_string(), if is_gpu { "launches of kernels" } else { "steps" }))
            @for (us, what) in totals(&profile.step) { (tile(&milliseconds(us), what)) }
        }
        (sources(profile))
        h2 { "By kind of kernel" }
        (kinds(profile))
        h2 { "Roofline" }
        (roofline(profile, gpu))
        h2 { "Timeline" }
        p {
            "The step from left to right, one launch after another, each as wide as it is long. The marks below show "
            "the longest chain of launches that wait for each other: no other order and no overlap makes the step "
            "shorter than that, " (chain(profile)) "."
        }
        figure.chart { div.scroll { (timeline::svg(profile)) } }
        h2 { "Kernels" }
        (table(profile))
        h2 { "Columns" }
        (legend(profile))
    };
    page(&format!("{} – pixtape", profile.subject), &body, "")
}

/// The kinds of numbers on the page: counted, modelled and measured.
fn sources(profile: &Profile) -> Markup {
    let sources = match &profile.modelled {
        Some(gpu) => vec![
            (Source::Counted, "requests, sectors, L2 traffic and wavefronts, on some blocks of each launch".to_owned()),
            (
                Source::Modelled,
                format!(
                    "all times, of one {gpu}: from the counts, the machine code and the constants of the model. Nobody \
                     has measured by how much they are wrong"
                ),
            ),
            (Source::Measured, "nothing: no GPU was used".to_owned()),
        ],
        None => vec![
            (Source::Recorded, "arithmetic and bytes, from the shapes of the step".to_owned()),
            match profile.peaks {
                Some(peaks) => (Source::Measured, format!("the peaks of this machine: {peaks}")),
                None => (Source::Modelled, "nothing but the roofs of the roofline, where there are any".to_owned()),
            },
            (Source::Measured, "all times: the least of five executions".to_owned()),
        ],
    };
    html! {
        table.sources { @for (source, what) in sources { tr { th { (source.name()) } td { (what) } } } }
    }
}

fn chain(profile: &Profile) -> String {
    milliseconds(profile.timeline.iter().filter(|launch| launch.critical).map(|launch| launch.us).sum())
}

/// The time of each kind of kernel, which is also the legend of the charts.
fn kinds(profile: &Profile) -> Markup {
    let us = |row: &Row| row.time().unwrap_or(0.0);
    let total: f64 = profile.kernels.iter().map(us).sum();
    html! {
        div.scroll { table.kinds {
            tr { th {} th.number { "launches" } th.number { "us" } th {} th {} }
            @for kind in Kind::ALL {
                @let rows = || profile.kernels.iter().filter(|row| Kind::of(&row.kernel) == kind);
                @let time = rows().map(us).sum::<f64>();
                @if rows().next().is_some() {
                    tr {
                        td { i.swatch.(kind.class()) {} (kind.describe()) }
                        td.number { (rows().map(|row| row.launches).sum::<usize>()) }
                        td.number { (format!("{time:.1}")) }
                        td.number { (format!("{:.0} %", 100.0 * time / total)) }
                        td { (bar(time / total, kind)) }
                    }
                }
            }
        } }
    }
}

/// A bar as long as `share` of its room.
fn bar(share: f64, kind: Kind) -> Markup {
    html! { div.bar { div.(kind.class()) style={ "width:" (format!("{:.1}", 100.0 * share)) "%" } {} } }
}

fn roofline(profile: &Profile, gpu: Option<&TimeModel>) -> Markup {
    let roofs = gpu.map(Roofs::of_gpu).or(profile.peaks.as_ref().map(Roofs::of_cpu));
    let without = profile.kernels.iter().filter(|row| row.flop == 0).count();
    html! {
        p {
            "A dot for each row of the table that has arithmetic; its area is its time. "
            @match (&profile.modelled, gpu, profile.peaks) {
                (Some(_), ..) => {
                    "Its place from left to right is the arithmetic for each byte between the multiprocessors and L2: "
                    "that is what the tiles of a kernel decide. The line beside it ends at the arithmetic for each "
                    "byte of memory, which depends on what the steps before have left in L2, and on what has to be "
                    "written back for it. No dot can be above the roof of L2, and no end of a line above that of "
                    "memory. A dot far below its roofs waits, or has too few blocks."
                }
                (None, Some(_), _) => {
                    "Its place from left to right is the arithmetic for each byte that has to move at least once. The "
                    "roofs are those of the time model, which nobody has measured on this machine."
                }
                (None, None, Some(_)) => {
                    "Its place from left to right is the arithmetic for each byte that has to move at least once. The "
                    "roofs are the measured peaks of this machine. A dot can be above them: the arithmetic is that of "
                    "a convolution's definition, of which Winograd's method needs less, and caches hold what the steps "
                    "before have written."
                }
                (None, None, None) => {
                    "Its place from left to right is the arithmetic for each byte that has to move at least once. "
                    "There are no roofs, because nobody has measured the peaks of this machine."
                }
            }
            " The other " (without) " rows are in the table alone."
        }
        figure.chart { div.scroll { (roofline::svg(profile, roofs)) } }
    }
}

fn table(profile: &Profile) -> Markup {
    let [names, numbers] = columns(profile);
    let longest = profile.kernels.iter().filter_map(Row::time).fold(0.0, f64::max);
    let cell = |column: &Column, row: &Row| (column.cell)(row).unwrap_or_else(|| "–".to_owned());
    html! {
        div.scroll { table.kernels {
            thead { tr {
                @for column in &names { th title=(column.meaning) { (column.head) } }
                th {}
                @for column in &numbers { th.number title=(column.meaning) { (column.head) } }
            } }
            tbody { @for row in &profile.kernels {
                @let kind = Kind::of(&row.kernel);
                tr {
                    @for (index, column) in names.iter().enumerate() {
                        td { @if index == 0 { i.swatch.(kind.class()) {} } (cell(column, row)) }
                    }
                    td { (bar(row.time().unwrap_or(0.0) / longest.max(f64::MIN_POSITIVE), kind)) }
                    @for column in &numbers { td.number { (cell(column, row)) } }
                }
            } }
        } }
    }
}

/// The meanings of the table's columns.
fn legend(profile: &Profile) -> Markup {
    let [names, numbers] = columns(profile);
    html! {
        table.sources { @for column in names.iter().chain(&numbers) {
            tr { th { (column.head) } td.soft { (column.source.name()) } td { (column.meaning) } }
        } }
    }
}
