//! The recording of a training step: the [`Recorder`] that an [`Objective`] is given, and the result.

use std::ops::Range;

use anyhow::{Result, ensure};

use super::objective::{StepShape, TermValue, index_of};
use super::{Network, Objective, Parameters, Term};
use crate::engine::ops::adam::advance;
use crate::engine::ops::loss::{Criterion, Loss};
use crate::engine::program::Program;
use crate::engine::tape::{Root, Tape};
use crate::engine::tensor::Tensor;

/// A network of an objective, with its parameters on the tape of the training step.
#[derive(Clone, Debug)]
pub struct RecordedNetwork {
    pub network: Network,
    pub parameters: Parameters,
}

/// A recorded training step: its program, and the tensors through which the host writes pictures, and reads losses and
/// the preview.
#[derive(Debug)]
pub struct TrainingStep {
    pub program: Program,
    /// In the order of [`Objective::networks`].
    pub networks: Vec<RecordedNetwork>,
    /// In the order of [`Objective::terms`].
    pub terms: Vec<Term>,
    /// `[batch * accumulate, h, w, input channels]`: the condition, to be written before each execution.
    pub input: Tensor,
    /// `[batch * accumulate, h, w, output channels]`: the real picture, to be written before each execution.
    pub target: Tensor,
    /// `[1, 1, accumulate, losses]`: for each batch the losses of each term, which
    /// [`term_values`](super::term_values) turns into the terms' values.
    pub losses: Tensor,
    /// `[1, h, w, output channels]`: the generator's picture of the first image of `input`, once the steps on demand
    /// have run.
    pub preview: Tensor,
}

impl TrainingStep {
    /// Records the training step of `objective`, and its preview as steps that run on demand.
    ///
    /// # Errors
    /// When the objective has no loss, or cannot be differentiated as it is recorded.
    pub fn record(objective: &impl Objective) -> Result<TrainingStep> {
        let StepShape { batch, accumulate, height, width, in_channels, out_channels } = objective.shape();
        let terms = objective.terms();
        let losses: usize = terms.iter().map(Term::loss_count).sum();
        ensure!(losses > 0, "a step without any loss learns nothing");

        let mut tape = Tape::with_activations(objective.precision().activations());
        let recorded = |network: Network| {
            let parameters = Parameters::new(&mut tape, network.architecture.specs());
            RecordedNetwork { network, parameters }
        };
        let networks = objective.networks().into_iter().map(recorded).collect();
        let pairs = batch * accumulate;
        let input = tape.persistent([pairs, height, width, in_channels]);
        let target = tape.persistent([pairs, height, width, out_channels]);
        let losses = tape.persistent([1, 1, accumulate, losses]);

        let mut recorder = Recorder { tape, networks, terms, batch, input, target, losses };
        objective.record(&mut recorder)?;
        advance(&mut recorder.tape);
        recorder.tape.begin_on_demand();
        let preview = recorder.tape.persistent([1, height, width, out_channels]);
        objective.record_preview(&mut recorder, input.batch_slice(0..1), preview);

        let Recorder { tape, networks, terms, .. } = recorder;
        Ok(TrainingStep { program: tape.finish(), networks, terms, input, target, losses, preview })
    }
}

/// A training step while it is recorded: the tape, the networks' parameters, and the tensors of inputs, targets and
/// losses. [`Objective::record`] gets it.
pub struct Recorder {
    pub tape: Tape,
    networks: Vec<RecordedNetwork>,
    terms: Vec<Term>,
    batch: usize,
    input: Tensor,
    target: Tensor,
    losses: Tensor,
}

/// A batch of pairs of a training step, which has one batch, or several whose gradients it accumulates.
#[derive(Clone, Debug)]
pub struct MicroBatch {
    /// Its index among the batches of the training step.
    pub index: usize,
    /// Indices of its images among all images of the training step.
    pub images: Range<usize>,
    /// `[n, h, w, input channels]`.
    pub input: Tensor,
    /// `[n, h, w, output channels]`.
    pub target: Tensor,
}

