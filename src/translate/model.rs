//! A trained generator, ready for images of any size.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::checkpoint::NamedBuffer;
use crate::checkpoint::{About, Origin, resolve};
use crate::data::{Direction, PairOptions, Size};
use crate::engine::access::Control;
use crate::engine::device::{ChosenDevice, Device, DeviceChoice, DeviceId, DeviceOptions};
use crate::engine::program::Program;
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;
use crate::exchange::Weights;
use crate::gan::{Draws, PUBLISHED_SIDE, ParameterSpec, Parameters, Precision};

/// The flags `--dropout`, `--seed`, `--precision`, `--device` and `--threads` of the commands that run a trained
/// generator.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    pub dropout: bool,
    pub seed: u64,
    pub precision: Precision,
    pub device: DeviceChoice,
    pub threads: usize,
}

/// A trained generator and the device that runs it. Its forward pass is recorded when the first images come, and again
/// for images of another size or more of them.
pub struct Model {
    checkpoint: PathBuf,
    about: About,
    note: Option<String>,
    dropout: bool,
    seed: u64,
    precision: Precision,
    threads: usize,
    chosen: ChosenDevice,
    recorded: Option<Recorded>,
}

/// The forward pass, recorded for batches of images of one size.
struct Recorded {
    size: Size,
    device: Device,
    /// `[images, h, w, channels]`.
    input: Tensor,
    output: Tensor,
    parameters: Parameters,
}

impl Model {
    /// Opens a generator: the newest checkpoint of a run folder, a checkpoint file, or weights alone in a safetensors
    /// file. Its weights are read later, by the first [`Model::generate`].
    ///
    /// # Errors
    /// When there is no such file, it is of another format version or has no known generator, or the device cannot be
    /// used.
    pub fn open(run_or_checkpoint: &Path, generator: &GeneratorOptions) -> Result<Model> {
        let GeneratorOptions { dropout, seed, precision, device, threads } = *generator;
        let checkpoint = resolve(run_or_checkpoint)?;
        let weights = Weights::open_generator(&checkpoint)?;
        let about = weights.about()?;
        let note = weights.note();
        let chosen = device.choose()?;
        chosen.require(precision.activations())?;
        Ok(Model { checkpoint, about, note, dropout, seed, precision, threads, chosen, recorded: None })
    }

    /// The direction in which the generator translates pairs: from A to B, or from B to A.
    pub fn direction(&self) -> Direction {
        self.about.direction()
    }

    /// Returns a line that says what the generator of another program was recognised as, and which direction is assumed
    /// for it. `None` for a generator of this program.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Number of channels of the input and of the output.
    pub fn channels(&self) -> [usize; 2] {
        [self.about.generator.in_channels, self.about.generator.out_channels]
    }

    /// Returns the size of the images in training. For imported weights, which do not say it, that is 256x256, as
    /// published.
    pub fn training_size(&self) -> Size {
        match &self.about.origin {
            Origin::Run(meta) => meta.config.image_size,
            Origin::Import { .. } => Size::square(PUBLISHED_SIDE),
        }
    }

    /// Returns the options for reading the pairs in the folder `dir`, to evaluate the generator on: direction, channels
    /// and size as in training, and, if the run was trained on `dir`, the fraction of the pairs that it held out.
    pub fn evaluation_options(&self, dir: &Path) -> PairOptions {
        match &self.about.origin {
            Origin::Run(meta) => meta.config.evaluation_options(dir),
            Origin::Import { direction, .. } => {
                let (direction, channels) = (*direction, self.channels());
                PairOptions { direction, channels, ..PairOptions::rgb(self.training_size()) }
            }
        }
    }

    /// Returns the number that both sides of an input must be multiples of: 2 to the power of the depth, as each level
    /// of the generator halves them.
    pub fn multiple(&self) -> usize {
        1 << self.about.generator.depth
    }

    /// True if the output depends on the seed: dropout is switched on, and the generator has layers with dropout.
    pub fn is_stochastic(&self) -> bool {
        self.dropout && self.about.generator.has_dropout()
    }

    /// Returns the number of images to give to [`Model::generate`] together: `asked` on a GPU, 1 on the CPU. The CPU's
    /// matrix products add up in an order that depends on the batch, and a result must not depend on the other images
    /// of its batch.
    pub fn batch_size(&self, asked: usize) -> usize {
        match self.chosen.device {
            DeviceId::Cpu => 1,
            DeviceId::Cuda(_) => asked,
        }
    }

