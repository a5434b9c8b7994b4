//! The roofline: how fast kernels compute, over how much they compute with each byte.

use maud::{Markup, html};

use super::Kind;
use crate::profile::model::TimeModel;
use crate::profile::peaks::Peaks;
use crate::profile::rows::{Profile, Row};
use crate::report::{compact, round};

/// Width and height of the picture, in pixels of its view box.
const SIDES: [f64; 2] = [1200.0, 440.0];
/// Margins of the plot in pixels: left, right, top, bottom.
const MARGINS: [f64; 4] = [64.0, 16.0, 12.0, 46.0];
/// Least and largest radius of a dot.
const RADII: [f64; 2] = [3.0, 12.0];

/// A logarithmic axis: the exponents of ten at its ends, and the pixels there.
struct Axis {
    exponents: [f64; 2],
    pixels: [f64; 2],
}

impl Axis {
    /// An axis over whole powers of ten that holds `values`, which are above 0.
    fn new(values: impl Iterator<Item = f64>, pixels: [f64; 2]) -> Axis {
        let ends = values.map(f64::log10).fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
            [low.min(value.floor()), high.max(value.ceil())]
        });
        let exponents = if ends[0] < ends[1] { ends } else { [ends[0], ends[0] + 1.0] };
        Axis { exponents, pixels }
    }

    fn at(&self, value: f64) -> f64 {
        let [low, high] = self.exponents;
        let [from, to] = self.pixels;
        round(from + (value.log10() - low) / (high - low) * (to - from))
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.exponents[0] as i32..=self.exponents[1] as i32).map(|exponent| 10f64.powi(exponent))
    }

    fn ends(&self) -> [f64; 2] {
        self.exponents.map(|exponent| 10f64.powf(exponent))
    }
}

/// A row as a dot.
struct Dot<'a> {
    row: &'a Row,
    us: f64,
    /// Floating-point operations for each byte.
    intensity: f64,
    /// The same for each byte of memory; `None` if nothing is known of it, or no byte comes from there.
    of_memory: Option<f64>,
    /// GFLOP/s.
    rate: f64,
}

impl Dot<'_> {
    /// The dot of a row; `None` if it has no arithmetic that is counted, or takes no time.
    fn new(row: &Row) -> Option<Dot<'_>> {
        let us = row.time().filter(|&us| us > 0.0)?;
        let flop = row.flop as f64;
        let bytes = row.l2_bytes.unwrap_or(row.distinct_bytes);
        let is_modelled = row.model_us.is_some() && row.memory_bytes > 0;
        let of_memory = is_modelled.then(|| flop / row.memory_bytes as f64);
        (row.flop > 0 && bytes > 0).then(|| Dot {
            row,
            us,
            intensity: flop / bytes as f64,
            of_memory,
            rate: flop / us / 1e3,
        })
    }

    fn title(&self) -> String {
        let Dot { row, us, intensity, of_memory, rate } = self;
        let memory = of_memory.map_or(String::new(), |of| format!(", {} a byte of memory", compact(of)));
        let bound = row.bound.map_or(String::new(), |bound| format!("; bound by {bound}"));
        let name = [row.layer.as_str(), row.kernel.as_str()].join(" ");
        let (rate, intensity) = (compact(*rate), compact(*intensity));
        format!("{}: {us:.1} us, {rate} GFLOP/s, {intensity} flop a byte{memory}{bound}", name.trim())
    }
}

