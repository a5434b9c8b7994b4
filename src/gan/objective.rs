//! The objective of a training: the networks that learn, the loss terms they minimise, and the step that does so.
//!
//! Trainer, checkpoint, tables, charts and exports know no network and no loss by name: they go through these lists.

use anyhow::Result;

use super::{ParameterSpec, Parameters, PatchGan, Precision, Recorder, UNet};
use crate::engine::kernel::cpu::Real;
use crate::engine::ops::adam::AdamOptions;
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;
use crate::gan::Draws;

/// A set of networks that are trained together, with the loss terms that they minimise and the recording of the
/// training step. [`Pix2Pix`](super::Pix2Pix) is one.
pub trait Objective {
    /// Its networks, in the order in which their initial weights are drawn and a checkpoint lists them.
    fn networks(&self) -> Vec<Network>;

    /// Its loss terms, in the order in which they are shown.
    fn terms(&self) -> Vec<Term>;

    /// The number, size and channels of the pictures of one training step.
    fn shape(&self) -> StepShape;

    /// The precision in which its networks compute.
    fn precision(&self) -> Precision;

    /// Records the losses, gradients and updates of one training step.
    ///
    /// # Errors
    /// When the step cannot be differentiated as it is recorded.
    fn record(&self, recorder: &mut Recorder) -> Result<()>;

    /// Records `out = G(x)`, the picture that samples and validation show: `x` is `[1, h, w, input channels]`, `out`
    /// `[1, h, w, output channels]`.
    fn record_preview(&self, recorder: &mut Recorder, x: Tensor, out: Tensor);
}

/// The pictures of one training step: pairs in a batch, batches whose gradients are added up, height and width in
/// pixels, and channels of input and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepShape {
    /// Pairs in a batch.
    pub batch: usize,
    /// Batches whose gradients are added up for one update.
    pub accumulate: usize,
    pub height: usize,
    pub width: usize,
    pub in_channels: usize,
    pub out_channels: usize,
}

/// A network that an [`Objective`] trains: name, architecture, input, and Adam's hyperparameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Its name: in front of its tensors in a checkpoint, and of `export --network`.
    pub name: &'static str,
    pub architecture: Architecture,
    /// The channels of its input, in their order, in words.
    pub input: &'static str,
    /// Height and width of its input, in pixels.
    pub size: [usize; 2],
    pub adam: AdamOptions,
}

/// A U-Net or a PatchGAN, as the description from which the parameters and the graph of a network follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Architecture {
    UNet(UNet),
    PatchGan(PatchGan),
}

impl Architecture {
    /// The parameters, in the order in which they lie in the network's flat buffers.
    pub fn specs(&self) -> Vec<ParameterSpec> {
        match self {
            Architecture::UNet(unet) => unet.specs(),
            Architecture::PatchGan(patchgan) => patchgan.specs(),
        }
    }

    pub fn in_channels(&self) -> usize {
        match self {
            Architecture::UNet(unet) => unet.in_channels,
            Architecture::PatchGan(patchgan) => patchgan.in_channels,
        }
    }

    /// Records the forward pass over `x`, `[n, h, w, input channels]`, and returns the output: a U-Net's picture
    /// `[n, h, w, output channels]`, or a PatchGAN's map `[n, map height, map width, 1]`.
    ///
    /// # Panics
    /// As [`UNet::forward`] and [`PatchGan::forward`].
    pub fn forward(&self, tape: &mut Tape, parameters: &Parameters, x: Tensor) -> Tensor {
        match self {
            Architecture::UNet(unet) => {
                let [n, height, width, _] = x.shape;
                let out = tape.transient([n, height, width, unet.out_channels]);
                unet.forward(tape, parameters, x, out, Draws { pass: 0, first_image: 0, by_step: false });
                out
            }
            Architecture::PatchGan(patchgan) => patchgan.forward(tape, parameters, x).map,
        }
    }
}

/// A loss term of an objective, as it is computed and shown: a column of `losses.csv`, a curve of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The column of `losses.csv`.
    pub name: &'static str,
    /// The heading of its chart.
    pub title: &'static str,
    /// Its meaning, under the heading.
    pub note: &'static str,
    /// True if the term is left out where room is short, because it is a sum or a part of terms that are shown.
    pub is_detail: bool,
    pub value: TermValue,
}

/// The definition of a loss term: the sum of losses that the training step computes, or the weighted sum of other
/// terms.
#[derive(Clone, Debug, PartialEq)]
pub enum TermValue {
    /// The sum of losses that the step computes, each times its factor.
    Losses(Vec<f64>),
    /// The sum of other terms, each times its weight: what a network minimises.
    Total(Vec<(&'static str, f64)>),
}

impl Term {
    /// Number of losses that the training step computes for this term and each batch; 0 for a total.
    pub fn loss_count(&self) -> usize {
        match &self.value {
            TermValue::Losses(factors) => factors.len(),
            TermValue::Total(_) => 0,
        }
    }
}

/// Returns the values of `terms`, in their order, after a training step.
///
/// `losses` are the values of [`TrainingStep::losses`](super::TrainingStep::losses): for each batch the losses of each
/// term. Over several batches, the value of a term is the mean.
///
/// # Panics
/// If no term has a loss, or a total names a term that is not among `terms`.
pub fn term_values<T: Real>(terms: &[Term], losses: &[T]) -> Vec<T> {
    let each: usize = terms.iter().map(Term::loss_count).sum();
    let batches = losses.len() / each;
    let mean = |index: usize| losses.iter().skip(index).step_by(each).copied().sum::<T>() / T::from_f64(batches as f64);
    let mut first = 0;
    let computed: Vec<T> = terms
        .iter()
        .map(|term| {
            let TermValue::Losses(factors) = &term.value else { return T::zero() };
            first += factors.len();
            (first - factors.len()..first).zip(factors).map(|(index, &factor)| T::from_f64(factor) * mean(index)).sum()
        })
        .collect();
    let value = |(index, term): (usize, &Term)| match &term.value {
        TermValue::Losses(_) => computed[index],
        TermValue::Total(parts) => {
            parts.iter().map(|&(name, weight)| T::from_f64(weight) * computed[index_of(terms, name)]).sum()
        }
    };
    terms.iter().enumerate().map(value).collect()
}

/// The index of the term called `name`.
pub(super) fn index_of(terms: &[Term], name: &str) -> usize {
    let index = terms.iter().position(|term| term.name == name);
    index.unwrap_or_else(|| panic!("an objective names the term {name}, which it has not listed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_the_weighted_sums_of_means_over_the_batches() {
        let term = |name, value| Term { name, title: "", note: "", is_detail: false, value };
        let terms = [
            term("total", TermValue::Total(vec![("a", 0.5), ("b", 100.0)])),
            term("a", TermValue::Losses(vec![1.0, 0.25])),
            term("b", TermValue::Losses(vec![1.0])),
        ];
        // By batch: two losses of a, one of b.
        let losses = [1.0_f32, 4.0, 7.0, 3.0, 8.0, 9.0];
        assert_eq!(term_values(&terms, &losses), [0.5 * 3.5 + 100.0 * 8.0, 2.0 + 1.5, 8.0]);
    }
}
