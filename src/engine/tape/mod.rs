//! The autograd tape: a recording of steps, to which `backward` appends the steps that compute gradients (reverse-mode
//! automatic differentiation).
//!
//! The one idea: the tape alone decides where a gradient is written and whether its writer overwrites or accumulates. A
//! derivative rule asks for a [`Destination`] and writes as it says, so no op can lose the gradient of a tensor with
//! two consumers. Recording order is a topological order, so the reverse sweep needs no sort.

mod fill;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use crate::engine::access::{Access, Destination, WriteMode};
use crate::engine::program::{Backward, Buffer, Buffers, Lifetime, Program, RecordedStep, Step, Touch};
use crate::engine::tensor::{BufferId, DType, Region, Shape, Tensor};
use fill::Fill;

impl Default for Tape {
    fn default() -> Tape {
        Tape::new()
    }
}

/// A starting point of a backward pass: a loss, or a tensor whose gradient is given.
pub trait Root {
    /// The tensor that the root's gradient flows into: the argument of a loss.
    fn input(&self) -> Tensor;

    /// The step that writes the derivative of the root with respect to [`Root::input`] to `gradient`, and the value of
    /// a loss to its tensor.
    fn step(&self, gradient: Destination) -> Arc<dyn Step>;
}

/// The gradient of one buffer, and its regions that have been written so far.
#[derive(Debug)]
struct Gradient {
    tensor: Tensor,
    written: Vec<Region>,
}

impl Gradient {
    fn new(tensor: Tensor) -> Gradient {
        Gradient { tensor, written: Vec::new() }
    }

    /// The rectangles of `region` that have not been written.
    fn missing(&self, region: &Region) -> Vec<Region> {
        self.written.iter().fold(vec![region.clone()], |rest, w| rest.iter().flat_map(|r| r.without(w)).collect())
    }
}

/// A recording of program steps over buffers. [`Tape::backward`] appends the steps that compute gradients;
/// [`Tape::finish`] makes a [`Program`] of it.
#[derive(Debug)]
pub struct Tape {
    buffers: Buffers,
    /// The number format of activations.
    activations: DType,
    steps: Vec<RecordedStep>,
    /// Gradients of parameters, by parameter buffer. They accumulate over several backward passes until an update uses
    /// them.
    parameter_gradients: HashMap<BufferId, Gradient>,
    /// Index of the first on-demand step; `None` if there are none.
    main: Option<usize>,
    /// The network and the layer of the steps that are recorded now; empty for none.
    network: String,
    layer: Arc<str>,
}

impl Tape {
    /// Creates a tape whose activations are of f32.
    pub fn new() -> Tape {
        Tape::with_activations(DType::F32)
    }

    /// Creates a tape whose activations ([`Tape::activation`]), and with them their gradients, have the number format
    /// `activations`.
    pub fn with_activations(activations: DType) -> Tape {
        Tape {
            buffers: Buffers::default(),
            activations,
            steps: Vec::new(),
            parameter_gradients: HashMap::new(),
            main: None,
            network: String::new(),
            layer: "".into(),
        }
    }

    /// Adds a buffer as [`Tape::transient`] does, for what a network computes between its input and its output, in the
    /// number format of the tape's activations.
    pub fn activation(&mut self, shape: Shape) -> Tensor {
        self.transient_of(self.activations, shape)
    }

    /// Adds a buffer of f32 whose values last from its first writer to its last reader within one execution, and
    /// returns the tensor that covers it.
    pub fn transient(&mut self, shape: Shape) -> Tensor {
        self.transient_of(DType::F32, shape)
    }

    /// Adds a buffer as [`Tape::transient`] does, with elements of another number format.
    pub fn transient_of(&mut self, dtype: DType, shape: Shape) -> Tensor {
        self.buffers.add(dtype, shape, Lifetime::Transient)
    }

