//! One training step as a recorded program.
//!
//! The `pytorch-gan` order: the generator is updated first, then the discriminator on the same fake picture. The
//! discriminator has not changed in between and drops nothing out, so its judgement of the fake is the same number in both
//! halves: one forward pass over `[fake, real]` serves them, which saves one of three.

use anyhow::Result;

use crate::nn::{Parameters, PatchGan, UNet};
use crate::ops::adam::{AdamOptions, advance};
use crate::ops::copy::copy;
use crate::ops::loss::{Criterion, Loss};
use crate::program::Program;
use crate::tape::Tape;
use crate::tensor::{Shape, Tensor};

/// What the recorded step is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions {
    pub generator: UNet,
    pub discriminator: PatchGan,
    /// Pairs.
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    /// Weight of the L1 loss beside the adversarial one.
    pub pixel_weight: f64,
    pub adam: AdamOptions,
}

impl StepOptions {
    /// The `pytorch-gan` recipe for one RGB pair of `size` by `size` pixels, with `width` channels on the first level of both
    /// networks.
    pub fn pytorch_gan(size: usize, width: usize, dropout: f64) -> StepOptions {
        let depth = size.ilog2().min(8) as usize;
        StepOptions {
            generator: UNet { input_channels: 3, output_channels: 3, width, depth, dropout },
            discriminator: PatchGan { input_channels: 6, width },
            batch: 1,
            height: size,
            width: size,
            pixel_weight: 100.0,
            adam: AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 },
        }
    }
}

/// A recorded training step and the tensors by which the host deals with it.
#[derive(Debug)]
pub struct TrainingStep {
    pub program: Program,
    pub generator: Parameters,
    pub discriminator: Parameters,
    /// `[batch, h, w, input channels]`: the condition, to be written before each execution.
    pub input: Tensor,
    /// `[batch, h, w, output channels]`: the real picture, to be written before each execution.
    pub target: Tensor,
    /// Four numbers, of the state before the updates: see [`Losses`].
    pub losses: Tensor,
    /// `[1, h, w, output channels]`: what the generator now makes of the first image of `input`, once the program's steps on
    /// demand have run.
    pub preview: Tensor,
}

/// The losses of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// The discriminator's, as the recipe sums it.
    pub discriminator: f32,
    /// The generator's adversarial loss, unweighted.
    pub adversarial: f32,
    /// The generator's L1 loss, unweighted.
    pub pixel: f32,
}

impl Losses {
    /// From the values of [`TrainingStep::losses`].
    pub fn new(values: &[f32]) -> Losses {
        Losses { adversarial: values[0], pixel: values[1], discriminator: 0.5 * (values[2] + values[3]) }
    }

    pub fn is_finite(&self) -> bool {
        self.discriminator.is_finite() && self.adversarial.is_finite() && self.pixel.is_finite()
    }
}

impl TrainingStep {
    /// # Errors
    /// When the step cannot be differentiated as it is recorded.
    pub fn record(options: &StepOptions) -> Result<TrainingStep> {
        let StepOptions { generator: unet, discriminator: patchgan, batch, .. } = *options;
        let mut tape = Tape::new();
        let generator = Parameters::new(&mut tape, unet.specs());
        let discriminator = Parameters::new(&mut tape, patchgan.specs());
        let image = |channels: usize| -> Shape { [batch, options.height, options.width, channels] };
        let input = tape.persistent(image(unet.input_channels));
        let target = tape.persistent(image(unet.output_channels));
        let losses = tape.persistent([1, 1, 1, 4]);
        let loss = |of: Tensor, criterion: Criterion, weight: f64, place: usize| Loss {
            of,
            criterion,
            weight,
            value: losses.channel_slice(place..place + 1),
        };

        // What the discriminator sees: the picture, then the condition it was made from; fakes first, then the real ones.
        let pictures = unet.output_channels;
        let seen = tape.transient([2 * batch, options.height, options.width, pictures + unet.input_channels]);
        let picture = seen.channel_slice(0..pictures);
        let condition = seen.channel_slice(pictures..seen.channels());
        let (fakes, reals) = (0..batch, batch..2 * batch);
        let fake = picture.batch_slice(fakes.clone());

        unet.forward(&mut tape, &generator, input, fake, 0);
        copy(&mut tape, target, picture.batch_slice(reals.clone()));
        copy(&mut tape, input, condition.batch_slice(fakes.clone()));
        copy(&mut tape, input, condition.batch_slice(reals.clone()));
        let judged = patchgan.forward(&mut tape, &discriminator, seen);

        let fooled = loss(judged.batch_slice(fakes.clone()), Criterion::Mse { target: 1.0 }, 1.0, 0);
        let pixel = loss(fake, Criterion::L1 { target }, options.pixel_weight, 1);
        tape.backward(&[&fooled, &pixel], &[generator.values])?;
        let on_real = loss(judged.batch_slice(reals), Criterion::Mse { target: 1.0 }, 0.5, 2);
        let on_fake = loss(judged.batch_slice(fakes), Criterion::Mse { target: 0.0 }, 0.5, 3);
        tape.backward(&[&on_real, &on_fake], &[discriminator.values])?;

        generator.update(&mut tape, options.adam);
        discriminator.update(&mut tape, options.adam);
        advance(&mut tape);

        tape.begin_on_demand();
        let [_, height, width, channels] = target.shape;
        let preview = tape.persistent([1, height, width, channels]);
        unet.forward(&mut tape, &generator, input.batch_slice(0..1), preview, 1);
        Ok(TrainingStep { program: tape.finish(), generator, discriminator, input, target, losses, preview })
    }
}
