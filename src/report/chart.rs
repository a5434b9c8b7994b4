//! Line charts as inline SVG.

use maud::{Markup, html};

/// Width and height of a chart, in the pixels of its view box.
const SIDES: [f64; 2] = [420.0, 210.0];
/// Left margin of the plot, in pixels.
const LEFT: f64 = 46.0;
/// Right margin of the plot, in pixels.
const RIGHT: f64 = 20.0;
/// Upper margin of the plot, in pixels.
const TOP: f64 = 10.0;
/// Lower margin of the plot, in pixels.
const BOTTOM: f64 = 26.0;

/// A line chart of one quantity, a loss or a metric, over the steps or epochs of a run. Points are `[x, y]`, in the
/// order of ascending x; a point whose y is not finite is not drawn.
pub struct Chart<'a> {
    pub title: &'a str,
    /// Text beside the title: the quantity in words, and its better direction.
    pub note: &'a str,
    /// Name of the quantity on the x axis, `step` or `epoch`.
    pub x: &'a str,
    /// Points of the main curve.
    pub line: &'a [[f64; 2]],
    /// Points of the noisy curve that the main one was smoothed from, drawn faintly behind it; empty if there is none.
    pub faint: &'a [[f64; 2]],
    /// A point to mark with a ring, and its label; `None` for no mark.
    pub mark: Option<([f64; 2], &'a str)>,
}

impl Chart<'_> {
    pub fn svg(&self) -> Markup {
        let x = self.x_range();
        let y = self.y_range();
        let position = |[at, value]: [f64; 2]| {
            let [left, right] = [LEFT, SIDES[0] - RIGHT];
            let [bottom, top] = [SIDES[1] - BOTTOM, TOP];
            [
                left + (at - x[0]) / (x[1] - x[0]) * (right - left),
                bottom - (value - y[0]) / (y[1] - y[0]) * (bottom - top),
            ]
        };
        let line = |points: &[[f64; 2]]| -> String {
            let finite = points.iter().filter(|[_, value]| value.is_finite());
            finite.map(|&point| position(point)).map(|[x, y]| format!("{x:.1},{y:.1} ")).collect()
        };
        let last = self.line.iter().rfind(|point| point[1].is_finite());
        html! {
            figure.chart {
                figcaption {
                    b { (self.title) }
                    @if let Some(last) = last { output { (compact(last[1])) } }
                    span { (self.note) }
                }
                // The script reads values off the curve with these numbers.
                svg viewBox={ "0 0 " (SIDES[0]) " " (SIDES[1]) } role="img" aria-label=(self.title) data-x=(self.x)
                    data-range={ (x[0]) " " (x[1]) " " (y[0]) " " (y[1]) }
                    data-plot={ (LEFT) " " (SIDES[0] - RIGHT) " " (SIDES[1] - BOTTOM) " " (TOP) } {
                    @for tick in ticks(y, 4) {
                        @let [_, at] = position([x[0], tick]);
                        line.grid x1=(LEFT) x2=(SIDES[0] - RIGHT) y1=(round(at)) y2=(round(at)) {}
                        text.y x=(LEFT - 6.0) y=(round(at + 3.5)) { (compact(tick)) }
                    }
                    @for tick in ticks(x, 6).into_iter().filter(|tick| tick.fract() == 0.0) {
                        @let [at, _] = position([tick, y[0]]);
                        text.x x=(round(at)) y=(SIDES[1] - BOTTOM + 17.0) { (compact(tick)) }
                    }
                    svg x=(LEFT) y=(TOP) width=(SIDES[0] - LEFT - RIGHT) height=(SIDES[1] - TOP - BOTTOM)
                        viewBox={ (LEFT) " " (TOP) " " (SIDES[0] - LEFT - RIGHT) " " (SIDES[1] - TOP - BOTTOM) } {
                        @if !self.faint.is_empty() { polyline.faint points=(line(self.faint)) {} }
                        polyline.line points=(line(self.line)) {}
                    }
                    @if self.line.len() == 1 && let Some(&only) = last { (dot(position(only), "only", self.title)) }
                    @if let Some((point, what)) = self.mark { (dot(position(point), "mark", what)) }
                    line.cursor y1=(TOP) y2=(SIDES[1] - BOTTOM) visibility="hidden" {}
                }
            }
        }
    }

    fn x_range(&self) -> [f64; 2] {
        let ends = [self.line.first(), self.line.last()].map(|end| end.map_or(0.0, |point| point[0]));
        if ends[0] < ends[1] { ends } else { [ends[0] - 1.0, ends[0] + 1.0] }
    }

    /// The range of y: all of the line, and the faint curve without outliers, as single steps may be wild.
    fn y_range(&self) -> [f64; 2] {
        let mut faint: Vec<f64> = self.faint.iter().map(|point| point[1]).filter(|value| value.is_finite()).collect();
        faint.sort_unstable_by(f64::total_cmp);
        let far_out = faint.len() / 100;
        let shown = faint[far_out..faint.len() - far_out].iter().copied();
        let values = self.line.iter().map(|point| point[1]).filter(|value| value.is_finite()).chain(shown);
        let [low, high] =
            values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
        let room = match high - low {
            width if width > 0.0 => 0.06 * width,
            // One value, or none at all.
            0.0 => (0.1 * high.abs()).max(1e-6),
            _ => return [0.0, 1.0],
        };
        // Losses and errors are not negative: the margin below does not make them look so.
        [if low >= 0.0 { (low - room).max(0.0) } else { low - room }, high + room]
    }
}

