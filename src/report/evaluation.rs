//! The page of an evaluation: input, output and target of every pair, sortable by each metric.

use maud::{Markup, html};

use super::page;
use crate::metrics::{Metric, Metrics, Statistics};

/// The contents of the page of an evaluation: a heading, statistics, and input, output and target of every pair.
/// [`EvaluationPage::html`] returns the page as HTML.
pub struct EvaluationPage<'a> {
    /// The subject of the evaluation in a few words, the heading of the page.
    pub title: &'a str,
    /// Lines on the evaluation, below the heading.
    pub about: &'a [String],
    pub rows: &'a [Row],
}

/// An evaluated pair: its name, L1, PSNR and SSIM between output and target, and its picture files.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub metrics: Metrics,
    /// Paths of input, output and target, relative to the page.
    pub files: [String; 3],
}

impl EvaluationPage<'_> {
    pub fn html(&self) -> String {
        let body = html! {
            header { h1 { (self.title) } }
            @for line in self.about { p { (line) } }
            (self.table())
            div.sort {
                span.soft { "Sort by" }
                button type="button" data-key="index" data-name="name" { "name" }
                @for metric in Metric::ALL {
                    button type="button" data-key=(key(metric)) data-name=(metric.name()) { (metric.name()) }
                }
            }
            div.pairs { @for (index, row) in self.rows.iter().enumerate() { (self.row(index, row)) } }
        };
        page(&format!("{} – pixtape", self.title), &body, include_str!("evaluation.js"))
    }

    fn table(&self) -> Markup {
        let all: Vec<Metrics> = self.rows.iter().map(|row| row.metrics).collect();
        html! {
            div.scroll { table {
                tr { th {} @for head in ["mean", "deviation", "least", "most"] { th.number { (head) } } th {} }
                @for metric in Metric::ALL {
                    @let Statistics { mean, deviation, min, max } = Statistics::new(metric, &all);
                    tr {
                        th { (metric.name()) }
                        @for value in [mean, deviation, min, max] { td.number { (metric.format(value)) } }
                        td.soft { (metric.description()) }
                    }
                }
            } }
        }
    }

    fn row(&self, index: usize, row: &Row) -> Markup {
        let Metrics { l1, psnr, ssim } = row.metrics;
        // JavaScript's name of infinity.
        let psnr_value = if psnr.is_infinite() { "Infinity".to_owned() } else { psnr.to_string() };
        html! {
            figure.pair data-index=(index) data-l1=(l1) data-psnr=(psnr_value) data-ssim=(ssim) {
                figcaption {
                    b { (row.name) }
                    @for metric in Metric::ALL {
                        span { (metric.name()) " " (metric.format(metric.value(&row.metrics))) }
                    }
                }
                div { @for (file, what) in row.files.iter().zip(["input", "output", "target"]) {
                    a href=(file) { img src=(file) alt=(what) title=(what) loading="lazy"; }
                } }
                div.names { span { "input" } span { "output" } span { "target" } }
            }
        }
    }
}

fn key(metric: Metric) -> String {
    metric.name().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_stands_on_the_page_and_names_are_escaped() {
        let row = |name: &str, psnr| Row {
            name: name.into(),
            metrics: Metrics { l1: 0.125, psnr, ssim: 0.5 },
            files: ["input", "output", "target"].map(|what| format!("images/0-{what}.png")),
        };
        let rows = [row("<script>alert(1)</script>", 10.0), row("b", f64::INFINITY)];
        let about = ["weights of step 3".to_owned()];
        let html = EvaluationPage { title: "run", about: &about, rows: &rows }.html();
        assert!(html.contains("&lt;script&gt;alert(1)") && !html.contains("<script>alert"), "{html}");
        assert_eq!(html.matches("<img ").count(), 6);
        assert!(html.contains("data-psnr=\"Infinity\"") && html.contains("data-psnr=\"10\""), "{html}");
        assert!(html.contains("weights of step 3"), "{html}");
        assert!(!html.contains("http"), "{html}");
    }
}
