//! A recorded training step on a device, with its weights: what the loop calls, and what a checkpoint holds.

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};

use crate::base::words::shortened;
use crate::checkpoint::State;
use crate::checkpoint::{Reader, TensorSpec, Tensors};
use crate::config::TrainConfig;
use crate::data::{Pair, Picture, Pictures};
use crate::engine::access::Control;
use crate::engine::device::{Device, Place};
use crate::engine::tensor::Tensor;
use crate::exchange::Weights;
use crate::gan::step::{Losses, StepOptions, TrainingStep};
use crate::gan::{Init, Parameters};

pub struct Trainer {
    device: Device,
    /// Done, those before a resume included: what the device counts, without asking it.
    steps: u64,
    /// What the device has.
    learning_rate: f64,
    generator: Parameters,
    /// `None` where nothing is adversarial.
    discriminator: Option<Parameters>,
    input: Tensor,
    target: Tensor,
    losses: Tensor,
    preview: Tensor,
    options: StepOptions,
    config: TrainConfig,
}

impl Trainer {
    /// Both networks at `place`, with the initial weights of the seed.
    ///
    /// # Errors
    /// When there is not that much memory, or the GPU cannot be used.
    pub fn new(config: &TrainConfig, place: Place) -> Result<Trainer> {
        let options = config.step_options();
        let TrainingStep { program, generator, discriminator, input, target, losses, preview } =
            TrainingStep::record(&options)?;
        let control = Control { seed: config.seed, step: 0, learning_rate: config.lr };
        let device = Device::new(program, control, place, config.device_options())?;
        let config = config.clone();
        let mut trainer = Trainer {
            device,
            steps: 0,
            learning_rate: config.lr,
            generator,
            discriminator,
            input,
            target,
            losses,
            preview,
            options,
            config,
        };
        trainer.initialise()?;
        Ok(trainer)
    }

    fn initialise(&mut self) -> Result<()> {
        let init = Init { kind: self.config.init, gain: self.config.init_gain };
        let mut place = 0;
        for parameters in [&self.generator].into_iter().chain(&self.discriminator) {
            for (index, spec) in parameters.specs.iter().enumerate() {
                let values = init.values(spec, self.config.seed, place);
                self.device.write(parameters.part(parameters.values, index), &values)?;
                place += 1;
            }
        }
        Ok(())
    }

    /// Takes the weights, and nothing else, from a file, and names the networks that it has taken. A network of which
    /// the file has nothing keeps its own.
    ///
    /// # Errors
    /// When the file has nothing of either network, or naming the tensor that is missing, too many, or of another
    /// shape.
    pub fn load_weights(&mut self, weights: &mut Weights) -> Result<Vec<&'static str>> {
        let Trainer { device, generator, discriminator, .. } = self;
        let names: Vec<String> = weights.specs().into_iter().map(|spec| spec.name).collect();
        let mut found = Vec::new();
        for state in states(generator, discriminator.as_ref()).filter(State::is_weights) {
            let prefix = format!("{}.", state.prefix);
            let mut theirs = names.iter().filter(|name| name.starts_with(&prefix)).peekable();
            if theirs.peek().is_none() {
                continue;
            }
            state.load(device, |name, shape| weights.tensor(name, shape))?;
            let ours: HashSet<String> = state.specs().map(|spec| spec.name).collect();
            if let Some(name) = theirs.find(|name| !ours.contains(*name)) {
                let network = state.prefix;
                bail!(
                    "--start-from: the file has {}, which the {network} of these settings does not have: give those \
                     that it was made with, such as --norm",
                    shortened(name)
                );
            }
            found.push(state.prefix);
        }
        ensure!(
            !found.is_empty(),
            match names.iter().any(|name| name.starts_with("discriminator.")) {
                true => "--start-from: the file holds a discriminator, which a run with --gan-loss none does not have",
                false => "--start-from: the file has no tensor called generator.* or discriminator.*",
            }
        );
        Ok(found)
    }

    /// Takes weights, moments and the number of the step from a checkpoint.
    ///
    /// # Errors
    /// Naming the tensor that is missing or has another shape.
    pub fn resume(&mut self, reader: &mut Reader, step: u64) -> Result<()> {
        let Trainer { device, generator, discriminator, .. } = self;
        states(generator, discriminator.as_ref())
            .try_for_each(|state| state.load(device, |name, shape| reader.tensor(name, shape)))?;
        self.device.set_control(Control { step, ..self.device.control()? })?;
        self.steps = step;
        Ok(())
    }

    /// Steps done, those before a resume included.
    pub fn steps_done(&self) -> u64 {
        self.steps
    }

    /// One training step.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn step(&mut self, pictures: &Pictures, learning_rate: f64) -> Result<Losses> {
        if learning_rate != self.learning_rate {
            self.device.set_control(Control { learning_rate, ..self.device.control()? })?;
            self.learning_rate = learning_rate;
        }
        self.device.write_samples(self.input, pictures.inputs())?;
        self.device.write_samples(self.target, pictures.targets())?;
        self.device.execute()?;
        self.steps += 1;
        Ok(Losses::of(&self.options, &self.device.read(self.losses)?))
    }

    /// Whether all weights and moments are finite: an update can overflow while the losses before it still were fine.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn is_finite(&mut self) -> Result<bool> {
        let Trainer { device, generator, discriminator, .. } = self;
        for state in states(generator, discriminator.as_ref()) {
            if !device.is_finite(state.flat)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the generator now makes of the input of `pair`, with dropout as in training.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn preview(&mut self, pair: &Pair) -> Result<Picture> {
        let output = self.generate(&pair.input)?;
        Ok(Picture::from_f32(self.config.image_size, self.preview.channels(), &output))
    }

    /// The same as floats in [-1, 1], `[h, w, output channels]`, of an input picture of the networks' size.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn generate(&mut self, picture: &Picture) -> Result<Vec<f32>> {
        self.device.write(self.input.batch_slice(0..1), &picture.values())?;
        self.device.execute_on_demand()?;
        self.device.read(self.preview)
    }

    fn states(&self) -> impl Iterator<Item = State<'_>> {
        states(&self.generator, self.discriminator.as_ref())
    }
}

/// Everything that a checkpoint holds of the networks: first the weights of both, then the moments.
fn states<'a>(generator: &'a Parameters, discriminator: Option<&'a Parameters>) -> impl Iterator<Item = State<'a>> {
    let networks = [
        (Some(generator), ["generator", "adam.first.generator", "adam.second.generator"]),
        (discriminator, ["discriminator", "adam.first.discriminator", "adam.second.discriminator"]),
    ];
    (0..3).flat_map(move |kind| {
        networks.into_iter().filter_map(move |(parameters, prefixes)| {
            let parameters = parameters?;
            let flat = [parameters.values, parameters.moments[0], parameters.moments[1]][kind];
            Some(State { parameters, flat, prefix: prefixes[kind] })
        })
    })
}

impl Tensors for Trainer {
    fn specs(&self) -> Vec<TensorSpec> {
        self.states().flat_map(|state| state.specs().collect::<Vec<_>>()).collect()
    }

    fn read(&self, index: usize) -> Result<Vec<f32>> {
        let mut index = index;
        for state in self.states() {
            let count = state.parameters.specs.len();
            if index < count {
                return state.read(&self.device, index);
            }
            index -= count;
        }
        unreachable!("a checkpoint asks for the tensors that it was told of")
    }
}
