//! The table of an evaluation for a terminal.

use super::{Evaluation, PairMetrics};
use crate::base::words::printable;
use crate::metrics::{Metric, Statistics};

/// Number of the best pairs, and of the worst pairs, that are named.
const NAMED: usize = 3;

/// Width of the column with the names of the metrics, in characters.
const NAME: usize = 4;
/// Width of each column of numbers, in characters.
const NUMBER: usize = 10;

/// Returns the table of an evaluation as lines of text: statistics of each metric, then the best and the worst pairs.
pub fn table(evaluation: &Evaluation) -> String {
    let mut text = format!("{}\n{}\n\n", evaluation.title(), evaluation.about);
    let heads = ["mean", "deviation", "least", "most"].map(|head| format!("{head:>NUMBER$}"));
    text += &format!("{:NAME$}{}\n", "", heads.concat());
    for metric in Metric::ALL {
        let Statistics { mean, deviation, min, max } = *evaluation.summary.get(metric);
        let numbers = [mean, deviation, min, max].map(|value| format!("{:>NUMBER$}", metric.format(value)));
        text += &format!("{:NAME$}{}  {}\n", metric.name(), numbers.concat(), metric.description());
    }
    let equal = evaluation.images.iter().filter(|image| image.metrics.psnr.is_infinite()).count();
    if equal > 0 {
        let (are, whose) = if equal == 1 { ("output is", "its") } else { ("outputs are", "their") };
        text += &format!("{equal} {are} equal to {whose} target: a PSNR of infinity, left out of its mean\n");
    }
    let named = NAMED.min(evaluation.images.len() / 2);
    if named > 0 {
        let mut images: Vec<&PairMetrics> = evaluation.images.iter().collect();
        images.sort_by(|a, b| a.metrics.l1.total_cmp(&b.metrics.l1));
        let line = |images: &mut dyn Iterator<Item = &&PairMetrics>| {
            let one =
                |image: &&PairMetrics| format!("{} {}", printable(&image.name), Metric::L1.format(image.metrics.l1));
            images.map(one).collect::<Vec<_>>().join("  ")
        };
        text += &format!("\nBest by L1   {}\n", line(&mut images[..named].iter()));
        text += &format!("Worst by L1  {}\n", line(&mut images.iter().rev().take(named)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Summary;
    use super::*;
    use crate::data::Direction;
    use crate::metrics::Metrics;

    #[test]
    fn the_table_reads_well() {
        let image = |name: &str, l1: f64, psnr: f64| PairMetrics {
            name: name.into(),
            metrics: Metrics { l1, psnr, ssim: 1.0 - l1 },
        };
        let images =
            vec![image("a", 0.5, 10.0), image("b", 0.0, f64::INFINITY), image("c", 0.25, 20.0), image("d", 0.75, 6.0)];
        let evaluation = Evaluation {
            model: "run".into(),
            about: "weights of step 3".into(),
            data: "data".into(),
            split: "test/".into(),
            direction: Direction::BToA,
            image_size: "32".into(),
            summary: Summary::new(&images),
            images,
        };
        let expected = "\
4 pairs (test/) of data, from B to A, at 32
weights of step 3

          mean deviation     least      most
L1      0.3750    0.2795    0.0000    0.7500  mean absolute error on the scale from -1 to 1; lower is better
PSNR     12.00      5.89      6.00       inf  peak signal-to-noise ratio in dB; higher is better
SSIM    0.6250    0.2795    0.2500    1.0000  structural similarity, 1 for equal pictures; higher is better
1 output is equal to its target: a PSNR of infinity, left out of its mean

Best by L1   b 0.0000  c 0.2500
Worst by L1  d 0.7500  a 0.5000
";
        assert_eq!(table(&evaluation), expected);
    }
}