fn dot([x, y]: [f64; 2], class: &str, what: &str) -> Markup {
    html! { circle class=(class) cx=(round(x)) cy=(round(y)) r="4" { title { (what) } } }
}

/// Rounds a coordinate to a tenth of a pixel.
pub fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Returns round numbers in the range from `low` to `high`, about `count` of them.
pub fn ticks([low, high]: [f64; 2], count: usize) -> Vec<f64> {
    let raw = (high - low) / count as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= raw).unwrap_or(raw);
    // Ticks are counted in whole steps: repeated sums of 0.1 miss round numbers.
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|n| n as f64 * step).collect()
}

/// Returns `value` as text with about four significant digits and no trailing zeros; from 1e4 on in thousands, with the
/// suffix `k`, and from 1e7 on in millions, with `M`.
pub fn compact(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e7 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 1,
        size if size >= 1.0 => 3,
        size => 3 - (size.log10().floor().max(-9.0) as i32),
    };
    let text = format!("{value:.*}", digits as usize);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks([0.0, 1.0], 4).iter().map(|&tick| compact(tick)).collect::<Vec<_>>(), ["0", "0.5", "1"]);
        assert_eq!(ticks([0.11, 0.39], 4), [0.2, 0.30000000000000004]);
        assert_eq!(ticks([-5.0, 80_000.0], 5), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0]);
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.30000000000000004, "0.3"),
            (12.3456, "12.346"),
            (0.000_212_345, "0.0002123"),
            (80_000.0, "80k"),
            (1234.0, "1234"),
            (20_000_000.0, "20M"),
            (-0.5, "-0.5"),
        ];
        for (value, text) in cases {
            assert_eq!(compact(value), text);
        }
    }

    #[test]
    fn a_chart_of_nothing_and_of_one_point_can_be_drawn() {
        let chart = |line: &[[f64; 2]]| {
            Chart { title: "a <i>", note: "", x: "step", line, faint: &[], mark: None }.svg().into_string()
        };
        for line in [&[][..], &[[5.0, 0.0]], &[[5.0, f64::INFINITY], [6.0, 1.0]]] {
            let svg = chart(line);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("a &lt;i&gt;") && !svg.contains("<i>"), "{svg}");
        }
        assert!(chart(&[[5.0, 0.0]]).contains("<circle class=\"only\""));
    }
}