    /// Adds a buffer of f32, zero at first, whose values last from one execution to the next, for the host to read or
    /// write, and returns the tensor that covers it.
    pub fn persistent(&mut self, shape: Shape) -> Tensor {
        self.buffers.add(DType::F32, shape, Lifetime::Persistent)
    }

    /// Adds two persistent tensors `[1, 1, 1, count]`, and returns them: parameters, and their gradients. Backward
    /// passes add to these gradients until an update has used them ([`Tape::gradients_used`]).
    pub fn parameters(&mut self, count: usize) -> (Tensor, Tensor) {
        let parameters = self.persistent([1, 1, 1, count]);
        let gradients = self.persistent([1, 1, 1, count]);
        self.parameter_gradients.insert(parameters.buffer, Gradient::new(gradients));
        (parameters, gradients)
    }

    /// Appends `step` to the recording.
    ///
    /// # Panics
    /// As [`RecordedStep::new`].
    pub fn push(&mut self, step: impl Step + 'static) {
        self.push_shared(Arc::new(step));
    }

    fn push_shared(&mut self, step: Arc<dyn Step>) {
        self.steps.push(RecordedStep::new(step, Arc::clone(&self.layer)));
    }

    /// Names the network whose layers are recorded from here on; `""` for none.
    pub fn network(&mut self, name: &str) {
        name.clone_into(&mut self.network);
        self.layer("");
    }

    /// Names the layer of the steps that are recorded from here on, for profiles: `network.name`, or `name` alone if
    /// there is no network; `""` for steps of no layer.
    pub fn layer(&mut self, name: &str) {
        self.layer = match (self.network.as_str(), name) {
            ("", _) | (_, "") => name.into(),
            (network, _) => format!("{network}.{name}").into(),
        };
    }

    /// Marks the gradients of `parameters`, a tensor that [`Tape::parameters`] returned, as used: the next backward
    /// pass overwrites them instead of adding to them.
    pub fn gradients_used(&mut self, parameters: Tensor) {
        if let Some(gradient) = self.parameter_gradients.get_mut(&parameters.buffer) {
            gradient.written.clear();
        }
    }

    /// Appends the steps that compute the gradients of the sum of `roots` with respect to `wrt`, and no others. Returns
    /// the tensors of the gradients in the order of `wrt`: those of parameters lie in the flat buffer of their
    /// gradients, the others in transient buffers.
    ///
    /// Gradients of parameters add to those of earlier backward passes, until an update uses them. Where no root
    /// depends on a tensor of `wrt`, the gradient of a parameter keeps its value (zero at first), and any other
    /// gradient is set to zero.
    ///
    /// # Errors
    /// When a root depends on no tensor of `wrt`, or when a value that a gradient needs has been overwritten since the
    /// forward pass (most often by an update between a network's evaluation and its differentiation).
    ///
    /// # Panics
    /// If the tensors of a root do not fit together in shape.
    pub fn backward(&mut self, roots: &[&dyn Root], wrt: &[Tensor]) -> Result<Vec<Tensor>> {
        let recorded = self.steps.len();
        let (reaching, live) = self.reach(wrt);
        self.layer("losses");
        let mut backward = Pass { tape: self, reaching, gradients: HashMap::new(), batch: None };
        for root in roots {
            let Some(destination) = backward.destination(root.input()) else {
                bail!("a root at {:?} does not depend on what it is to be differentiated by", root.input());
            };
            backward.tape.push_shared(root.step(destination));
        }
        for index in (0..recorded).rev().filter(|&i| live[i]) {
            let before = backward.tape.steps.len();
            backward.differentiate(index);
            backward.tape.check_versions(index, before)?;
        }
        backward.tape.layer("");
        Ok(wrt.iter().map(|&tensor| backward.complete_gradient(tensor)).collect())
    }

