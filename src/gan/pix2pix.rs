//! Pix2Pix (Isola et al., 2017): a generator `G` that translates a picture `x`, and a discriminator `D` that tells its
//! translations from the real picture `y`.
//!
//! ```text
//! D minimises   1/2 GAN(D(x, y), real) + 1/2 GAN(D(x, G(x)), fake)
//! G minimises   lambda_gan GAN(D(x, G(x)), real) + lambda_pixel |y - G(x)|
//! ```

use std::slice::from_ref;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::objective::{Architecture, StepShape, Value};
use super::recorder::Batch;
use super::{Draws, Network, Objective, PatchGan, Recorder, Term, UNet};
use crate::engine::ops::adam::AdamOptions;
use crate::engine::ops::copy::copy;
use crate::engine::ops::loss::Criterion;
use crate::engine::tensor::Tensor;

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

/// The answer that a discriminator is compared with.
const REAL: f64 = 1.0;
const FAKE: f64 = 0.0;

impl GanLoss {
    /// The criterion of a discriminator's map that is to say `answer` everywhere.
    ///
    /// # Panics
    /// Of [`GanLoss::None`].
    fn criterion(self, answer: f64) -> Criterion {
        match self {
            GanLoss::Lsgan => Criterion::Mse { target: answer },
            GanLoss::Bce => Criterion::Bce { target: answer },
            GanLoss::BceLogits => Criterion::BceLogits { target: answer },
            GanLoss::None => unreachable!("there is no discriminator"),
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

/// The objective of Pix2Pix, with everything in which its published versions differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pix2Pix {
    pub generator: UNet,
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
    /// Weight of the GAN loss in the generator's total.
    pub lambda_gan: f64,
    pub pixel_loss: PixelLoss,
    /// Weight of the pixel loss in the generator's total.
    pub lambda_pixel: f64,
    pub step_order: StepOrder,
    /// True if the discriminator's total is half the sum of its losses on real and on fake pictures, and not the sum.
    pub halve_d: bool,
    pub adam: AdamOptions,
}

const GENERATOR: &str = "generator";
const DISCRIMINATOR: &str = "discriminator";

/// The generator's forward passes within a step, which draw different dropout. The preview's number is that of a step
/// which would come later than any.
const FIRST: u16 = 0;
const FRESH: u16 = 1;
const PREVIEW: u16 = u16::MAX;

/// Input of the discriminator, `[n or 2n, h, w, channels]`: n generated pictures, then n real ones where they are
/// needed, each beside the condition.
#[derive(Clone, Copy)]
struct Pictures {
    all: Tensor,
    /// `[n, h, w, output channels]`: the generated ones alone.
    fake: Tensor,
}

impl Objective for Pix2Pix {
    fn record(&self, step: &mut Recorder) -> Result<()> {
        if self.gan_loss == GanLoss::None {
            step.each_batch(|step, batch| {
                let fake = step.tape.transient(batch.target.shape);
                self.generate(step, batch, FIRST, fake);
                self.backward_generator(step, batch, fake, None)
            })?;
            step.update(GENERATOR);
        } else if self.step_order == StepOrder::GeneratorFirst {
            // The discriminator has not changed in between and drops nothing out: one forward pass serves both halves.
            step.each_batch(|step, batch| {
                let pictures = self.pictures(step, batch, FIRST, true);
                let map = self.discriminate(step, pictures.all);
                self.backward_generator(step, batch, pictures.fake, Some(self.of_fake(map)))?;
                self.backward_discriminator(step, batch, map)
            })?;
            step.update(GENERATOR);
            step.update(DISCRIMINATOR);
        } else {
            let first = step.each_batch(|step, batch| {
                let pictures = self.pictures(step, batch, FIRST, true);
                let map = self.discriminate(step, pictures.all);
                self.backward_discriminator(step, batch, map)?;
                Ok(Pictures { all: self.of_fake(pictures.all), ..pictures })
            })?;
            step.update(DISCRIMINATOR);
            step.each_batch(|step, batch| {
                let pictures = match self.step_order {
                    StepOrder::DiscriminatorFirstFresh => self.pictures(step, batch, FRESH, false),
                    _ if step.accumulate() == 1 => first[batch.index],
                    // The same pictures computed again, rather than the activations of all batches kept until here.
                    _ => self.pictures(step, batch, FIRST, false),
                };
                let map = self.discriminate(step, pictures.all);
                self.backward_generator(step, batch, pictures.fake, Some(map))
            })?;
            step.update(GENERATOR);
        }
        Ok(())
    }

    fn record_preview(&self, step: &mut Recorder, x: Tensor, out: Tensor) {
        let draws = Draws { pass: PREVIEW, first_image: 0, by_step: false };
        let parameters = step.parameters(GENERATOR).clone();
        self.generator.forward(&mut step.tape, &parameters, x, out, draws);
    }

    fn networks(&self) -> Vec<Network> {
        let network =
            |name, architecture, input| Network { name, architecture, input, size: self.size(), adam: self.adam };
        let input = match (self.conditional, self.generator.recipe.puts_condition_first()) {
            (false, _) => "one picture",
            (true, true) => "one condition and its picture",
            (true, false) => "one picture and its condition",
        };
        let generator = network(GENERATOR, Architecture::UNet(self.generator), "one image");
        let discriminator = network(DISCRIMINATOR, Architecture::PatchGan(self.discriminator), input);
        [generator].into_iter().chain((self.gan_loss != GanLoss::None).then_some(discriminator)).collect()
    }

    fn terms(&self) -> Vec<Term> {
        let has = |term: &Term| match term.name {
            "pixel" => self.pixel_loss != PixelLoss::None,
            "g" => true,
            _ => self.gan_loss != GanLoss::None,
        };
        let term = |name, title, note, is_detail, value| Term { name, title, note, is_detail, value };
        let one = || Value::Losses(vec![1.0]);
        let half = if self.halve_d { 0.5 } else { 1.0 };
        let mut terms = vec![
            term(
                "d",
                "Discriminator",
                "its total: how far it is from telling real and generated apart",
                false,
                Value::Total(vec![("d_real", half), ("d_fake", half)]),
            ),
            term("adv", "Adversarial", "how far the generator is from being taken for real", false, one()),
            term("pixel", "Pixel", "how far outputs are from their targets", false, one()),
            term(
                "g",
                "Generator",
                "its total: the terms above by their weights",
                true,
                Value::Total(vec![("adv", self.lambda_gan), ("pixel", self.lambda_pixel)]),
            ),
            term("d_real", "Discriminator real", "its loss on real pictures", true, one()),
            term("d_fake", "Discriminator fake", "its loss on generated pictures", true, one()),
        ];
        terms.retain(has);
        let names: Vec<&str> = terms.iter().map(|term| term.name).collect();
        for term in &mut terms {
            if let Value::Total(parts) = &mut term.value {
                parts.retain(|(name, _)| names.contains(name));
            }
        }
        terms
    }

    fn shape(&self) -> StepShape {
        let Pix2Pix { batch, accumulate, height, width, .. } = *self;
        let UNet { input_channels, output_channels, .. } = self.generator;
        StepShape { batch, accumulate, height, width, input_channels, output_channels }
    }
}

impl Pix2Pix {
    /// Records `out = G(x)` for a batch.
    fn generate(&self, step: &mut Recorder, batch: &Batch, pass: u16, out: Tensor) {
        let draws = Draws { pass, first_image: batch.images.start, by_step: false };
        let parameters = step.parameters(GENERATOR).clone();
        self.generator.forward(&mut step.tape, &parameters, batch.input, out, draws);
    }

    /// Records the generated pictures of a batch as the discriminator sees them, with the real ones behind them if
    /// `with_real`.
    fn pictures(&self, step: &mut Recorder, batch: &Batch, pass: u16, with_real: bool) -> Pictures {
        let [n, height, width, pictures] = batch.target.shape;
        let conditions = if self.conditional { batch.input.channels() } else { 0 };
        let kinds = if with_real { 2 } else { 1 };
        let all = step.tape.transient([kinds * n, height, width, pictures + conditions]);
        let (picture, condition) = if self.generator.recipe.puts_condition_first() {
            (all.channel_slice(conditions..conditions + pictures), all.channel_slice(0..conditions))
        } else {
            (all.channel_slice(0..pictures), all.channel_slice(pictures..pictures + conditions))
        };
        let fake = self.of_fake(picture);
        self.generate(step, batch, pass, fake);
        if with_real {
            copy(&mut step.tape, batch.target, self.of_real(picture));
        }
        if self.conditional {
            for kind in 0..kinds {
                copy(&mut step.tape, batch.input, condition.batch_slice(kind * n..(kind + 1) * n));
            }
        }
        Pictures { all, fake }
    }

    /// Records the discriminator's forward pass, and returns its map.
    fn discriminate(&self, step: &mut Recorder, x: Tensor) -> Tensor {
        let parameters = step.parameters(DISCRIMINATOR).clone();
        self.discriminator.forward(&mut step.tape, &parameters, x)
    }

    /// Records the generator's losses on a batch, of which it made `fake`, and their gradients. `map` is the
    /// discriminator's of the generated pictures.
    fn backward_generator(&self, step: &mut Recorder, batch: &Batch, fake: Tensor, map: Option<Tensor>) -> Result<()> {
        let adv = map.map(|map| step.loss(batch, "adv", 0, map, self.gan_loss.criterion(REAL)));
        let pixel = self.pixel_loss.criterion(batch.target);
        let pixel = pixel.map(|criterion| step.loss(batch, "pixel", 0, fake, criterion));
        let losses: Vec<_> = adv.into_iter().chain(pixel).collect();
        step.backward(&losses, &[GENERATOR])
    }

    /// Records the discriminator's losses on a batch, and their gradients. `map` is that of generated pictures, then
    /// real ones.
    fn backward_discriminator(&self, step: &mut Recorder, batch: &Batch, map: Tensor) -> Result<()> {
        let real = step.loss(batch, "d_real", 0, self.of_real(map), self.gan_loss.criterion(REAL));
        let fake = step.loss(batch, "d_fake", 0, self.of_fake(map), self.gan_loss.criterion(FAKE));
        step.backward(&[real, fake], from_ref(&DISCRIMINATOR))
    }

    /// The generated pictures' part of a tensor over generated and real ones.
    fn of_fake(&self, both: Tensor) -> Tensor {
        both.batch_slice(0..self.batch)
    }

    /// The real pictures' part.
    fn of_real(&self, both: Tensor) -> Tensor {
        both.batch_slice(self.batch..2 * self.batch)
    }

    /// Pairs of one update.
    pub fn pairs(&self) -> usize {
        self.batch * self.accumulate
    }

    /// Height and width of the pictures.
    fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }
}
