//! A recorded training step on a device, with its weights: what the loop calls, and what a checkpoint holds.

use anyhow::Result;

use super::step::{Losses, StepOptions, TrainingStep};
use crate::checkpoint::{Reader, TensorSpec, Tensors};
use crate::config::{TrainConfig, depth};
use crate::data::{Pair, Picture, Pictures};
use crate::device::{Device, Place};
use crate::nn::{Parameters, PatchGan, State, UNet};
use crate::ops::adam::AdamOptions;
use crate::program::Control;
use crate::tensor::Tensor;

/// Channels of the pictures on either side.
const CHANNELS: usize = 3;

/// What is not an option: the second moment's decay and the guard of the division are those of the recipe and of PyTorch.
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The generator that a run trains.
///
/// # Errors
/// When the image size does not fit any depth.
pub fn generator(config: &TrainConfig) -> Result<UNet> {
    Ok(UNet {
        input_channels: CHANNELS,
        output_channels: CHANNELS,
        width: config.ngf,
        depth: depth(config.image_size)?,
        dropout: config.dropout,
    })
}

pub struct Trainer {
    device: Device,
    /// Done, those before a resume included: what the device counts, without asking it.
    steps: u64,
    generator: Parameters,
    discriminator: Parameters,
    input: Tensor,
    target: Tensor,
    losses: Tensor,
    preview: Tensor,
    config: TrainConfig,
}

impl Trainer {
    /// Both networks at `place`, with the initial weights of the seed.
    ///
    /// # Errors
    /// When there is not that much memory, or the GPU cannot be used.
    pub fn new(config: &TrainConfig, place: Place) -> Result<Trainer> {
        let TrainingStep { program, generator, discriminator, input, target, losses, preview } =
            TrainingStep::record(&StepOptions {
                generator: generator(config)?,
                discriminator: PatchGan { input_channels: 2 * CHANNELS, width: config.ndf },
                batch: config.batch,
                height: config.image_size.height,
                width: config.image_size.width,
                pixel_weight: config.lambda_pixel,
                adam: AdamOptions { beta1: config.beta1, beta2: BETA2, epsilon: EPSILON },
            })?;
        let control = Control { seed: config.seed, step: 0, learning_rate: config.lr };
        let device = Device::new(program, control, place, config.cuda_graph)?;
        let config = config.clone();
        let mut trainer =
            Trainer { device, steps: 0, generator, discriminator, input, target, losses, preview, config };
        trainer.initialise()?;
        Ok(trainer)
    }

    fn initialise(&mut self) -> Result<()> {
        let mut place = 0;
        for parameters in [&self.generator, &self.discriminator] {
            for (index, spec) in parameters.specs.iter().enumerate() {
                let values = spec.initial(self.config.seed, place);
                self.device.write(parameters.part(parameters.values, index), &values)?;
                place += 1;
            }
        }
        Ok(())
    }

    /// Takes the weights, and nothing else, from a file.
    ///
    /// # Errors
    /// Naming the tensor that is missing or has another shape.
    pub fn load_weights(&mut self, reader: &mut Reader) -> Result<()> {
        let Trainer { device, generator, discriminator, .. } = self;
        states(generator, discriminator).take(2).try_for_each(|state| state.load(device, reader))
    }

    /// Takes weights, moments and the number of the step from a checkpoint.
    ///
    /// # Errors
    /// Naming the tensor that is missing or has another shape.
    pub fn resume(&mut self, reader: &mut Reader, step: u64) -> Result<()> {
        let Trainer { device, generator, discriminator, .. } = self;
        states(generator, discriminator).try_for_each(|state| state.load(device, reader))?;
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
    pub fn step(&mut self, pictures: &Pictures) -> Result<Losses> {
        self.device.show(pictures, self.input, self.target)?;
        self.device.execute()?;
        self.steps += 1;
        Ok(Losses::new(&self.device.read(self.losses)?))
    }

    /// Whether all weights and moments are finite: an update can overflow while the losses before it still were fine.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn is_finite(&mut self) -> Result<bool> {
        let Trainer { device, generator, discriminator, .. } = self;
        for state in states(generator, discriminator) {
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
        let input = self.input.batch_slice(0..1);
        let mut values = vec![0.0; input.count()];
        pair.input.to_f32(&mut values);
        self.device.write(input, &values)?;
        self.device.execute_on_demand()?;
        let channels = self.preview.channels();
        Ok(Picture::from_f32(self.config.image_size, channels, &self.device.read(self.preview)?))
    }

    fn states(&self) -> impl Iterator<Item = State<'_>> {
        states(&self.generator, &self.discriminator)
    }
}

/// Everything that a checkpoint holds of the networks: first the weights of both, then the moments.
fn states<'a>(generator: &'a Parameters, discriminator: &'a Parameters) -> impl Iterator<Item = State<'a>> {
    [
        State { parameters: generator, flat: generator.values, prefix: "generator" },
        State { parameters: discriminator, flat: discriminator.values, prefix: "discriminator" },
        State { parameters: generator, flat: generator.moments[0], prefix: "adam.first.generator" },
        State { parameters: generator, flat: generator.moments[1], prefix: "adam.second.generator" },
        State { parameters: discriminator, flat: discriminator.moments[0], prefix: "adam.first.discriminator" },
        State { parameters: discriminator, flat: discriminator.moments[1], prefix: "adam.second.discriminator" },
    ]
    .into_iter()
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
