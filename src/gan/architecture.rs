//! The options in which the published networks differ, each independent of the others. A
//! [`Recipe`](super::Recipe) is a published set of choices.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The skip connections of the generator: at every level but the innermost (a U-Net), or none (an encoder-decoder).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorKind {
    /// Skip connections at every level but the innermost: a U-Net.
    Unet,
    /// No skip connections: everything passes through the innermost level.
    EncoderDecoder,
}

/// The norm of both networks: instance norm, without or with a learned gain and bias, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Each channel of each image by its own mean and variance.
    Instance,
    /// The same, then times a learned gain, plus a learned bias: batch norm at batch 1.
    InstanceAffine,
    /// No norm.
    None,
}

impl Norm {
    /// True if the norm has a learned gain and bias for each channel.
    pub fn is_affine(self) -> bool {
        match self {
            Norm::InstanceAffine => true,
            Norm::Instance | Norm::None => false,
        }
    }

    /// True if the norm cancels a constant that is added to a channel of its input, because it subtracts the mean of
    /// each channel. The bias of a convolution in front of such a norm has a gradient of exactly zero: computing it
    /// would only let rounding noise move the bias, so it is left alone.
    pub fn cancels_bias(self) -> bool {
        match self {
            Norm::Instance | Norm::InstanceAffine => true,
            Norm::None => false,
        }
    }
}

/// The order of convolution, norm, activation and dropout in a block of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockOrder {
    /// Convolution, norm, activation, dropout.
    ConvNormActDropout,
    /// Convolution, norm, dropout, activation: the same numbers, since zeroing and scaling commute with both
    /// activations.
    ConvNormDropoutAct,
    /// Activation, convolution, norm, dropout: the decoder's ReLU is applied to skip connections too.
    ActConvNormDropout,
}

/// The last layer of the generator, from level 1, of half the image's size, to the full size: upsampling and a
/// convolution, or a transposed convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastLayer {
    /// Nearest-neighbour x2, one row and column of zeros at the top and left, 4x4 convolution.
    Resize,
    /// Transposed 4x4 convolution of stride 2.
    Transposed,
}

/// The levels at which the generator applies dropout. Level `i` has 1/2^i of the image's height and width; of n levels
/// the innermost is n. The encoder is the way down, from level 1 to n, the decoder the way up, from level n-1 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropoutAt {
    /// Levels 4 to n, the innermost, on the way down, n-1 to 4 on the way up.
    BothWays,
    /// Levels n-1 to 5 on the way up: of eight levels 7, 6 and 5.
    Up,
    /// Levels n-2 to 4 on the way up: of eight levels 6, 5 and 4.
    UpAfterInnermost,
}

/// The receptive field of a discriminator, which decides its layers: the side, in pixels, of the patch of its input
/// that each number of its output, the map, depends on. `Map70` is named by the side of its map instead.
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