    /// Returns the origin of the weights, the dropout and the device as a phrase:
    /// `weights of step 400, dropout on (seed 1), on the CPU with 8 threads`.
    pub fn describe(&self) -> String {
        let dropout = match self.is_stochastic() {
            true => format!("on (seed {})", self.seed),
            false => "off".to_owned(),
        };
        let precision = match self.precision {
            Precision::F32 => "",
            Precision::Bf16 => ", in bf16",
        };
        let device = self.chosen.describe(self.threads);
        format!("{}, dropout {dropout}{precision}, on {device}", self.about.describe())
    }

    /// Runs the generator on `inputs`, one image or several of `size`, `[images, h, w, input channels]` in [-1, 1], and
    /// returns the outputs, `[images, h, w, output channels]` in [-1, 1]. Both sides are multiples of
    /// [`Model::multiple`]. Image `i` gets the dropout masks of number `first + i`, so they do not depend on the
    /// division into batches.
    ///
    /// # Errors
    /// When a tensor is missing from the checkpoint, memory runs out, or the device has failed.
    ///
    /// # Panics
    /// When `inputs` are not a whole number of images of `size`.
    pub fn generate(&mut self, inputs: Vec<f32>, size: Size, first: u64) -> Result<Vec<f32>> {
        let count = inputs.len() / (size.pixels() * self.about.generator.in_channels);
        let recorded = match self.recorded.take() {
            Some(recorded) if recorded.size == size && recorded.input.shape[0] >= count => recorded,
            before => self.record(size, count, before)?,
        };
        let Recorded { device, input, output, .. } = self.recorded.insert(recorded);
        device.set_control(Control { step: first, ..device.control()? })?;
        device.write(input.batch_slice(0..count), &inputs)?;
        // The network may need the memory of large inputs.
        drop(inputs);
        device.execute()?;
        device.read(output.batch_slice(0..count))
    }

    /// The forward pass as a program for `count` images of `size`, with its parameters, its input and its output.
    fn program(&self, size: Size, count: usize) -> (Program, Parameters, [Tensor; 2]) {
        let mut unet = self.about.generator;
        if !self.dropout {
            unet.dropout = 0.0;
        }
        let mut tape = Tape::with_activations(self.precision.activations());
        let parameters = Parameters::new(&mut tape, unet.specs());
        let mut images = |channels| tape.persistent([count, size.height, size.width, channels]);
        let (input, output) = (images(unet.in_channels), images(unet.out_channels));
        unet.forward(&mut tape, &parameters, input, output, Draws { pass: 0, first_image: 0, by_step: true });
        (tape.finish(), parameters, [input, output])
    }

    /// Returns the number of bytes of host memory that the forward pass takes for `count` images of `size`, weights
    /// included; 0 on a GPU.
    pub fn program_bytes(&self, size: Size, count: usize) -> u64 {
        self.chosen.device.program_bytes(self.program(size, count).0, DeviceOptions::default())
    }

    /// Number of bytes that the generator's parameters take as f32.
    pub fn weight_bytes(&self) -> u64 {
        let weights: usize = self.about.generator.specs().iter().map(ParameterSpec::count).sum();
        (size_of::<f32>() * weights) as u64
    }

    /// Records the forward pass for `count` images of `size`. The weights come from the program `before` where there is
    /// one, else from the checkpoint.
    fn record(&self, size: Size, count: usize, before: Option<Recorded>) -> Result<Recorded> {
        let weights = before.map(|before| before.device.read(before.parameters.values)).transpose()?;
        // The previous program is gone by now: two would need the memory twice.
        let (program, parameters, [input, output]) = self.program(size, count);
        let control = Control { seed: self.seed, step: 0, learning_rate: 0.0 };
        let mut device = Device::new(program, control, self.chosen.device, DeviceOptions::default())?;
        match weights {
            Some(weights) => device.write(parameters.values, &weights)?,
            None => {
                let state =
                    NamedBuffer { parameters: &parameters, flat: parameters.values, prefix: "generator".to_owned() };
                let mut weights = Weights::open_generator(&self.checkpoint)?;
                state.load(&mut device, |name, shape| weights.tensor(name, shape))?;
            }
        }
        Ok(Recorded { size, device, input, output, parameters })
    }
}
