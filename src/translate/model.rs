//! A trained generator, ready for images of any size.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::checkpoint::{About, Origin, Reader, resolve};
use crate::cli::GeneratorArgs;
use crate::data::picture::CHANNELS;
use crate::data::{Direction, PairOptions, Picture, Size};
use crate::device::{Chosen, Device};
use crate::nn::{Draws, Parameters, State, UNet};
use crate::program::Control;
use crate::tape::Tape;
use crate::tensor::Tensor;

/// The side of the pictures that the published networks are trained on.
const PUBLISHED_SIDE: usize = 256;

/// A generator from a checkpoint. Its program is recorded for one size at a time.
pub struct Model {
    checkpoint: PathBuf,
    about: About,
    dropout: bool,
    seed: u64,
    threads: usize,
    chosen: Chosen,
    recorded: Option<Recorded>,
}

/// The generator recorded for one size.
struct Recorded {
    size: Size,
    device: Device,
    input: Tensor,
    output: Tensor,
}

impl Model {
    /// Opens the newest checkpoint of a run, or a checkpoint file.
    ///
    /// # Errors
    /// When there is none, it is not a checkpoint of this format, or the device cannot be used.
    pub fn open(run_or_checkpoint: &Path, generator: &GeneratorArgs) -> Result<Model> {
        let GeneratorArgs { dropout, seed, device, threads } = *generator;
        let checkpoint = resolve(run_or_checkpoint)?;
        let about = Reader::open(&checkpoint)?.about()?;
        let UNet { input_channels, output_channels, .. } = about.generator;
        ensure!(
            [input_channels, output_channels].iter().all(|channels| (1..=CHANNELS.len()).contains(channels)),
            "{}: turns {input_channels} channels into {output_channels}, and pictures have 1 to 4",
            checkpoint.display()
        );
        Ok(Model { checkpoint, about, dropout, seed, threads, chosen: device.choose()?, recorded: None })
    }

    /// Which half of a pair it takes. Nothing is known of imported weights.
    pub fn direction(&self) -> Direction {
        match &self.about.origin {
            Origin::Run(meta) => meta.config.direction,
            Origin::Import(_) => Direction::AToB,
        }
    }

    /// How the pairs of `dir` come to what it takes. Imported weights are taken to be those of the published size.
    pub fn evaluation_options(&self, dir: &Path) -> PairOptions {
        match &self.about.origin {
            Origin::Run(meta) => meta.config.evaluation_options(dir),
            Origin::Import(_) => {
                let UNet { input_channels, output_channels, .. } = self.about.generator;
                PairOptions {
                    channels: [input_channels, output_channels],
                    ..PairOptions::rgb(Size::square(PUBLISHED_SIDE))
                }
            }
        }
    }

    /// Which weights these are, what noise they are used with, and where.
    pub fn describe(&self) -> String {
        let dropout = match self.dropout && self.about.generator.dropout > 0.0 {
            true => format!("on (seed {})", self.seed),
            false => "off".to_owned(),
        };
        let place = self.chosen.describe(self.threads);
        format!("{}, dropout {dropout}, on {place}", self.about.describe())
    }

    /// Translates one picture of any size, converted to the channels of the input. The sides are padded by their last row and
    /// column to what the network needs, and the result is cropped back. `number` picks the dropout's draws.
    ///
    /// # Errors
    /// When a tensor is missing from the checkpoint, or memory runs out.
    pub fn translate(&mut self, picture: Picture, number: u64) -> Result<Picture> {
        let size = picture.size;
        let padded = self.padded(size)?;
        let UNet { input_channels, output_channels, .. } = self.about.generator;
        let mut values = vec![0.0; padded.pixels() * input_channels];
        pad(&picture.with_channels(input_channels), padded).to_f32(&mut values);
        let output = Picture::from_f32(padded, output_channels, &self.generate(&values, padded, number)?);
        Ok(output.crop(0, 0, size))
    }

    /// The generator's output for `input`, `[h, w, channels]` in [-1, 1] with sides that the network can take.
    ///
    /// # Errors
    /// When a tensor is missing from the checkpoint, or memory runs out.
    pub fn generate(&mut self, input: &[f32], size: Size, number: u64) -> Result<Vec<f32>> {
        // One of another size is gone before the next is made: two would need the memory twice.
        let fitting = self.recorded.take().filter(|recorded| recorded.size == size);
        let recorded = match fitting {
            Some(recorded) => recorded,
            None => self.record(size)?,
        };
        let Recorded { device, input: place, output, .. } = self.recorded.insert(recorded);
        device.set_control(Control { step: number, ..device.control()? })?;
        device.write(*place, input)?;
        device.execute()?;
        device.read(*output)
    }

    /// The next sides that the network can halve as often as it does.
    fn padded(&self, size: Size) -> Result<Size> {
        let multiple = 1 << self.about.generator.depth;
        let up = |side: usize| side.next_multiple_of(multiple);
        Ok(Size { width: up(size.width), height: up(size.height) })
    }

    fn record(&self, size: Size) -> Result<Recorded> {
        let mut unet = self.about.generator;
        if !self.dropout {
            unet.dropout = 0.0;
        }
        let mut tape = Tape::new();
        let parameters = Parameters::new(&mut tape, unet.specs());
        let mut image = |channels| tape.persistent([1, size.height, size.width, channels]);
        let (input, output) = (image(unet.input_channels), image(unet.output_channels));
        unet.forward(&mut tape, &parameters, input, output, Draws { pass: 0, first_image: 0 });
        let control = Control { seed: self.seed, step: 0, learning_rate: 0.0 };
        let mut device = Device::new(tape.finish(), control, self.chosen.place, true)?;
        let state = State { parameters: &parameters, flat: parameters.values, prefix: "generator" };
        state.load(&mut device, &mut Reader::open(&self.checkpoint)?)?;
        Ok(Recorded { size, device, input, output })
    }
}

/// `picture` with its last column and row repeated up to `size`.
fn pad(picture: &Picture, size: Size) -> Picture {
    let (have, channels) = (picture.size, picture.channels);
    let mut samples = Vec::with_capacity(size.pixels() * channels);
    for y in 0..size.height {
        let row = &picture.samples[y.min(have.height - 1) * have.width * channels..][..have.width * channels];
        samples.extend_from_slice(row);
        let last = &row[row.len() - channels..];
        (have.width..size.width).for_each(|_| samples.extend_from_slice(last));
    }
    Picture { size, channels, samples }
}
