//! The published systems: their networks, losses, order of steps and numbers.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    BlockOrder, DropoutAt, GanLoss, GeneratorKind, LastLayer, Norm, PatchGan, Pix2Pix, PixelLoss, Precision,
    ReceptiveField, StepOrder, UNet,
};
use crate::engine::ops::adam::AdamOptions;

/// A published implementation of Pix2Pix, whose settings [`Pix2Pix::published`] gives. In the networks the recipe
/// itself decides the names of the parameters, the convolutions that have a bias, and the order of channels in
/// concatenations (skips, input of the discriminator).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The widely copied PyTorch implementation: instance norm, least-squares GAN loss and 100 x L1.
    PytorchGan,
    /// The re-implementation of the paper by blocks "CK": cross-entropy on a 70x70 map of probabilities.
    BlockCk,
    /// Isola et al., 2017, as its authors released it for PyTorch.
    Isola,
}

/// The side, in pixels, of the square pictures that the published networks are trained on.
pub const PUBLISHED_SIDE: usize = 256;
/// The number of channels of the first layer of both published networks.
pub const PUBLISHED_CHANNELS: usize = 64;

impl Recipe {
    /// True if the channels of a skip come before those of the decoder where both are concatenated, false if behind.
    pub(crate) fn puts_skip_first(self) -> bool {
        self == Recipe::Isola
    }

    /// True if the channels of the condition come before those of the picture in the discriminator's input, false if
    /// behind.
    pub fn puts_condition_first(self) -> bool {
        self == Recipe::Isola
    }
}

impl Pix2Pix {
    /// Returns the objective of a recipe with its published settings: pictures of 256x256 pixels, 64 channels on the
    /// first level of both networks, a generator of eight levels, batch size 1.
    pub fn published(recipe: Recipe) -> Pix2Pix {
        let (receptive_field, gan_loss, step_order) = match recipe {
            Recipe::PytorchGan => (ReceptiveField::R94, GanLoss::Lsgan, StepOrder::GeneratorFirst),
            Recipe::BlockCk => (ReceptiveField::Map70, GanLoss::Bce, StepOrder::DiscriminatorFirstFresh),
            Recipe::Isola => (ReceptiveField::R70, GanLoss::BceLogits, StepOrder::DiscriminatorFirst),
        };
        let (block_order, last_layer, dropout_at) = match recipe {
            Recipe::PytorchGan => (BlockOrder::ConvNormActDropout, LastLayer::Resize, DropoutAt::BothWays),
            Recipe::BlockCk => (BlockOrder::ConvNormDropoutAct, LastLayer::Transposed, DropoutAt::Up),
            Recipe::Isola => (BlockOrder::ActConvNormDropout, LastLayer::Transposed, DropoutAt::UpAfterInnermost),
        };
        let generator = UNet {
            recipe,
            kind: GeneratorKind::Unet,
            in_channels: 3,
            out_channels: 3,
            ngf: PUBLISHED_CHANNELS,
            depth: 8,
            norm: Norm::Instance,
            block_order,
            last_layer,
            dropout: 0.5,
            dropout_at,
        };
        Pix2Pix {
            generator,
            discriminator: PatchGan {
                receptive_field,
                in_channels: generator.in_channels + generator.out_channels,
                ndf: PUBLISHED_CHANNELS,
                norm: generator.norm,
                sigmoid: gan_loss == GanLoss::Bce,
            },
            conditional: true,
            scales: 1,
            batch: 1,
            accumulate: 1,
            height: PUBLISHED_SIDE,
            width: PUBLISHED_SIDE,
            gan_loss,
            lambda_gan: 1.0,
            pixel_loss: PixelLoss::L1,
            lambda_pixel: 100.0,
            lambda_feature: 0.0,
            step_order,
            halve_d: true,
            adam: AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 },
            precision: Precision::F32,
        }
    }

    /// Returns [`Pix2Pix::published`] with another size: pictures of `size` by `size` pixels, a power of two,
    /// `channels` channels in the first layer of both networks, `dropout` as the probability of dropout, and
    /// log2(`size`) levels of the generator, at most 8.
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn with_size(recipe: Recipe, size: usize, channels: usize, dropout: f64) -> Pix2Pix {
        let published = Pix2Pix::published(recipe);
        let depth = size.ilog2().min(8) as usize;
        Pix2Pix {
            generator: UNet { ngf: channels, depth, dropout, ..published.generator },
            discriminator: PatchGan { ndf: channels, ..published.discriminator },
            height: size,
            width: size,
            ..published
        }
    }
}

impl UNet {
    /// Returns the generator of [`Pix2Pix::published`]: for pictures of 256x256 pixels with 3 channels, 64 channels on
    /// the first of eight levels.
    pub fn published(recipe: Recipe) -> UNet {
        Pix2Pix::published(recipe).generator
    }
}
