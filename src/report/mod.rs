//! Pages for people: `report.html` of a run, and the pictures of an evaluation. They work offline and in one piece:
//! style, scripts and charts are part of the page itself. The page of a profile is written in
//! [`profile`](crate::profile), with what is shared here.
//!
//! Pages are written with `maud`, which escapes every text that is put into them, such as names of files and settings.

mod chart;
mod curve;
mod evaluation;
mod run;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(crate) use chart::{compact, round, ticks};
pub use curve::Curve;
pub use evaluation::{EvaluationPage, Row};
pub use run::{LossCurve, Outcome, RunPage, Sample};

/// A number in a frame, with a line on what it is.
pub(crate) fn tile(value: &str, what: &str) -> Markup {
    html! { div.tile { b { (value) } span { (what) } } }
}

/// A whole page around `body`; `script` may be empty.
pub(crate) fn page(title: &str, body: &Markup, script: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                main { (body) }
                @if !script.is_empty() { script { (PreEscaped(script)) } }
            }
        }
    };
    page.into_string()
}
