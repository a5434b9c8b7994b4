//! The step as a timeline: its launches one after the other, as wide as they are long.

use maud::{Markup, html};

use super::Kind;
use crate::profile::rows::{Launch, Profile, Row};
use crate::report::{compact, round, ticks};

/// Width of the picture, and of the names beside it, in pixels of its view box.
const WIDTH: f64 = 1200.0;
const LEFT: f64 = 96.0;
/// Height of a network's launches, the room below them, and the height of the marks of the longest chain.
const LANE: f64 = 34.0;
const GAP: f64 = 6.0;
const MARK: f64 = 8.0;
/// Width of a letter of a label.
const LETTER: f64 = 6.4;

/// The lane of a row: its network, or the name of its layer.
fn lane(row: &Row) -> &str {
    match row.layer.split('.').next() {
        Some("") | None => "no layer",
        Some(network) => network,
    }
}

/// The layers of a row without their networks, or the first of them, whatever has room in `width` pixels.
fn label(row: &Row, width: f64) -> Option<String> {
    let of_layer = |layer: &str| layer.rsplit('.').next().unwrap_or_default().to_owned();
    let layers: Vec<String> = row.layer.split(" + ").map(of_layer).collect();
    let fits = |label: &String| !label.is_empty() && (label.len() as f64 + 1.0) * LETTER < width;
    [layers.join(" + "), layers[0].clone()].into_iter().find(fits)
}

/// The picture of the launches of `profile`.
pub fn svg(profile: &Profile) -> Markup {
    let row = |launch: &Launch| &profile.kernels[launch.row];
    let mut lanes: Vec<&str> = Vec::new();
    for launch in &profile.timeline {
        let lane = lane(row(launch));
        if !lanes.contains(&lane) {
            lanes.push(lane);
        }
    }
    let total: f64 = profile.timeline.iter().map(|launch| launch.us).sum();
    let scale = (WIDTH - LEFT) / if total > 0.0 { total } else { 1.0 };
    let starts = profile.timeline.iter().scan(0.0, |end, launch| {
        let start = *end;
        *end += launch.us;
        Some(start)
    });
    let launches: Vec<(f64, &Launch)> = starts.zip(&profile.timeline).collect();
    let top = |index: usize| index as f64 * (LANE + GAP);
    let bottom = top(lanes.len()) + MARK;
    let (unit, per_unit) = if total >= 2e4 { ("ms", 1e3) } else { ("us", 1.0) };
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (bottom + 26.0) } role="img" aria-label="Timeline" {
            @for tick in ticks([0.0, total / per_unit], 8) {
                @let at = round(LEFT + tick * per_unit * scale);
                line.grid x1=(at) x2=(at) y1="0" y2=(bottom + 4.0) {}
                text.x x=(at) y=(bottom + 18.0) { (compact(tick)) @if tick == 0.0 { " " (unit) } }
            }
            @for (index, lane) in lanes.iter().enumerate() {
                text.y x=(LEFT - 8.0) y=(top(index) + LANE / 2.0 + 4.0) { (lane) }
            }
            text.y x=(LEFT - 8.0) y=(bottom) { "longest chain" }
            @for &(start, launch) in &launches {
                @let row = row(launch);
                @let (x, width) = (LEFT + start * scale, launch.us * scale);
                @let y = top(lanes.iter().position(|&other| other == lane(row)).unwrap_or(0));
                g class={ "launch " (Kind::of(&row.kernel).class()) } {
                    title { (title(row, start, launch)) }
                    rect x=(round2(x)) y=(y) width=(round2(width)) height=(LANE) {}
                    @if let Some(label) = label(row, width) {
                        text.x x=(round(x + width / 2.0)) y=(y + LANE / 2.0 + 4.0) { (label) }
                    }
                }
                @if launch.critical {
                    rect.chain x=(round2(x)) y=(bottom - MARK) width=(round2(width)) height=(MARK) {}
                }
            }
        }
    }
}

fn title(row: &Row, start: f64, launch: &Launch) -> String {
    let layer = if row.layer.is_empty() { "no layer" } else { &row.layer };
    let bound = row.bound.map_or(String::new(), |bound| format!(", bound by {bound}"));
    let chain = if launch.critical { ", in the longest chain" } else { "" };
    format!("{layer}, {}: {:.1} us{bound}, from {start:.0} us on{chain}", row.kernel, launch.us)
}

/// Launches are narrow: a tenth of a pixel would show.
fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
