//! One training step as a recorded program, in each of the orders that people update the two networks in.
//!
//! With the generator first, the discriminator has not changed in between and drops nothing out, so its judgement
//! of the fake is the same number in both halves: one forward pass over `[fake, real]` serves them, which saves one of
//! three.

use std::ops::Range;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::engine::ops::adam::{AdamOptions, advance};
use crate::engine::ops::copy::copy;
use crate::engine::ops::loss::{Criterion, Loss};
use crate::engine::program::Program;
use crate::engine::tape::{Root, Tape};
use crate::engine::tensor::{Shape, Tensor};
use crate::gan::{Draws, Parameters, PatchGan, ReceptiveField, Recipe, UNet};

/// The GAN loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GanLoss {
    /// Mean squared error (Mao et al., 2017).
    Lsgan,
    /// Cross-entropy of probabilities: the discriminator ends with a sigmoid. Logarithms are cut off at -100.
    Bce,
    /// Cross-entropy of numbers whose sigmoid are the probabilities: the same, computed in one.
    BceLogits,
    /// No discriminator at all.
    None,
}

impl GanLoss {
    fn criterion(self, target: f64) -> Option<Criterion> {
        match self {
            GanLoss::Lsgan => Some(Criterion::Mse { target }),
            GanLoss::Bce => Some(Criterion::Bce { target }),
            GanLoss::BceLogits => Some(Criterion::BceLogits { target }),
            GanLoss::None => None,
        }
    }
}

/// The pixel loss, between the generator's picture and the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PixelLoss {
    /// Mean absolute error.
    L1,
    /// Mean squared error.
    L2,
    None,
}

impl PixelLoss {
    fn criterion(self, target: Tensor) -> Option<Criterion> {
        match self {
            PixelLoss::L1 => Some(Criterion::L1 { target }),
            PixelLoss::L2 => Some(Criterion::L2 { target }),
            PixelLoss::None => None,
        }
    }
}

/// The order of the two networks' updates, and the pictures that the second one works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOrder {
    /// The generator, then the discriminator on the same fake picture.
    GeneratorFirst,
    /// The discriminator, then the generator on the same fake picture, which the updated discriminator judges again.
    DiscriminatorFirst,
    /// The discriminator, then the generator on a picture made anew, with other dropout.
    DiscriminatorFirstFresh,
}

/// Options of a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions {
    pub generator: UNet,
    /// Its input channels follow from the generator's.
    pub discriminator: PatchGan,
    /// True if the discriminator sees the input picture beside the one it judges.
    pub conditional: bool,
    /// Pairs that are computed at once.
    pub batch: usize,
    /// Batches whose gradients are added up for one update.
    pub accumulate: usize,
    pub height: usize,
    pub width: usize,
    pub gan_loss: GanLoss,
    /// Weight of the adversarial loss in the generator's.
    pub gan_weight: f64,
    pub pixel_loss: PixelLoss,
    /// Weight of the pixel loss in the generator's.
    pub pixel_weight: f64,
    pub step_order: StepOrder,
    /// True if the discriminator's loss is half the sum of those on real and on fake pictures, and not the sum.
    pub halve_discriminator: bool,
    pub adam: AdamOptions,
}

impl StepOptions {
    /// A recipe for one RGB pair of `size` by `size` pixels, with `width` channels on the first level of both networks.
    pub fn of(recipe: Recipe, size: usize, width: usize, dropout: f64) -> StepOptions {
        let generator = UNet { width, depth: size.ilog2().min(8) as usize, dropout, ..UNet::of(recipe) };
        let (receptive_field, gan_loss, step_order) = match recipe {
            Recipe::PytorchGan => (ReceptiveField::R94, GanLoss::Lsgan, StepOrder::GeneratorFirst),
            Recipe::BlockCk => (ReceptiveField::Map70, GanLoss::Bce, StepOrder::DiscriminatorFirstFresh),
            Recipe::Isola => (ReceptiveField::R70, GanLoss::BceLogits, StepOrder::DiscriminatorFirst),
        };
        StepOptions {
            generator,
            discriminator: PatchGan {
                receptive_field,
                input_channels: generator.input_channels + generator.output_channels,
                width,
                norm: generator.norm,
                sigmoid: gan_loss == GanLoss::Bce,
            },
            conditional: true,
            batch: 1,
            accumulate: 1,
            height: size,
            width: size,
            gan_loss,
            gan_weight: 1.0,
            pixel_loss: PixelLoss::L1,
            pixel_weight: 100.0,
            step_order,
            halve_discriminator: true,
            adam: AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 },
        }
    }

    /// Pairs of one update.
    pub fn pairs(&self) -> usize {
        self.batch * self.accumulate
    }
}

/// A recorded training step and the tensors by which the host deals with it.
#[derive(Debug)]
pub struct TrainingStep {
    pub program: Program,
    pub generator: Parameters,
    /// `None` where nothing is adversarial.
    pub discriminator: Option<Parameters>,
    /// `[pairs, h, w, input channels]`: the condition, to be written before each execution.
    pub input: Tensor,
    /// `[pairs, h, w, output channels]`: the real picture, to be written before each execution.
    pub target: Tensor,
    /// `[1, 1, accumulate, 4]`, the values that the updates follow from: see [`Losses::of`].
    pub losses: Tensor,
    /// `[1, h, w, output channels]`: what the generator now makes of the first image of `input`, once the program's
    /// steps on demand have run.
    pub preview: Tensor,
}