/// The picture of the rows of `profile`, with the roofs of its device, if these are known; empty if no row has
/// arithmetic that is counted.
pub fn svg(profile: &Profile, roofs: Option<Roofs>) -> Markup {
    let mut dots: Vec<Dot> = profile.kernels.iter().filter_map(Dot::new).collect();
    if dots.is_empty() {
        return html! {};
    }
    // Small dots are drawn above large ones.
    dots.sort_by(|a, b| b.us.total_cmp(&a.us));
    let [left, right, top, bottom] = MARGINS;
    let ridge = roofs.as_ref().map(|roofs| roofs.peak / roofs.memory);
    let peak = roofs.as_ref().map(|roofs| roofs.peak);
    let x = Axis::new(dots.iter().map(|dot| dot.intensity).chain(ridge), [left, SIDES[0] - right]);
    let y = Axis::new(dots.iter().map(|dot| dot.rate).chain(peak), [SIDES[1] - bottom, top]);
    let longest = dots[0].us;
    // The area of a dot is proportional to its time.
    let radius = |us: f64| round((RADII[1] * (us / longest).sqrt()).max(RADII[0]));
    let [width, height] = [SIDES[0] - left - right, SIDES[1] - top - bottom];
    let [bytes, rate] = match profile.modelled {
        Some(_) => ["byte of L2, counted", "GFLOP/s, modelled"],
        None => ["byte that has to move at least once", "GFLOP/s, measured"],
    };
    html! {
        svg viewBox={ "0 0 " (SIDES[0]) " " (SIDES[1]) } role="img" aria-label="Roofline" {
            @for tick in y.ticks() {
                line.grid x1=(left) x2=(SIDES[0] - right) y1=(y.at(tick)) y2=(y.at(tick)) {}
                text.y x=(left - 8.0) y=(y.at(tick) + 4.0) { (compact(tick)) }
            }
            @for tick in x.ticks() {
                line.grid x1=(x.at(tick)) x2=(x.at(tick)) y1=(top) y2=(SIDES[1] - bottom) {}
                text.x x=(x.at(tick)) y=(SIDES[1] - bottom + 17.0) { (compact(tick)) }
            }
            text.x x=(left + width / 2.0) y=(SIDES[1] - 8.0) { "flop a " (bytes) }
            text.x transform={ "translate(14 " (top + height / 2.0) ") rotate(-90)" } { (rate) }
            svg x=(left) y=(top) width=(width) height=(height) viewBox={ (left) " " (top) " " (width) " " (height) } {
                @if let Some(roofs) = &roofs { (roofs.lines(&x, &y)) }
                @for dot in &dots {
                    g class={ "dot " (Kind::of(&dot.row.kernel).class()) } {
                        title { (dot.title()) }
                        @if let Some(of_memory) = dot.of_memory {
                            line x1=(x.at(dot.intensity)) x2=(x.at(of_memory))
                                y1=(y.at(dot.rate)) y2=(y.at(dot.rate)) {}
                            line x1=(x.at(of_memory)) x2=(x.at(of_memory))
                                y1=(y.at(dot.rate) - 4.0) y2=(y.at(dot.rate) + 4.0) {}
                        }
                        circle cx=(x.at(dot.intensity)) cy=(y.at(dot.rate)) r=(radius(dot.us)) {}
                    }
                }
            }
        }
    }
}

/// The roofs of a device: GFLOP/s, and GB/s.
pub struct Roofs {
    peak: f64,
    /// `None` on the CPU, whose caches were not measured.
    l2: Option<f64>,
    memory: f64,
}

impl Roofs {
    pub fn of_gpu(gpu: &TimeModel) -> Roofs {
        let per_second = |per_microsecond: f64| per_microsecond / 1e3;
        Roofs { peak: per_second(2.0 * gpu.fma), l2: Some(per_second(gpu.l2)), memory: per_second(gpu.memory) }
    }

    pub fn of_cpu(peaks: &Peaks) -> Roofs {
        Roofs { peak: peaks.gflop_per_s, l2: None, memory: peaks.gb_per_s }
    }

    fn lines(&self, x: &Axis, y: &Axis) -> Markup {
        let [low, high] = x.ends();
        // A roof begins at the left or at the lower edge.
        let start = |bandwidth: f64| low.max(y.ends()[0] / bandwidth);
        let ends = |bandwidth: f64| [start(bandwidth), self.peak / bandwidth].map(|x| [x, x * bandwidth]);
        let line = |class: &str, [from, to]: [[f64; 2]; 2]| {
            let ([x1, x2], [y1, y2]) = ([from[0], to[0]].map(|v| x.at(v)), [from[1], to[1]].map(|v| y.at(v)));
            html! { line.roof.(class) x1=(x1) x2=(x2) y1=(y1) y2=(y2) {} }
        };
        // The label begins where the upper roof does, and is turned like it.
        let upper = self.l2.map_or(self.memory, |l2| l2.max(self.memory));
        let label = start(upper) * 1.6;
        let rise = (y.at(1.0) - y.at(10.0)) / (x.at(10.0) - x.at(1.0));
        let turned =
            format!("translate({} {}) rotate({})", x.at(label), y.at(label * upper), round(-rise.atan().to_degrees()));
        let l2 = self.l2.map_or(String::new(), |l2| format!("L2 {}B/s; dashed: ", with_prefix(l2)));
        html! {
            @if let Some(l2) = self.l2 { (line("l2", ends(l2))) }
            (line("memory", ends(self.memory)))
            (line("peak", [[self.peak / upper, self.peak], [high, self.peak]]))
            text transform=(turned) y="-7" {
                (l2) "memory " (with_prefix(self.memory)) "B/s"
            }
            text x=(x.at(high) - 6.0) y=(y.at(self.peak) - 6.0) text-anchor="end" {
                "f32 multiply-adds " (with_prefix(self.peak)) "FLOP/s"
            }
        }
    }
}

/// A number of `giga` billions with the prefix of its unit: `4.7 T`, or `201.3 G`.
fn with_prefix(giga: f64) -> String {
    match giga {
        giga if giga >= 1e3 => format!("{} T", compact((giga / 10.0).round() / 100.0)),
        giga => format!("{} G", compact(round(giga))),
    }
}
