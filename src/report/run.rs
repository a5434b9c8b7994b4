//! `report.html`: a run on one page.

use std::time::SystemTime;

use maud::{Markup, html};
use toml::Value;

use super::chart::Chart;
use super::curve::{Curve, smooth};
use super::{page, tile};
use crate::base::words::count;
use crate::config::TrainConfig;
use crate::data::Size;
use crate::metrics::{Metric, Validation, best};

/// Deviation of the Gaussian that smooths the thick line of a loss, as a fraction of all points.
const SMOOTHING: f64 = 0.015;

/// The outcome of a run so far, shown at the top of its report: still training, ended early by a signal, complete, or
/// failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The training goes on after this.
    Running,
    /// A signal has ended it before its last step; it can be resumed.
    Stopped,
    /// All steps are done.
    Finished,
    /// An error, with this text, has ended it.
    Failed(&'a str),
}

impl Outcome<'_> {
    /// One word for the state, also its class on the page.
    fn name(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Stopped => "stopped",
            Outcome::Finished => "finished",
            Outcome::Failed(_) => "failed",
        }
    }
}

/// The contents of `report.html`, the page on one run: settings, progress, losses, validations, sample pictures and
/// checkpoints. [`RunPage::html`] returns the page as HTML.
pub struct RunPage<'a> {
    pub config: &'a TrainConfig,
    /// Description of the device, such as `cpu with 2 threads`.
    pub device: &'a str,
    pub state: Outcome<'a>,
    /// Steps done, those before a resume included.
    pub step: u64,
    /// Number of steps after which the run ends.
    pub total: u64,
    pub steps_per_epoch: u64,
    /// Time of writing.
    pub written: SystemTime,
    /// Training steps per second since the program was started; `None` before the first step.
    pub speed: Option<f64>,
    /// A curve for each loss term that has values.
    pub losses: &'a [LossCurve],
    /// All validations of the run, in order.
    pub history: &'a [Validation],
    /// Number of held-out pairs; 0 if there are none to validate on.
    pub held_out: usize,
    /// Sample grids, in the order of the steps.
    pub samples: &'a [Sample],
    /// File names of the checkpoints, oldest first, the best one last.
    pub checkpoints: &'a [String],
}

/// A loss term over the steps of a run: the heading of its chart, an explanation, and the values.
#[derive(Clone, Debug)]
pub struct LossCurve {
    pub title: &'static str,
    pub note: &'static str,
    pub curve: Curve,
}

/// A sample grid, drawn after `step` steps: input, generator's output and target of each sample pair.
#[derive(Clone, Debug)]
pub struct Sample {
    pub step: u64,
    /// The grid as a JPEG, in a URL of the scheme `data:`.
    pub address: String,
}