/// The losses of one step; `None` where the step has no such loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// The discriminator's, halved or not as in its update.
    pub discriminator: Option<f32>,
    /// The generator's adversarial loss, unweighted.
    pub adversarial: Option<f32>,
    /// The generator's pixel loss, unweighted.
    pub pixel: Option<f32>,
}

impl Losses {
    /// From the values of [`TrainingStep::losses`]: adversarial, pixel, on real and on fake of every batch of the step.
    pub fn of(options: &StepOptions, values: &[f32]) -> Losses {
        let mean = |place: usize| {
            let sum: f32 = values.iter().skip(place).step_by(4).sum();
            sum / options.accumulate as f32
        };
        let is_adversarial = options.gan_loss != GanLoss::None;
        let halving = if options.halve_discriminator { 0.5 } else { 1.0 };
        Losses {
            discriminator: is_adversarial.then(|| halving * (mean(2) + mean(3))),
            adversarial: is_adversarial.then(|| mean(0)),
            pixel: (options.pixel_loss != PixelLoss::None).then(|| mean(1)),
        }
    }

    /// In the order of their fields.
    pub fn all(&self) -> [Option<f32>; 3] {
        [self.discriminator, self.adversarial, self.pixel]
    }

    pub fn is_finite(&self) -> bool {
        self.all().into_iter().flatten().all(f32::is_finite)
    }
}

/// The evaluations of the generator within a step, by what they are for. The preview's is that of a step which would
/// come later than any.
const FIRST: u16 = 0;
const FRESH: u16 = 1;
const PREVIEW: u16 = u16::MAX;

impl TrainingStep {
    /// # Errors
    /// When the step has no loss, or cannot be differentiated as it is recorded.
    pub fn record(options: &StepOptions) -> Result<TrainingStep> {
        let StepOptions { generator: unet, discriminator: patchgan, height, width, .. } = *options;
        let is_adversarial = options.gan_loss != GanLoss::None;
        ensure!(is_adversarial || options.pixel_loss != PixelLoss::None, "a step without any loss learns nothing");
        let mut tape = Tape::new();
        let generator = Parameters::new(&mut tape, unet.specs());
        let discriminator = is_adversarial.then(|| Parameters::new(&mut tape, patchgan.specs()));
        let image = |channels: usize| -> Shape { [options.pairs(), height, width, channels] };
        let input = tape.persistent(image(unet.input_channels));
        let target = tape.persistent(image(unet.output_channels));
        let losses = tape.persistent([1, 1, options.accumulate, 4]);

        let mut recorder = Recorder { tape: &mut tape, options, generator: &generator, input, target, losses };
        match &discriminator {
            Some(discriminator) => recorder.adversarial(discriminator)?,
            None => recorder.pixel_alone()?,
        }
        advance(&mut tape);

        tape.begin_on_demand();
        let preview = tape.persistent([1, height, width, unet.output_channels]);
        let draws = Draws { pass: PREVIEW, first_image: 0, by_step: false };
        unet.forward(&mut tape, &generator, input.batch_slice(0..1), preview, draws);
        Ok(TrainingStep { program: tape.finish(), generator, discriminator, input, target, losses, preview })
    }
}

/// The tape and the tensors of a step while it is recorded.
struct Recorder<'a> {
    tape: &'a mut Tape,
    options: &'a StepOptions,
    generator: &'a Parameters,
    input: Tensor,
    target: Tensor,
    losses: Tensor,
}

/// The discriminator's input of one batch: pictures, each beside the condition it was made from.
#[derive(Clone, Copy)]
struct Seen {
    whole: Tensor,
    fake: Tensor,
}

