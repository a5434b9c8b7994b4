//! Pages for people: `report.html` of a run, and the pictures of an evaluation. They work offline and in one piece:
//! style, scripts and charts are part of the page itself.
//!
//! Pages are written with `maud`, which escapes every text that is put into them, such as names of files and settings.

mod chart;
mod curve;
mod evaluation;
mod run;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use curve::Curve;
pub use evaluation::{EvaluationPage, Row};
pub use run::{LossCurve, Outcome, RunPage, Sample};

/// A whole page around `body`.
fn page(title: &str, body: &Markup, script: &str) -> String {
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
                script { (PreEscaped(script)) }
            }
        }
    };
    page.into_string()
}
