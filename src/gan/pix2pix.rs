//! Pix2Pix (Isola et al., 2017): a generator `G` that translates a picture `x`, and a discriminator `D` that tells its
//! translations from the real picture `y`.
//!
//! ```text
//! D minimises   1/2 GAN(D(x, y), real) + 1/2 GAN(D(x, G(x)), fake)
//! G minimises   lambda_gan GAN(D(x, G(x)), real) + lambda_pixel |y - G(x)|
//! ```
//!
//! Of pix2pixHD (Wang et al., 2018) it can have several discriminators, each further one on pictures of half the size,
//! whose GAN losses are added up; and the feature-matching loss, the distance of what their inner layers compute of
//! `G(x)` and of `y`, with the weight `lambda_feature` in G's total.

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::objective::{Architecture, StepShape, TermValue};
use super::recorder::MicroBatch;
use super::{Draws, Network, Objective, PatchGan, PatchGanOutput, Precision, Recorder, Term, UNet};
use crate::engine::ops::adam::AdamOptions;
use crate::engine::ops::copy::copy;
use crate::engine::ops::loss::Criterion;
use crate::engine::ops::pool::{avg_pool, pooled_side};
use crate::engine::tensor::Tensor;

/// The GAN loss, which compares the discriminator's map with 1 for real and 0 for generated pictures. `None` trains the
/// generator alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GanLoss {
    /// Mean squared error (Mao et al., 2017).
    Lsgan,
    /// Cross-entropy of probabilities: the discriminator ends with a sigmoid. Logarithms are cut off at -100.
    Bce,
    /// Cross-entropy of logits: the same loss with the sigmoid computed inside it, which needs no cut-off.
    BceLogits,
    /// No discriminator at all.
    None,
}

/// The target of a discriminator for a real picture.
const REAL: f64 = 1.0;
/// The target of a discriminator for a generated picture.
const FAKE: f64 = 0.0;

impl GanLoss {
    /// The criterion of a discriminator's map whose target is `target` everywhere.
    ///
    /// # Panics
    /// If it is [`GanLoss::None`].
    fn criterion(self, target: f64) -> Criterion {
        match self {
            GanLoss::Lsgan => Criterion::Mse { target },
            GanLoss::Bce => Criterion::Bce { target },
            GanLoss::BceLogits => Criterion::BceLogits { target },
            GanLoss::None => unreachable!("there is no discriminator"),
        }
    }
}

/// The pixel loss, the error of the generator's picture against the target: L1, L2, 1 - SSIM, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PixelLoss {
    /// Mean absolute error.
    L1,
    /// Mean squared error.
    L2,
    /// 1 - SSIM (Wang et al., 2004), with the windows and the range of the metric.
    Ssim,
    None,
}

impl PixelLoss {
    fn criterion(self, target: Tensor) -> Option<Criterion> {
        match self {
            PixelLoss::L1 => Some(Criterion::L1 { target }),
            PixelLoss::L2 => Some(Criterion::L2 { target }),
            PixelLoss::Ssim => Some(Criterion::Ssim { target }),
            PixelLoss::None => None,
        }
    }
}

/// The order in which a training step updates generator and discriminator, and the generated pictures that the second
/// update uses: those of the first, or new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOrder {
    /// The generator, then the discriminator on the same fake picture.
    GeneratorFirst,
    /// The discriminator, then the generator on the same fake picture, through the updated discriminator.
    DiscriminatorFirst,
    /// The discriminator, then the generator on a new fake picture, with other dropout.
    DiscriminatorFirstFresh,
}

/// The objective of Pix2Pix, with everything in which its published versions differ: generator and discriminators, size
/// and number of the pictures, losses and their weights, and order of the updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pix2Pix {
    pub generator: UNet,
    pub discriminator: PatchGan,
    /// Number of discriminators, from 1 to 3: each further one sees pictures of half the size.
    pub scales: usize,
    /// True if the discriminator's input has the channels of the condition beside those of the picture.
    pub conditional: bool,
    /// Pairs in a batch.
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
    /// Weight of the feature-matching loss in the generator's total; 0 for none.
    pub lambda_feature: f64,
    pub step_order: StepOrder,
    /// True if the discriminator's total is half the sum of its losses on real and on fake pictures, and not the sum.
    pub halve_d: bool,
    pub adam: AdamOptions,
    pub precision: Precision,
}

