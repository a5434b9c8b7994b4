//! A recorded training step on a device, with its weights.

use std::collections::{HashSet, VecDeque};

use anyhow::{Result, bail, ensure};

use super::feed::StepPictures;
use crate::base::words::shortened;
use crate::checkpoint::NamedBuffer;
use crate::checkpoint::{Reader, TensorSpec, Tensors};
use crate::config::TrainConfig;
use crate::data::{Pair, Picture, Size};
use crate::engine::access::Control;
use crate::engine::device::{Device, DeviceId, PendingRead};
use crate::engine::tensor::Tensor;
use crate::exchange::Weights;
use crate::gan::{Init, RecordedNetwork, Term, TrainingStep, term_values};

pub struct Trainer {
    device: Device,
    /// Steps done, those before a resume included. The device counts them too; this copy needs no query.
    steps: u64,
    /// Learning rate that was last sent to the device.
    learning_rate: f64,
    networks: Vec<RecordedNetwork>,
    terms: Vec<Term>,
    input: Tensor,
    target: Tensor,
    losses: Tensor,
    preview: Tensor,
    /// The losses of the last steps that have not been asked for, oldest first.
    pending: VecDeque<PendingLosses>,
    config: TrainConfig,
}

/// The losses of a training step.
pub struct StepLosses {
    /// Number of the step, from 1.
    pub step: u64,
    /// Learning rate that it used.
    pub learning_rate: f64,
    /// The values of the loss terms, in the order of [`Trainer::terms`].
    pub values: Vec<f32>,
}

/// The losses of a training step on their way from the device.
struct PendingLosses {
    step: u64,
    learning_rate: f64,
    read: PendingRead,
}

impl Trainer {
    /// Records the training step of `config`, places it on `device`, and draws the initial weights with the seed of
    /// `config`.
    ///
    /// # Errors
    /// When there is too little memory, the GPU cannot be used, or the step cannot be recorded.
    pub fn new(config: &TrainConfig, device: DeviceId) -> Result<Trainer> {
        let TrainingStep { program, networks, terms, input, target, losses, preview } =
            TrainingStep::record(&config.objective())?;
        let control = Control { seed: config.seed, step: 0, learning_rate: config.lr };
        let device = Device::new(program, control, device, config.device_options())?;
        let config = config.clone();
        let mut trainer = Trainer {
            device,
            steps: 0,
            learning_rate: config.lr,
            networks,
            terms,
            input,
            target,
            losses,
            preview,
            pending: VecDeque::new(),
            config,
        };
        trainer.initialise()?;
        Ok(trainer)
    }

    fn initialise(&mut self) -> Result<()> {
        let init = Init { kind: self.config.init, gain: self.config.init_gain };
        let mut number = 0;
        for RecordedNetwork { parameters, .. } in &self.networks {
            for (index, spec) in parameters.specs.iter().enumerate() {
                let values = init.values(spec, self.config.seed, number);
                self.device.write(parameters.part(parameters.values, index), &values)?;
                number += 1;
            }
        }
        Ok(())
    }