impl RunPage<'_> {
    pub fn html(&self) -> String {
        let name = self.config.out.file_name().unwrap_or(self.config.out.as_os_str()).to_string_lossy();
        let body = html! {
            header {
                h1 { (name) }
                span class={ "state " (self.state.name()) } {
                    (self.state.name()) @if self.state == Outcome::Running { " when this page was written" }
                }
                @if let Outcome::Failed(why) = self.state { span.soft { (why) } }
                span.soft {
                    "written " (self.written()) " after step " (self.step)
                    @if self.state == Outcome::Running { "; reload this page to see more" }
                }
            }
            progress value=(self.step) max=(self.total) {}
            (self.tiles())
            div.progress {
                section { (self.samples()) }
                section {
                    h2 { "Losses" }
                    p { "The values that each step's updates follow from. The thick line is the faint one, smoothed." }
                    @if self.losses.is_empty() { p { "Nothing yet." } }
                    div.charts { @for loss in self.losses { (loss_chart(loss)) } }
                }
            }
            h2 { "Held-out pairs" }
            (self.metrics())
            h2 { "Settings" }
            (self.settings())
            h2 { "Going on" }
            (self.going_on())
        };
        page(&format!("{name} – pixtape"), &body, include_str!("report.js"))
    }

    /// The time at which the page was written, to the second.
    fn written(&self) -> Markup {
        let machine = humantime::format_rfc3339_seconds(self.written).to_string();
        let people = machine.replace('T', " ").replace('Z', " UTC");
        html! { time datetime=(machine) { (people) } }
    }

    fn tiles(&self) -> Markup {
        let config = self.config;
        let Size { width, height } = config.image_size;
        let data = config.data.as_ref().map_or("built-in facades".into(), |data| data.display().to_string());
        let epochs = self.total.div_ceil(self.steps_per_epoch);
        let epoch = self.step.div_ceil(self.steps_per_epoch).max(1);
        let speed = self.speed.map_or("–".to_owned(), |speed| format!("{speed:.1} it/s"));
        // The description of the device, without the reason for its choice.
        let device = self.device.split(" (").next().unwrap_or_default();
        let best_metric = best(self.history, config.best_by);
        html! {
            div.tiles {
                (tile(&format!("{} / {}", self.step, self.total), &format!("steps, epoch {epoch} of {epochs}")))
                (tile(&speed, &format!("on {device}")))
                @if let Some(best) = best_metric {
                    (tile(
                        &config.best_by.format(config.best_by.value(&best.mean)),
                        &format!("best held-out {}, after epoch {}", config.best_by.name(), best.epoch),
                    ))
                }
                (tile(&format!("{width} x {height}"), &format!("pixels, from {data}")))
            }
        }
    }

    fn samples(&self) -> Markup {
        let Some(last) = self.samples.len().checked_sub(1) else { return html! {} };
        let what = if self.held_out > 0 { "held out of training" } else { "from the training data" };
        html! {
            h2 { "Samples over time" }
            p { "The same pairs each time, " (what) ". Move the slider to see how the outputs changed." }
            div.samples {
                div.strip {
                    output { "step " (self.samples[last].step) }
                    input type="range" min="0" max=(last) value=(last) aria-label="Step of the samples";
                }
                div.names { span { "input" } span { "output" } span { "target" } }
                @for (index, sample) in self.samples.iter().enumerate() {
                    img src=(sample.address) alt={ "step " (sample.step) } hidden[index != last];
                }
            }
        }
    }

    fn metrics(&self) -> Markup {
        let pairs = count(self.held_out, "pair");
        if self.held_out == 0 {
            return html! {
                p {
                    "None: put pairs into " code { "val/" } " beside " code { "train/" }
                    ", or have a share of them held out with " code { "--val-split" } "."
                }
            };
        }
        if self.history.is_empty() {
            let epochs = if self.config.validate_every == 1 {
                "the first epoch".to_owned()
            } else {
                format!("epoch {}", self.config.validate_every)
            };
            return html! {
                p { "Nothing yet: " (pairs) " are measured for the first time at the end of " (epochs) "." }
            };
        }
        html! {
            p {
                "Means over " (pairs) " that are not trained on. The ring is the best " (self.config.best_by.name())
                ", of which " code { "checkpoints/best.safetensors" } " is kept."
            }
            div.charts { @for metric in Metric::ALL { (self.metric_chart(metric)) } }
        }
    }

    fn metric_chart(&self, metric: Metric) -> Markup {
        let point = |validation: &Validation| [validation.epoch as f64, metric.value(&validation.mean)];
        let line: Vec<[f64; 2]> = self.history.iter().map(point).collect();
        let best = best(self.history, self.config.best_by).filter(|_| metric == self.config.best_by);
        let what = best.map(|best| format!("{} after epoch {}", metric.format(metric.value(&best.mean)), best.epoch));
        let note = match metric {
            Metric::L1 => "mean absolute error in [-1, 1]; lower is better",
            Metric::Psnr => "dB; higher is better",
            Metric::Ssim => "structural similarity; 1 is equal",
        };
        let mark = best.map(point).filter(|point| point[1].is_finite());
        Chart { title: metric.name(), note, x: "epoch", line: &line, faint: &[], mark: mark.zip(what.as_deref()) }.svg()
    }

    fn settings(&self) -> Markup {
        // All settings serialise to a table, so the default is never used.
        let table = toml::Table::try_from(self.config).unwrap_or_default();
        html! {
            dl.settings { @for (key, value) in &table {
                div { dt { (key) } dd { @match value { Value::String(text) => (text), other => (other) } } }
            } }
        }
    }

    fn going_on(&self) -> Markup {
        if matches!(self.state, Outcome::Failed(_)) && self.checkpoints.is_empty() {
            return html! { p { "There is no checkpoint to go on from." } };
        }
        let run = self.config.out.display().to_string();
        // A path that a shell would split or interpret is quoted.
        let is_plain = run.chars().all(|c| c.is_alphanumeric() || "/._-+:\\".contains(c));
        let run = if is_plain { run } else { format!("'{}'", run.replace('\'', r"'\''")) };
        let is_best = self.checkpoints.iter().any(|name| name == "best.safetensors");
        let epochs = self.total.div_ceil(self.steps_per_epoch);
        let is_decayed = self.config.decay_end().is_some_and(|end| epochs >= end);
        html! {
            pre {
                @if self.state == Outcome::Finished {
                    "# train longer" @if is_decayed { ", at the rate that its schedule ended with" }
                    "\npixtape train --resume " (run) " --epochs " (2 * epochs)
                } @else {
                    "# go on after the newest checkpoint\npixtape train --resume " (run)
                }
                "\n\n# translate pictures with the newest weights"
                "\npixtape translate " (run) " PICTURES --out translated"
                "\n\n# measure it on other pairs, with a page of all pictures"
                "\npixtape evaluate " (run) " --data FOLDER --out evaluation"
                @if is_best {
                    "\n\n# the same with the best weights"
                    "\npixtape evaluate " (run) "/checkpoints/best.safetensors --data FOLDER --out evaluation-best"
                }
                "\n\n# all numbers in TensorBoard\ntensorboard --logdir " (run)
            }
            @if !self.checkpoints.is_empty() {
                p {
                    "Checkpoints: "
                    @for (n, name) in self.checkpoints.iter().enumerate() { @if n > 0 { ", " } code { (name) } }
                }
            }
        }
    }
}