const GENERATOR: &str = "generator";
const DISCRIMINATORS: [&str; 3] = ["discriminator", "discriminator2", "discriminator3"];

/// Number of the generator's first forward pass in a training step: each number draws other dropout masks.
const FIRST: u16 = 0;
/// Number of the generator's second forward pass, for [`StepOrder::DiscriminatorFirstFresh`].
const FRESH: u16 = 1;
/// Number of the forward pass of the preview, which no training step reaches.
const PREVIEW: u16 = u16::MAX;

/// Input of the discriminators: n generated pictures, then n real ones where they are needed, each with its condition.
#[derive(Clone, Debug)]
struct DiscriminatorInput {
    /// By scale, `[n or 2n, h, w, channels]`; each further one half as large.
    scales: Vec<Tensor>,
    /// `[n, h, w, output channels]`: the generated ones alone.
    fake: Tensor,
}

impl Objective for Pix2Pix {
    fn record(&self, step: &mut Recorder) -> Result<()> {
        match (self.gan_loss, self.step_order) {
            (GanLoss::None, _) => self.record_generator_alone(step),
            (_, StepOrder::GeneratorFirst) => self.record_generator_first(step),
            (_, StepOrder::DiscriminatorFirst | StepOrder::DiscriminatorFirstFresh) => {
                self.record_discriminators_first(step)
            }
        }
    }

    fn record_preview(&self, step: &mut Recorder, x: Tensor, out: Tensor) {
        let draws = Draws { pass: PREVIEW, first_image: 0, by_step: false };
        step.forward(GENERATOR, |tape, parameters| self.generator.forward(tape, parameters, x, out, draws));
    }

    fn networks(&self) -> Vec<Network> {
        let adam = self.adam;
        let input = match (self.conditional, self.generator.recipe.puts_condition_first()) {
            (false, _) => "one picture",
            (true, true) => "one condition and its picture",
            (true, false) => "one picture and its condition",
        };
        let size = [self.height, self.width];
        let architecture = Architecture::UNet(self.generator);
        let generator = Network { name: GENERATOR, architecture, input: "one image", size, adam };
        let discriminators = self.discriminators().iter().zip(self.picture_sizes()).map(|(name, size)| {
            let architecture = Architecture::PatchGan(self.discriminator);
            Network { name, architecture, input, size, adam }
        });
        [generator].into_iter().chain(discriminators).collect()
    }

    fn terms(&self) -> Vec<Term> {
        let has = |term: &Term| match term.name {
            "pixel" => self.pixel_loss != PixelLoss::None,
            "feature" => self.gan_loss != GanLoss::None && self.lambda_feature > 0.0,
            "g" => true,
            _ => self.gan_loss != GanLoss::None,
        };
        let term = |name, title, note, is_detail, value| Term { name, title, note, is_detail, value };
        let by_scale = || TermValue::Losses(vec![1.0; self.scales]);
        let weight = if self.halve_d { 0.5 } else { 1.0 };
        let features = self.discriminator.feature_count();
        let mut terms = vec![
            term(
                "d",
                "Discriminator",
                "its total: how far it is from telling real and generated apart",
                false,
                TermValue::Total(vec![("d_real", weight), ("d_fake", weight)]),
            ),
            // The GAN loss, which `--lambda-gan` weights.
            term("adv", "Adversarial", "how far the generator is from being taken for real", false, by_scale()),
            term("pixel", "Pixel", "how far outputs are from their targets", false, TermValue::Losses(vec![1.0])),
            term(
                "g",
                "Generator",
                "its total: its losses by their weights",
                true,
                TermValue::Total(vec![
                    ("adv", self.lambda_gan),
                    ("pixel", self.lambda_pixel),
                    ("feature", self.lambda_feature),
                ]),
            ),
            term("d_real", "Discriminator real", "its loss on real pictures", true, by_scale()),
            term("d_fake", "Discriminator fake", "its loss on generated pictures", true, by_scale()),
            // As pix2pixHD weighs them: 4 / features for each feature of a scale, and the mean over the scales.
            term(
                "feature",
                "Feature",
                "how far the discriminators' features of outputs are from those of targets",
                false,
                TermValue::Losses(vec![4.0 / (features * self.scales) as f64; features * self.scales]),
            ),
        ];
        terms.retain(has);
        let names: Vec<&str> = terms.iter().map(|term| term.name).collect();
        for term in &mut terms {
            if let TermValue::Total(parts) = &mut term.value {
                parts.retain(|(name, _)| names.contains(name));
            }
        }
        terms
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn shape(&self) -> StepShape {
        let Pix2Pix { batch, accumulate, height, width, .. } = *self;
        let UNet { in_channels, out_channels, .. } = self.generator;
        StepShape { batch, accumulate, height, width, in_channels, out_channels }
    }
}

impl Pix2Pix {
    fn record_generator_alone(&self, step: &mut Recorder) -> Result<()> {
        step.each_batch(|step, batch| {
            let fake = step.tape.transient(batch.target.shape);
            self.generate(step, batch, FIRST, fake);
            self.backward_generator(step, batch, fake, &[])
        })?;
        step.update(GENERATOR);
        Ok(())
    }

