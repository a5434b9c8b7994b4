//! The options in which the published networks differ, each independent of the others. A
//! [`Recipe`](super::Recipe) is a published set of choices.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The skips of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skips {
    /// Every level beside the innermost: a U-Net.
    Unet,
    /// Nothing but the innermost level.
    EncoderDecoder,
}

/// The norm of both networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Each channel of each image by its own mean and variance.
    Instance,
    /// The same, then times a learned gain, plus a learned bias: batch norm at batch 1.
    InstanceAffine,
    /// Not at all.
    None,
}

impl Norm {
    /// True if it has a learned gain and bias for each channel.
    pub fn is_affine(self) -> bool {
        match self {
            Norm::InstanceAffine => true,
            Norm::Instance | Norm::None => false,
        }
    }

    /// True if a constant that is added to a channel in front of it changes nothing behind it, because it subtracts the
    /// mean of each channel. The bias of a convolution in front of such a norm has a gradient of exactly zero:
    /// computing it would only let rounding noise move the bias, so it is left alone.
    pub fn cancels_bias(self) -> bool {
        match self {
            Norm::Instance | Norm::InstanceAffine => true,
            Norm::None => false,
        }
    }
}

/// The order of convolution, norm and activation in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockOrder {
    /// Convolution, norm, activation, dropout.
    ConvNormActDropout,
    /// Convolution, norm, dropout, activation: the same numbers, since zeroing and scaling commute with both
    /// activations.
    ConvNormDropoutAct,
    /// Activation, convolution, norm, dropout: a skip connection is rectified on its way up.
    ActConvNormDropout,
}

/// The last layer of the generator, which comes back to the full size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastLayer {
    /// Nearest-neighbour x2, one row and column of zeros in front, 4x4 convolution.
    Resize,
    /// Transposed 4x4 convolution of stride 2.
    Transposed,
}

/// The levels of the generator that drop out. Level `i` has 1/2^i of the image's size; of n levels the innermost is n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropoutAt {
    /// Levels 4 to n on the way down, n-1 to 4 on the way up.
    BothWays,
    /// Levels n-1 to 5 on the way up: the first three of eight levels.
    Up,
    /// Levels n-2 to 4 on the way up: the three after the innermost of eight levels.
    UpAfterInnermost,
}

/// The receptive field of a discriminator: the side, in pixels, of the patch that one number of its map sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum ReceptiveField {
    /// One pixel: three 1x1 convolutions.
    #[value(name = "1")]
    #[serde(rename = "1")]
    R1,
    /// One halving convolution, two of stride 1.
    #[value(name = "16")]
    #[serde(rename = "16")]
    R16,
    /// Two halving convolutions, two of stride 1.
    #[value(name = "34")]
    #[serde(rename = "34")]
    R34,
    /// Three halving convolutions, two of stride 1: the paper's PatchGAN.
    #[value(name = "70")]
    #[serde(rename = "70")]
    R70,
    /// Four halving convolutions, one of stride 1: that of pytorch-gan.
    #[value(name = "94")]
    #[serde(rename = "94")]
    R94,
    /// Four halving convolutions, two of stride 1.
    #[value(name = "142")]
    #[serde(rename = "142")]
    R142,
    /// Five halving convolutions, two of stride 1.
    #[value(name = "286")]
    #[serde(rename = "286")]
    R286,
    /// Four halving convolutions and a dilated transposed one to a map of 70x70 at 256x256: that of block-ck.
    #[value(name = "map70")]
    #[serde(rename = "map70")]
    Map70,
}