    /// The regions that depend on `wrt`, and for each step, true if its output does.
    fn reach(&self, wrt: &[Tensor]) -> (Vec<Region>, Vec<bool>) {
        let mut reaching: Vec<Region> = wrt.iter().map(|&t| self.buffers.region(t)).collect();
        let live = self.steps.iter().map(|recorded| {
            let Some(rule) = recorded.step.rule() else { return false };
            let live = recorded.accesses.iter().filter(|access| !access.writes()).any(|access| {
                let tensor = access.tensor().filter(|t| !t.is_detached());
                tensor.is_some_and(|t| reaching.iter().any(|r| r.overlaps(&self.buffers.region(t))))
            });
            if live {
                reaching.push(self.buffers.region(rule.output()));
            }
            live
        });
        let live = live.collect();
        (reaching, live)
    }

    /// Checks that no value which the gradient of step `forward` needs has been overwritten since that step ran: its
    /// output, and those of its other tensors that the gradient's steps read, which are recorded from index `recorded`
    /// on.
    fn check_versions(&self, forward: usize, recorded: usize) -> Result<()> {
        let known = &self.steps[forward].accesses;
        let same_memory = |a: &Access, b: &Access| a.tensor().map(|t| t.buffer) == b.tensor().map(|t| t.buffer);
        let reads = self.steps[recorded..].iter().flat_map(|step| &step.accesses).filter(|a| !a.writes());
        let needed = reads.filter(|read| known.iter().any(|access| same_memory(access, read)));
        let written = known.iter().filter(|access| access.writes() && recorded < self.steps.len());
        for access in needed.chain(written) {
            let touch = Touch::new(access, &self.buffers);
            let overwrites = |later: &Access| later.writes() && Touch::new(later, &self.buffers).conflicts(&touch);
            let later = &self.steps[forward + 1..recorded];
            let clash = later.iter().find(|step| step.accesses.iter().any(overwrites));
            ensure!(
                clash.is_none(),
                "{} (step {forward}) can no longer be differentiated: {} has since overwritten {}, which its gradient \
                 needs; record the forward pass again after that",
                self.steps[forward].step.name(),
                clash.map_or("a later step", |s| s.step.name()),
                access.tensor().map_or("the step's number".to_owned(), |tensor| format!("{tensor:?}")),
            );
        }
        Ok(())
    }

    /// Ends the main part of the program: steps recorded from here on run on demand only, between two executions. A
    /// second call moves the end of the main part to where it is made.
    pub fn begin_on_demand(&mut self) {
        self.main = Some(self.steps.len());
    }

    /// Ends the recording, and returns it as a program.
    pub fn finish(self) -> Program {
        let main = self.main.unwrap_or(self.steps.len());
        Program { buffers: self.buffers, steps: self.steps, main, host_copies: Vec::new() }
    }
}

/// A backward pass while it is being recorded.
struct Pass<'a> {
    tape: &'a mut Tape,
    reaching: Vec<Region>,
    /// Gradients of other buffers than parameters, by buffer. Each is laid out like its buffer, so the gradient of a
    /// slice is the same slice of the gradient.
    gradients: HashMap<BufferId, Gradient>,
    /// The images of the differentiated step's batch that have a gradient: (first, count).
    batch: Option<(usize, usize)>,
}

impl Backward for Pass<'_> {
    fn at(&self, activation: Tensor) -> Tensor {
        let (first, count) = self.batch.expect("set before a rule is asked");
        activation.batch_slice(first..first + count)
    }

    fn first_image(&self) -> usize {
        self.batch.expect("set before a rule is asked").0
    }

    fn needed_channels(&self, input: Tensor) -> Option<Range<usize>> {
        if input.is_detached() {
            return None;
        }
        let region = self.tape.buffers.region(input);
        let needed = self.reaching.iter().filter_map(|reaching| reaching.intersection(&region));
        // The columns of a region are channels only where it has a row for each pixel.
        let is_flat = region.columns.len() != input.channels();
        let channels = needed.map(|part| match is_flat {
            true => 0..input.channels(),
            false => part.columns.start - region.columns.start..part.columns.end - region.columns.start,
        });
        channels.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
    }

    fn destination(&mut self, input: Tensor) -> Option<Destination> {
        self.needed_channels(input)?;
        let region = self.tape.buffers.region(input);
        let gradient = self.buffer_gradient(input.buffer);
        let missing = gradient.missing(&region);
        let tensor = Tensor { buffer: gradient.tensor.buffer, ..input };
        gradient.written.extend(missing.iter().cloned());
        if missing == [region] {
            return Some(Destination { tensor, mode: WriteMode::Overwrite });
        }
        self.fill(region_tensors(&missing, tensor));
        Some(Destination { tensor, mode: WriteMode::Accumulate })
    }

    fn push_shared(&mut self, step: Arc<dyn Step>) {
        self.tape.push_shared(step);
    }

    fn transient(&mut self, dtype: DType, shape: Shape) -> Tensor {
        self.tape.transient_of(dtype, shape)
    }
}