    /// The discriminators do not change between the two backward passes, and drop nothing out: one forward pass serves
    /// both.
    fn record_generator_first(&self, step: &mut Recorder) -> Result<()> {
        step.each_batch(|step, batch| {
            let input = self.discriminator_input(step, batch, FIRST, true);
            let outputs = self.discriminate(step, &input);
            self.backward_generator(step, batch, input.fake, &outputs)?;
            self.backward_discriminators(step, batch, &outputs)
        })?;
        step.update(GENERATOR);
        self.update_discriminators(step);
        Ok(())
    }

    fn record_discriminators_first(&self, step: &mut Recorder) -> Result<()> {
        let inputs = step.each_batch(|step, batch| {
            let input = self.discriminator_input(step, batch, FIRST, true);
            let outputs = self.discriminate(step, &input);
            self.backward_discriminators(step, batch, &outputs)?;
            Ok(input)
        })?;
        self.update_discriminators(step);
        step.each_batch(|step, batch| {
            let input = self.second_input(step, batch, &inputs[batch.index]);
            let outputs = self.discriminate(step, &input);
            self.backward_generator(step, batch, input.fake, &outputs)
        })?;
        step.update(GENERATOR);
        Ok(())
    }

    /// Records `out = G(x)` for a batch.
    fn generate(&self, step: &mut Recorder, batch: &MicroBatch, pass: u16, out: Tensor) {
        let draws = Draws { pass, first_image: batch.images.start, by_step: false };
        step.forward(GENERATOR, |tape, parameters| self.generator.forward(tape, parameters, batch.input, out, draws));
    }

    /// Records the discriminators' input of a batch: generated pictures, and the real ones behind them if `with_real`.
    fn discriminator_input(
        &self,
        step: &mut Recorder,
        batch: &MicroBatch,
        pass: u16,
        with_real: bool,
    ) -> DiscriminatorInput {
        let [n, height, width, picture_channels] = batch.target.shape;
        let condition_channels = if self.conditional { batch.input.channels() } else { 0 };
        let channels = picture_channels + condition_channels;
        let halves = if with_real { 2 } else { 1 };
        let all = step.tape.transient([halves * n, height, width, channels]);
        let (picture, condition) = if self.generator.recipe.puts_condition_first() {
            (all.channel_slice(condition_channels..channels), all.channel_slice(0..condition_channels))
        } else {
            (all.channel_slice(0..picture_channels), all.channel_slice(picture_channels..channels))
        };
        let fake = self.fake_half(picture);
        self.generate(step, batch, pass, fake);
        if with_real {
            copy(&mut step.tape, batch.target, self.real_half(picture));
        }
        if self.conditional {
            for half in 0..halves {
                copy(&mut step.tape, batch.input, condition.batch_slice(half * n..(half + 1) * n));
            }
        }
        let mut scales = vec![all];
        for [height, width] in self.picture_sizes().skip(1) {
            let pooled = step.tape.transient([halves * n, height, width, channels]);
            avg_pool(&mut step.tape, scales[scales.len() - 1], pooled);
            scales.push(pooled);
        }
        DiscriminatorInput { scales, fake }
    }

