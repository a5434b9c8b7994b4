//! A recorded training step on a device, with its weights: what the loop calls, and what a checkpoint holds.

use anyhow::Result;

use super::step::{Losses, StepOptions, TrainingStep};
use crate::checkpoint::{Reader, TensorSpec, Tensors};
use crate::config::{TrainConfig, depth};
use crate::data::{Batch, Pair, to_f32, to_image};
use crate::device::cpu::Cpu;
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
    cpu: Cpu<f32>,
    generator: Parameters,
    discriminator: Parameters,
    input: Tensor,
    target: Tensor,
    losses: Tensor,
    preview: Tensor,
    config: TrainConfig,
}

impl Trainer {
    /// Both networks with the initial weights of the seed.
    ///
    /// # Errors
    /// When the system has not that much memory.
    pub fn new(config: &TrainConfig) -> Result<Trainer> {
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
        let cpu = Cpu::new(program, control)?;
        let config = config.clone();
        let mut trainer = Trainer { cpu, generator, discriminator, input, target, losses, preview, config };
        trainer.initialise();
        Ok(trainer)
    }

    fn initialise(&mut self) {
        let mut place = 0;
        for parameters in [&self.generator, &self.discriminator] {
            for (index, spec) in parameters.specs.iter().enumerate() {
                let values = spec.initial(self.config.seed, place);
                self.cpu.write(parameters.part(parameters.values, index), &values);
                place += 1;
            }
        }
    }

    /// Takes the weights, and nothing else, from a file.
    ///
    /// # Errors
    /// Naming the tensor that is missing or has another shape.
    pub fn load_weights(&mut self, reader: &mut Reader) -> Result<()> {
        let Trainer { cpu, generator, discriminator, .. } = self;
        states(generator, discriminator).take(2).try_for_each(|state| state.load(cpu, reader))
    }

    /// Takes weights, moments and the number of the step from a checkpoint.
    ///
    /// # Errors
    /// Naming the tensor that is missing or has another shape.
    pub fn resume(&mut self, reader: &mut Reader, step: u64) -> Result<()> {
        let Trainer { cpu, generator, discriminator, .. } = self;
        states(generator, discriminator).try_for_each(|state| state.load(cpu, reader))?;
        self.cpu.set_control(Control { step, ..self.cpu.control() });
        Ok(())
    }

    /// Steps done, those before a resume included.
    pub fn steps_done(&self) -> u64 {
        self.cpu.control().step
    }

    /// One training step.
    pub fn step(&mut self, batch: &Batch) -> Losses {
        self.cpu.write(self.input, &batch.input);
        self.cpu.write(self.target, &batch.target);
        self.cpu.execute();
        Losses::new(&self.cpu.read(self.losses))
    }

    /// Whether all weights and moments are finite: an update can overflow while the losses before it still were fine.
    pub fn is_finite(&self) -> bool {
        self.states().all(|state| self.cpu.is_finite(state.flat))
    }

    /// What the generator now makes of the input of `pair`, with dropout as in training.
    pub fn preview(&mut self, pair: &Pair) -> image::RgbImage {
        let input = self.input.batch_slice(0..1);
        let mut values = vec![0.0; input.count()];
        to_f32(&pair.input, &mut values);
        self.cpu.write(input, &values);
        self.cpu.execute_on_demand();
        to_image(&self.cpu.read(self.preview), self.config.image_size)
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

    fn read(&self, index: usize) -> Vec<f32> {
        let mut index = index;
        for state in self.states() {
            let count = state.parameters.specs.len();
            if index < count {
                return state.read(&self.cpu, index);
            }
            index -= count;
        }
        unreachable!("a checkpoint asks for the tensors that it was told of")
    }
}