impl Pass<'_> {
    /// The gradient of `tensor` after all its writers have been recorded: regions without a writer are zeroed, except
    /// in gradients of parameters, which keep their values there.
    fn complete_gradient(&mut self, tensor: Tensor) -> Tensor {
        let region = self.tape.buffers.region(tensor);
        let is_parameter = self.tape.parameter_gradients.contains_key(&tensor.buffer);
        let gradient = self.buffer_gradient(tensor.buffer);
        let result = Tensor { buffer: gradient.tensor.buffer, ..tensor };
        if !is_parameter {
            let missing = gradient.missing(&region);
            gradient.written.extend(missing.iter().cloned());
            self.fill(region_tensors(&missing, result));
        }
        result
    }

    /// The gradient of `buffer`, made on first use, with its written regions.
    fn buffer_gradient(&mut self, buffer: BufferId) -> &mut Gradient {
        let Tape { buffers, parameter_gradients, .. } = &mut *self.tape;
        if let Some(gradient) = parameter_gradients.get_mut(&buffer) {
            return gradient;
        }
        self.gradients.entry(buffer).or_insert_with(|| {
            let Buffer { dtype, shape, .. } = *buffers.get(buffer);
            Gradient::new(buffers.add(dtype, shape, Lifetime::Transient))
        })
    }

    /// Records zeros for regions without a writer that are about to be read or added to.
    fn fill(&mut self, regions: Vec<Tensor>) {
        for tensor in regions {
            self.tape.push(Fill { tensor, value: 0.0 });
        }
    }

    /// Records the gradient of step `index`, if its output has one.
    fn differentiate(&mut self, index: usize) {
        let RecordedStep { step, layer, .. } = self.tape.steps[index].clone();
        self.tape.layer = layer;
        let Some(rule) = step.rule() else { return };
        let output = rule.output();
        let region = self.tape.buffers.region(output);
        let Some(gradient) = self.gradients.get_mut(&output.buffer) else { return };
        let written = gradient.written.iter().filter_map(|w| w.intersection(&region));
        let Some(rows) = written.map(|w| w.rows).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)) else { return };

        // Whole images only: where the gradient covers some images of the batch, the rule gets just those.
        let image = output.shape[1] * output.shape[2];
        let first = (rows.start - region.rows.start) / image;
        let end = (rows.end - region.rows.start).div_ceil(image);
        let dy = Tensor { buffer: gradient.tensor.buffer, ..output }.batch_slice(first..end);
        let covered = self.tape.buffers.region(output.batch_slice(first..end));
        let missing = gradient.missing(&covered);
        gradient.written.extend(missing.iter().cloned());
        self.fill(region_tensors(&missing, dy));

        self.batch = Some((first, end - first));
        rule.backward(dy, self);
    }
}

/// `regions` of a buffer as tensors, with the buffer and the stride of `like`.
fn region_tensors(regions: &[Region], like: Tensor) -> Vec<Tensor> {
    let tensor = |r: &Region| Tensor {
        offset: r.rows.start * like.stride + r.columns.start,
        shape: [1, 1, r.rows.len(), r.columns.len()],
        ..like
    };
    regions.iter().map(tensor).collect()
}