    /// Records the discriminators' input of a batch for the generator's losses, after the discriminators' update, which
    /// worked on `first`.
    fn second_input(&self, step: &mut Recorder, batch: &MicroBatch, first: &DiscriminatorInput) -> DiscriminatorInput {
        // Features of generated pictures are compared with those of real ones.
        let with_real = self.lambda_feature > 0.0;
        if self.step_order == StepOrder::DiscriminatorFirstFresh {
            return self.discriminator_input(step, batch, FRESH, with_real);
        }
        if step.batches() > 1 {
            // The same pictures computed again, rather than the activations of all batches kept until here.
            return self.discriminator_input(step, batch, FIRST, with_real);
        }
        if with_real {
            return first.clone();
        }
        DiscriminatorInput { scales: first.scales.iter().map(|&both| self.fake_half(both)).collect(), ..*first }
    }

    /// Records the discriminators' forward passes, and returns their outputs by scale.
    fn discriminate(&self, step: &mut Recorder, input: &DiscriminatorInput) -> Vec<PatchGanOutput> {
        let networks = self.discriminators().iter().zip(&input.scales);
        let mut forward = |(name, x): (&&str, &Tensor)| {
            step.forward(name, |tape, parameters| self.discriminator.forward(tape, parameters, *x))
        };
        networks.map(&mut forward).collect()
    }

    /// Records the generator's losses on a batch, of which it made `fake`, and their gradients. `outputs` are the
    /// discriminators', of generated pictures and, where features are matched, of real ones behind them.
    fn backward_generator(
        &self,
        step: &mut Recorder,
        batch: &MicroBatch,
        fake: Tensor,
        outputs: &[PatchGanOutput],
    ) -> Result<()> {
        let mut losses = Vec::new();
        for (scale, output) in outputs.iter().enumerate() {
            let map = self.fake_half(output.map);
            losses.push(step.loss(batch, "adv", scale, map, self.gan_loss.criterion(REAL)));
        }
        if let Some(criterion) = self.pixel_loss.criterion(batch.target) {
            losses.push(step.loss(batch, "pixel", 0, fake, criterion));
        }
        if self.lambda_feature > 0.0 {
            for (index, &feature) in outputs.iter().flat_map(|output| &output.features).enumerate() {
                let criterion = Criterion::L1 { target: self.real_half(feature) };
                losses.push(step.loss(batch, "feature", index, self.fake_half(feature), criterion));
            }
        }
        step.backward(&losses, &[GENERATOR])
    }

    /// Records the discriminators' losses on a batch, and their gradients. `outputs` are theirs, of generated pictures,
    /// then of real ones.
    fn backward_discriminators(
        &self,
        step: &mut Recorder,
        batch: &MicroBatch,
        outputs: &[PatchGanOutput],
    ) -> Result<()> {
        let mut losses = Vec::new();
        for (scale, PatchGanOutput { map, .. }) in outputs.iter().enumerate() {
            losses.push(step.loss(batch, "d_real", scale, self.real_half(*map), self.gan_loss.criterion(REAL)));
            losses.push(step.loss(batch, "d_fake", scale, self.fake_half(*map), self.gan_loss.criterion(FAKE)));
        }
        step.backward(&losses, self.discriminators())
    }

    fn update_discriminators(&self, step: &mut Recorder) {
        self.discriminators().iter().for_each(|name| step.update(name));
    }

    /// The generated pictures' half of a tensor over generated and real ones.
    fn fake_half(&self, both: Tensor) -> Tensor {
        both.batch_slice(0..self.batch)
    }

    /// The real pictures' half.
    fn real_half(&self, both: Tensor) -> Tensor {
        both.batch_slice(self.batch..2 * self.batch)
    }

    /// The number of pairs in one update: the batch size times the batches that are accumulated.
    pub fn pairs_per_step(&self) -> usize {
        self.batch * self.accumulate
    }

    /// The names of the discriminators, by scale.
    fn discriminators(&self) -> &'static [&'static str] {
        if self.gan_loss == GanLoss::None { &[] } else { &DISCRIMINATORS[..self.scales] }
    }

    /// `[height, width]` in pixels of the pictures that each discriminator sees, the full size first; each further one
    /// is half as large, rounded up.
    pub fn picture_sizes(&self) -> impl Iterator<Item = [usize; 2]> {
        let halved = |size: &[usize; 2]| Some(size.map(pooled_side));
        std::iter::successors(Some([self.height, self.width]), halved).take(self.scales)
    }
}