impl Recorder {
    /// Calls `work` for each batch of the training step, in order, to record what the step does with that batch, and
    /// returns the results. The gradients of several batches add up (gradient accumulation).
    ///
    /// # Errors
    /// The first error of `work`.
    pub fn each_batch<T>(&mut self, mut work: impl FnMut(&mut Recorder, &MicroBatch) -> Result<T>) -> Result<Vec<T>> {
        let batch = |index: usize| {
            let images = index * self.batch..(index + 1) * self.batch;
            let [input, target] = [self.input, self.target].map(|pictures| pictures.batch_slice(images.clone()));
            MicroBatch { index, images, input, target }
        };
        let batches: Vec<MicroBatch> = (0..self.batches()).map(batch).collect();
        batches.iter().map(|batch| work(self, batch)).collect()
    }

    /// Number of batches in one training step, whose gradients are accumulated.
    pub fn batches(&self) -> usize {
        self.losses.shape[2]
    }

    /// Records a forward pass of the network called `name`: calls `record` with the tape and the network's parameters,
    /// and returns what it returns.
    ///
    /// # Panics
    /// If the objective has not listed such a network.
    pub fn forward<T>(&mut self, name: &str, record: impl FnOnce(&mut Tape, &Parameters) -> T) -> T {
        self.tape.network(name);
        let result = record(&mut self.tape, &network(&self.networks, name).parameters);
        self.tape.network("");
        result
    }

    /// Returns loss `index` of the term called `term`: the mean of `criterion` over the elements of `x`, for
    /// [`Recorder::backward`] to record. Its gradient has the weight of the term in the total that it is part of, times
    /// the factor of the loss, divided by the number of batches; its value is unweighted.
    ///
    /// # Panics
    /// If the objective has not listed such a term and loss, or the term is a total or part of none.
    pub fn loss(&self, batch: &MicroBatch, term: &str, index: usize, x: Tensor, criterion: Criterion) -> Loss {
        let number = index_of(&self.terms, term);
        let TermValue::Losses(factors) = &self.terms[number].value else {
            panic!("{term} is a total: it has no losses")
        };
        let totals = self.terms.iter().filter_map(|term| match &term.value {
            TermValue::Total(parts) => Some(parts),
            TermValue::Losses(_) => None,
        });
        let lambda = totals.flatten().find(|(part, _)| *part == term).map(|(_, lambda)| lambda);
        let lambda = lambda.unwrap_or_else(|| panic!("the term {term} is part of no total"));
        let before: usize = self.terms[..number].iter().map(Term::loss_count).sum();
        let values = Tensor { offset: self.losses.offset + batch.index * self.losses.stride, ..self.losses };
        let values = Tensor { shape: [1, 1, 1, self.losses.channels()], ..values };
        let value = values.channel_slice(before + index..before + index + 1);
        Loss { x, criterion, weight: lambda * factors[index] / self.batches() as f64, value }
    }

    /// Records the losses, and their gradients with respect to the parameters of the networks called `networks`. These
    /// gradients add to those of earlier calls, until the network is updated.
    ///
    /// # Errors
    /// When a loss does not depend on these networks, or a value that a gradient needs has been overwritten since.
    ///
    /// # Panics
    /// If the objective has not listed such a network.
    pub fn backward(&mut self, losses: &[Loss], networks: &[&str]) -> Result<()> {
        let roots: Vec<&dyn Root> = losses.iter().map(|loss| loss as &dyn Root).collect();
        let parameters: Vec<Tensor> =
            networks.iter().map(|name| network(&self.networks, name).parameters.values).collect();
        self.tape.backward(&roots, &parameters).map(drop)
    }

    /// Records the Adam update of the network called `name` by the gradients that it has accumulated.
    ///
    /// # Panics
    /// If the objective has not listed such a network.
    pub fn update(&mut self, name: &str) {
        let RecordedNetwork { network, parameters } = network(&self.networks, name);
        self.tape.layer(name);
        parameters.update(&mut self.tape, network.adam);
        self.tape.layer("");
    }
}

fn network<'a>(networks: &'a [RecordedNetwork], name: &str) -> &'a RecordedNetwork {
    let found = networks.iter().find(|recorded| recorded.network.name == name);
    found.unwrap_or_else(|| panic!("an objective names the network {name}, which it has not listed"))
}