fn loss_chart(loss: &LossCurve) -> Markup {
    // A loss that is not finite ends a run, and would spoil the smoothed values around it.
    let points: Vec<[f64; 2]> = loss.curve.points().into_iter().filter(|point| point[1].is_finite()).collect();
    let line = smooth(&points, (SMOOTHING * points.len() as f64).max(0.5));
    Chart { title: loss.title, note: loss.note, x: "step", line: &line, faint: &points, mark: None }.svg()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::TrainOptions;
    use crate::metrics::Metrics;

    fn html(config: &TrainConfig, held_out: usize, history: &[Validation]) -> String {
        html_of(config, Outcome::Running, held_out, history)
    }

    fn html_of(config: &TrainConfig, state: Outcome, held_out: usize, history: &[Validation]) -> String {
        let mut curve = Curve::default();
        (1..=300).for_each(|step| curve.add(step, 1.0 / step as f64));
        if state != Outcome::Running {
            curve.add(301, f64::NAN);
        }
        let losses = [LossCurve { title: "D", note: "", curve }];
        let samples = [0, 300].map(|step| Sample { step, address: "data:image/jpeg;base64,AAAA".into() });
        let page = RunPage {
            config,
            device: "cpu with 2 threads",
            state,
            step: 300,
            total: 1000,
            steps_per_epoch: 100,
            speed: Some(12.0),
            written: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            losses: &losses,
            history,
            held_out,
            samples: &samples,
            checkpoints: &["best.safetensors".to_owned()],
        };
        page.html()
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a <b> & \"c\"");
        std::fs::create_dir(&data).unwrap();
        let out = Some("runs/it's <i>".into());
        let config = TrainOptions { data: Some(data), out, ..Default::default() }.resolve().unwrap();
        let html = html(&config, 0, &[]);
        assert!(!html.contains("<i>") && html.contains("it's &lt;i&gt;"), "{html}");
        assert!(!html.contains("<b> &") && html.contains("a &lt;b&gt; &amp; &quot;c&quot;"), "{html}");
        assert!(html.contains(r"--resume 'runs/it'\''s &lt;i&gt;'"), "{html}");
        assert!(html.contains("--val-split"), "{html}");
    }

    #[test]
    fn a_run_that_failed_says_why_and_its_curves_stay() {
        let config = TrainOptions::default().resolve().unwrap();
        let html = html_of(&config, Outcome::Failed("a <loss> is not a number"), 0, &[]);
        assert!(html.contains("class=\"state failed\"") && html.contains("a &lt;loss&gt; is not a number"), "{html}");
        assert!(!html.contains("reload this page") && !html.contains("NaN"), "{html}");
        let line = html.split("<polyline class=\"line\" points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(line.split_whitespace().count(), 300);
    }

    /// A page cannot know whether the run still goes on; its script can tell how old it is.
    #[test]
    fn a_page_says_when_it_was_written_and_no_more_than_it_knows() {
        let config = TrainOptions::default().resolve().unwrap();
        let running = html(&config, 0, &[]);
        assert!(running.contains("\"state running\">running when this page was written</span>"), "{running}");
        for page in [&running, &html_of(&config, Outcome::Finished, 0, &[])] {
            let time = r#"written <time datetime="2023-11-14T22:13:20Z">2023-11-14 22:13:20 UTC</time> after step 300"#;
            assert!(page.contains(time), "{page}");
        }
        for words in [".state.running", "header time", "not heard of for"] {
            assert!(running.contains(words), "{words}");
        }
        assert!(!html_of(&config, Outcome::Finished, 0, &[]).contains("when this page"));
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let config = TrainOptions::default().resolve().unwrap();
        let at = |epoch, l1| Validation { epoch, step: epoch * 100, mean: Metrics { l1, psnr: 9.0, ssim: 0.1 } };
        let html = html(&config, 40, &[at(1, 0.5), at(2, 0.25), at(3, 0.75)]);
        for address in ["http:", "https:", "src=\"/", "@import", "url("] {
            assert!(!html.contains(address), "{address}");
        }
        assert_eq!(html.matches("<svg viewBox").count(), 4);
        assert!(html.contains("0.2500 after epoch 2"), "{html}");
        assert_eq!(html.matches("data:image/jpeg").count(), 2);
    }
}