    /// Loads the weights of all networks of which the file has tensors, and returns the names of these networks. The
    /// other networks keep their weights; Adam's moments and the number of steps done stay as they are.
    ///
    /// # Errors
    /// When the file has no tensor of any network, or a tensor of these networks is missing, unexpected or of another
    /// shape; or when the device has failed.
    pub fn load_weights(&mut self, weights: &mut Weights) -> Result<Vec<&'static str>> {
        let Trainer { device, networks, .. } = self;
        let theirs: Vec<String> = weights.specs().into_iter().map(|spec| spec.name).collect();
        let is_of = |tensor: &str, network: &str| tensor.split_once('.').is_some_and(|(prefix, _)| prefix == network);
        let mut found = Vec::new();
        for RecordedNetwork { network, parameters } in networks.iter() {
            let mut theirs = theirs.iter().filter(|name| is_of(name, network.name)).peekable();
            if theirs.peek().is_none() {
                continue;
            }
            let state = NamedBuffer { parameters, flat: parameters.values, prefix: network.name.to_owned() };
            state.load(device, |name, shape| weights.tensor(name, shape))?;
            let ours: HashSet<String> = state.specs().map(|spec| spec.name).collect();
            if let Some(name) = theirs.find(|name| !ours.contains(*name)) {
                bail!(
                    "--start-from: the file has {}, which the {} of these settings does not have: give those that it \
                     was made with, such as --norm",
                    shortened(name),
                    network.name
                );
            }
            found.push(network.name);
        }
        let ours: Vec<&str> = networks.iter().map(|recorded| recorded.network.name).collect();
        ensure!(
            !found.is_empty(),
            "--start-from: the file has no tensor of the networks of this run, which are called {}",
            ours.iter().map(|name| format!("{name}.*")).collect::<Vec<_>>().join(" and ")
        );
        Ok(found)
    }

    /// Loads the weights and Adam's moments of all networks from a checkpoint, and sets the number of steps done to
    /// `step`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape (the error names it), or when the device has failed.
    pub fn resume(&mut self, reader: &mut Reader, step: u64) -> Result<()> {
        let Trainer { device, networks, .. } = self;
        states(networks).try_for_each(|state| state.load(device, |name, shape| reader.tensor(name, shape)))?;
        self.device.set_control(Control { step, ..self.device.control()? })?;
        self.steps = step;
        Ok(())
    }

    /// Returns the number of training steps done, those before a resume included.
    pub fn steps_done(&self) -> u64 {
        self.steps
    }

    /// The loss terms of the training step, in the order of the values of [`StepLosses`].
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Returns how many bytes of the GPU's memory are free, and how many it has; `None` on the CPU.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn free_and_total_memory(&self) -> Result<Option<[usize; 2]>> {
        self.device.free_and_total_memory()
    }

    /// Returns the bytes of GPU memory that pairs of these sizes take.
    pub fn bytes_of_pairs(&self, sizes: &[Size]) -> usize {
        let pixels: usize = sizes.iter().map(|size| size.pixels()).sum();
        pixels * (self.input.channels() + self.target.channels()) * size_of::<u16>()
    }

    /// Allocates GPU memory for pairs of these sizes. From now on a step shows crops of them, which
    /// [`Trainer::write_pair`] copies there.
    ///
    /// # Errors
    /// When the GPU does not have enough memory.
    ///
    /// # Panics
    /// On the CPU, or if a pair is smaller than the image size.
    pub fn keep_pairs(&mut self, sizes: &[Size]) -> Result<()> {
        let sizes: Vec<[usize; 2]> = sizes.iter().map(|size| [size.height, size.width]).collect();
        self.device.keep_pairs(&sizes, [self.input, self.target])
    }

    /// Copies pair `index` to the memory that [`Trainer::keep_pairs`] has allocated.
    ///
    /// # Errors
    /// When the device has failed.
    ///
    /// # Panics
    /// If there is no pair `index`, or its samples are not those of whole pairs.
    pub fn write_pair(&mut self, index: usize, pair: &Pair) -> Result<()> {
        self.device.write_pairs(index, [&pair.input.samples, &pair.target.samples])
    }

    /// Executes one training step with `learning_rate` on `pictures`, which hold as many pairs as one update takes
    /// ([`TrainConfig::pairs_per_step`]), at the image size. A GPU is given the work and not waited for.
    ///
    /// # Errors
    /// When the device has failed.
    ///
    /// # Panics
    /// If `pictures` hold another number of pairs or samples, or crops of pairs that are not kept.
    pub fn step(&mut self, pictures: &StepPictures, learning_rate: f64) -> Result<()> {
        if learning_rate != self.learning_rate {
            self.device.set_control(Control { seed: self.config.seed, step: self.steps, learning_rate })?;
            self.learning_rate = learning_rate;
        }
        match pictures {
            StepPictures::Host(batch) => {
                let samples = [batch.pictures.inputs(), batch.pictures.targets()];
                self.device.show_samples([self.input, self.target], samples)?;
            }
            StepPictures::Resident(crops) => self.device.show(crops)?,
        }
        self.device.execute()?;
        self.steps += 1;
        let read = self.device.read_later(self.losses)?;
        self.pending.push_back(PendingLosses { step: self.steps, learning_rate, read });
        Ok(())
    }

    /// Returns the losses of the oldest step of which they have not been returned; `None` if there is none. The last
    /// `late` steps do not count where a GPU would have to be waited for.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn next_losses(&mut self, late: usize) -> Result<Option<StepLosses>> {
        let is_there = |losses: &PendingLosses| matches!(losses.read, PendingRead::Done(_));
        if self.pending.len() <= late && !self.pending.front().is_some_and(is_there) {
            return Ok(None);
        }
        let Some(PendingLosses { step, learning_rate, read }) = self.pending.pop_front() else { return Ok(None) };
        let values = term_values(&self.terms, &self.device.finish_read(read)?);
        Ok(Some(StepLosses { step, learning_rate, values }))
    }

    /// Returns true if all weights and moments are finite: an update can overflow while the losses before it were still
    /// fine.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn is_finite(&mut self) -> Result<bool> {
        let Trainer { device, networks, .. } = self;
        for state in states(networks) {
            if !device.is_finite(state.flat)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Runs the generator on the input of `pair`, which has the image size, with dropout as in training, and returns
    /// the generated picture. Weights and later training steps are not affected.
    ///
    /// # Errors
    /// When the device has failed.
    ///
    /// # Panics
    /// As [`Trainer::generate`].
    pub fn preview(&mut self, pair: &Pair) -> Result<Picture> {
        let output = self.generate(&pair.input)?;
        Ok(Picture::from_f32(self.config.image_size, self.preview.channels(), &output))
    }

    /// Runs the generator on an input picture of the image size, with dropout as in training. Returns its output as
    /// floats in [-1, 1], `[h, w, output channels]`.
    ///
    /// # Errors
    /// When the device has failed.
    ///
    /// # Panics
    /// If `picture` has another number of samples than the generator's input.
    pub fn generate(&mut self, picture: &Picture) -> Result<Vec<f32>> {
        self.device.write(self.input.batch_slice(0..1), &picture.to_f32())?;
        self.device.execute_on_demand()?;
        self.device.read(self.preview)
    }
}

/// Returns the states that a checkpoint holds: the weights of all networks, then their first moments, then their second
/// moments.
fn states(networks: &[RecordedNetwork]) -> impl Iterator<Item = NamedBuffer<'_>> {
    ["", "adam.first.", "adam.second."].into_iter().enumerate().flat_map(move |(kind, prefix)| {
        networks.iter().map(move |RecordedNetwork { network, parameters }| {
            let flat = [parameters.values, parameters.moments[0], parameters.moments[1]][kind];
            NamedBuffer { parameters, flat, prefix: format!("{prefix}{}", network.name) }
        })
    })
}

impl Tensors for Trainer {
    fn specs(&self) -> Vec<TensorSpec> {
        states(&self.networks).flat_map(|state| state.specs().collect::<Vec<_>>()).collect()
    }

    fn read(&self, index: usize) -> Result<Vec<f32>> {
        let mut index = index;
        for state in states(&self.networks) {
            let count = state.parameters.specs.len();
            if index < count {
                return state.read(&self.device, index);
            }
            index -= count;
        }
        unreachable!("a checkpoint asks for the tensors that it was told of")
    }
}