impl Recorder<'_> {
    fn adversarial(&mut self, discriminator: &Parameters) -> Result<()> {
        let StepOptions { step_order, batch, .. } = *self.options;
        let (fakes, reals) = (0..batch, batch..2 * batch);
        if step_order == StepOrder::GeneratorFirst {
            for number in 0..self.options.accumulate {
                let seen = self.show(number, FIRST, true);
                let judged = self.judge(discriminator, seen.whole);
                self.teach_generator(number, Some(judged.batch_slice(fakes.clone())), seen.fake)?;
                self.teach_discriminator(discriminator, number, judged, [&reals, &fakes])?;
            }
            self.update(self.generator);
            self.update(discriminator);
            return Ok(());
        }
        let mut first = Vec::new();
        for number in 0..self.options.accumulate {
            let seen = self.show(number, FIRST, true);
            let judged = self.judge(discriminator, seen.whole);
            self.teach_discriminator(discriminator, number, judged, [&reals, &fakes])?;
            first.push(Seen { whole: seen.whole.batch_slice(fakes.clone()), ..seen });
        }
        self.update(discriminator);
        for (number, first) in first.into_iter().enumerate() {
            let seen = match step_order {
                StepOrder::DiscriminatorFirstFresh => self.show(number, FRESH, false),
                _ if self.options.accumulate == 1 => first,
                // The same pictures made once more, rather than the activations of all batches kept until here.
                _ => self.show(number, FIRST, false),
            };
            let judged = self.judge(discriminator, seen.whole);
            self.teach_generator(number, Some(judged), seen.fake)?;
        }
        self.update(self.generator);
        Ok(())
    }

    fn pixel_alone(&mut self) -> Result<()> {
        let StepOptions { batch, height, width, .. } = *self.options;
        for number in 0..self.options.accumulate {
            let fake = self.tape.transient([batch, height, width, self.target.channels()]);
            self.generate(number, FIRST, fake);
            self.teach_generator(number, None, fake)?;
        }
        self.update(self.generator);
        Ok(())
    }

    /// The pairs of batch `number`.
    fn images(&self, number: usize) -> Range<usize> {
        number * self.options.batch..(number + 1) * self.options.batch
    }

    fn generate(&mut self, number: usize, pass: u16, fake: Tensor) {
        let images = self.images(number);
        let draws = Draws { pass, first_image: images.start, by_step: false };
        self.options.generator.forward(self.tape, self.generator, self.input.batch_slice(images), fake, draws);
    }

    /// Puts together what the discriminator sees of batch `number`: fakes, and behind them the real pictures if it is
    /// `with_real` ones.
    fn show(&mut self, number: usize, pass: u16, with_real: bool) -> Seen {
        let StepOptions { batch, height, width, generator, conditional, .. } = *self.options;
        let pictures = generator.output_channels;
        let conditions = if conditional { generator.input_channels } else { 0 };
        let kinds = if with_real { 2 } else { 1 };
        let whole = self.tape.transient([kinds * batch, height, width, pictures + conditions]);
        let (picture, condition) = if generator.recipe.puts_condition_first() {
            (whole.channel_slice(conditions..conditions + pictures), whole.channel_slice(0..conditions))
        } else {
            (whole.channel_slice(0..pictures), whole.channel_slice(pictures..pictures + conditions))
        };
        let fake = picture.batch_slice(0..batch);
        self.generate(number, pass, fake);
        let images = self.images(number);
        if with_real {
            copy(self.tape, self.target.batch_slice(images.clone()), picture.batch_slice(batch..2 * batch));
        }
        if conditional {
            let input = self.input.batch_slice(images);
            for kind in 0..kinds {
                copy(self.tape, input, condition.batch_slice(kind * batch..(kind + 1) * batch));
            }
        }
        Seen { whole, fake }
    }

    fn judge(&mut self, discriminator: &Parameters, seen: Tensor) -> Tensor {
        self.options.discriminator.forward(self.tape, discriminator, seen)
    }

    /// Records the generator's losses on batch `number`, of which it made `fake` and the discriminator's judgement is
    /// `judged`, and what follows from them for its gradients.
    fn teach_generator(&mut self, number: usize, judged: Option<Tensor>, fake: Tensor) -> Result<()> {
        let options = self.options;
        let target = self.target.batch_slice(self.images(number));
        let fooled = judged.zip(options.gan_loss.criterion(1.0));
        let fooled = fooled.map(|(judged, criterion)| self.loss(judged, criterion, options.gan_weight, number, 0));
        let pixel = options.pixel_loss.criterion(target);
        let pixel = pixel.map(|criterion| self.loss(fake, criterion, options.pixel_weight, number, 1));
        self.backward(&[fooled, pixel], self.generator)
    }

    /// The same for the discriminator, whose judgements `judged` are those of the images `reals` and `fakes`.
    fn teach_discriminator(
        &mut self,
        discriminator: &Parameters,
        number: usize,
        judged: Tensor,
        [reals, fakes]: [&Range<usize>; 2],
    ) -> Result<()> {
        let options = self.options;
        let weight = if options.halve_discriminator { 0.5 } else { 1.0 };
        let losses = [(reals, 1.0, 2), (fakes, 0.0, 3)].map(|(images, target, place)| {
            let criterion = options.gan_loss.criterion(target)?;
            Some(self.loss(judged.batch_slice(images.clone()), criterion, weight, number, place))
        });
        self.backward(&losses, discriminator)
    }

    fn loss(&self, of: Tensor, criterion: Criterion, weight: f64, number: usize, place: usize) -> Loss {
        let value = Tensor { shape: [1, 1, 1, 4], offset: self.losses.offset + 4 * number, ..self.losses };
        let weight = weight / self.options.accumulate as f64;
        Loss { of, criterion, weight, value: value.channel_slice(place..place + 1) }
    }

    fn backward(&mut self, losses: &[Option<Loss>], parameters: &Parameters) -> Result<()> {
        let roots: Vec<&dyn Root> = losses.iter().flatten().map(|loss| loss as &dyn Root).collect();
        self.tape.backward(&roots, &[parameters.values])?;
        Ok(())
    }

    fn update(&mut self, parameters: &Parameters) {
        parameters.update(self.tape, self.options.adam);
    }
}
