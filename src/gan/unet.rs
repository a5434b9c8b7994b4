//! The generator: a U-Net (Ronneberger et al., 2015), or without its skip connections an encoder and decoder.
//!
//! Level `i` has 1/2^i of the image's size. On the way down each level halves the size of the one before, on the way up
//! each doubles the one below. At every level but the innermost the results of both ways lie in one buffer: each is
//! written straight into its half of the channels, so the concatenation costs nothing.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{BlockOrder, DropoutAt, GeneratorKind, LastLayer, Norm, ParameterSpec, Parameters, Recipe};
use crate::engine::ops::activation::tanh;
use crate::engine::ops::conv::{Geometry, conv, conv_transpose};
use crate::engine::ops::detach::detach;
use crate::engine::ops::norm_act::{Activation, Affine, Dropout, NormAct, norm_act};
use crate::engine::ops::upsample::upsample_conv;
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

/// The description of a generator, from which its parameters and its graph follow. It stands in every checkpoint: a
/// field that is added gets `#[serde(default = "...")]` with the value of generators from before that field, as in
/// [`TrainConfig`](crate::config::TrainConfig).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UNet {
    pub recipe: Recipe,
    #[serde(rename = "skips")]
    pub kind: GeneratorKind,
    #[serde(rename = "input-channels")]
    pub in_channels: usize,
    #[serde(rename = "output-channels")]
    pub out_channels: usize,
    /// Channels of the first level.
    #[serde(rename = "width")]
    pub ngf: usize,
    /// Levels: the innermost is 1/2^depth of the image. At least 2.
    pub depth: usize,
    pub norm: Norm,
    pub block_order: BlockOrder,
    pub last_layer: LastLayer,
    /// Probability with which dropout zeroes an element, from 0 to below 1.
    pub dropout: f64,
    pub dropout_at: DropoutAt,
}

/// One of the two halves of the generator: the way down is the encoder, the way up the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Down,
    Up,
}

/// The numbers that, with the seed and the training step, select the dropout masks of one forward pass of the
/// generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// The number of the forward pass within its training step.
    pub pass: u16,
    /// Index of the first image of the forward pass in the whole batch of the training step.
    pub first_image: usize,
    /// True if image i of the batch has the masks of image 0 at i training steps later, instead of masks of its index.
    pub by_step: bool,
}

impl UNet {
    /// Checks that every number is in its range, since a file may claim any: 1 to 4 channels of input and output,
    /// `ngf` 1 to 1024, `depth` 2 to 12, `dropout` from 0 to below 1.
    ///
    /// # Errors
    /// When a number is out of its range; the message names it.
    pub fn validate(&self) -> Result<()> {
        let UNet { in_channels, out_channels, ngf, depth, dropout, .. } = *self;
        for (what, value, least, most) in [
            ("input channels", in_channels, 1, 4),
            ("output channels", out_channels, 1, 4),
            ("ngf", ngf, 1, 1024),
            ("depth", depth, 2, 12),
        ] {
            ensure!((least..=most).contains(&value), "{what} {value}: must be from {least} to {most}");
        }
        ensure!((0.0..1.0).contains(&dropout), "dropout {dropout}: must be from 0 to below 1");
        Ok(())
    }

    /// Channels of a level: doubling from `ngf` up to eight times that.
    pub(crate) fn channels(&self, level: usize) -> usize {
        match level {
            0 => self.in_channels,
            _ => self.ngf << (level - 1).min(3),
        }
    }

    /// Every convolution but the last, in the order of the forward pass.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (Way, usize)> + use<> {
        let down = (1..=self.depth).map(|level| (Way::Down, level));
        down.chain((1..self.depth).rev().map(|level| (Way::Up, level)))
    }

    /// Channels that the way up finds at `level`.
    fn decoder_in_channels(&self, level: usize) -> usize {
        let skips = self.kind == GeneratorKind::Unet && level < self.depth;
        if skips { 2 * self.channels(level) } else { self.channels(level) }
    }

    /// True if a norm follows the convolution of the way `way` that ends at `level`: not on the outermost level of the
    /// way down, nor on its innermost, which may be a single pixel.
    pub(crate) fn is_normed(&self, way: Way, level: usize) -> bool {
        self.norm != Norm::None && (way == Way::Up || (level > 1 && level < self.depth))
    }

    /// True if convolutions other than the last have a bias. Without any norm they need one, whatever the recipe.
    pub(crate) fn has_biases(&self) -> bool {
        match (self.recipe, self.norm) {
            (_, Norm::None) | (Recipe::BlockCk, _) | (Recipe::Isola, Norm::Instance) => true,
            (Recipe::PytorchGan, _) | (Recipe::Isola, Norm::InstanceAffine) => false,
        }
    }

    fn drops_out(&self, way: Way, level: usize) -> bool {
        let here = match self.dropout_at {
            DropoutAt::BothWays => level >= 4,
            DropoutAt::Up => way == Way::Up && level >= 5,
            DropoutAt::UpAfterInnermost => way == Way::Up && level >= 4 && level + 2 <= self.depth,
        };
        here && self.dropout > 0.0
    }

    /// True if the generator applies dropout at any level: with `dropout` 0 it does not, nor with a `depth` that has
    /// none of the levels of `dropout_at`.
    pub fn has_dropout(&self) -> bool {
        self.blocks().any(|(way, level)| self.drops_out(way, level))
    }

    pub fn specs(&self) -> Vec<ParameterSpec> {
        let mut specs = Vec::new();
        for (way, level) in self.blocks() {
            let out = self.channels(level);
            let (k, c) = match way {
                Way::Down => (out, self.channels(level - 1)),
                Way::Up => (self.decoder_in_channels(level + 1), out),
            };
            let conv = self.conv_name(way, level);
            specs.push(ParameterSpec::weight(format!("{conv}.weight"), k, 4, c));
            if self.has_biases() {
                specs.push(ParameterSpec::bias(format!("{conv}.bias"), out));
            }
            if self.is_normed(way, level) && self.norm.is_affine() {
                let norm = self.norm_name(way, level);
                specs.push(ParameterSpec::gain(format!("{norm}.weight"), out));
                specs.push(ParameterSpec::bias(format!("{norm}.bias"), out));
            }
        }
        let (inputs, last) = (self.decoder_in_channels(1), self.last_name());
        let (k, c) = match self.last_layer {
            LastLayer::Resize => (self.out_channels, inputs),
            LastLayer::Transposed => (inputs, self.out_channels),
        };
        specs.push(ParameterSpec::weight(format!("{last}.weight"), k, 4, c));
        specs.push(ParameterSpec::bias(format!("{last}.bias"), self.out_channels));
        specs
    }

    /// PyTorch's name of the convolution of the way `way` that ends at `level`.
    pub(crate) fn conv_name(&self, way: Way, level: usize) -> String {
        match self.recipe {
            Recipe::PytorchGan | Recipe::BlockCk => format!("{}.model.0", self.block_name(way, level)),
            Recipe::Isola => {
                // The block of level i holds that of level i + 1; its up-convolution ends at the level above.
                let (block, index) = match way {
                    Way::Down if level == 1 => (1, 0),
                    Way::Down => (level, 1),
                    Way::Up if level + 1 == self.depth => (level + 1, 3),
                    Way::Up => (level + 1, 5),
                };
                format!("{}.{index}", self.nested(block))
            }
        }
    }

    /// PyTorch's name of the norm behind the convolution of the same `way` and `level`.
    pub(crate) fn norm_name(&self, way: Way, level: usize) -> String {
        match self.recipe {
            Recipe::PytorchGan | Recipe::BlockCk => format!("{}.model.1", self.block_name(way, level)),
            Recipe::Isola => match way {
                Way::Down => format!("{}.2", self.nested(level)),
                Way::Up if level + 1 == self.depth => format!("{}.4", self.nested(level + 1)),
                Way::Up => format!("{}.6", self.nested(level + 1)),
            },
        }
    }

    fn block_name(&self, way: Way, level: usize) -> String {
        match (self.recipe, way) {
            (Recipe::BlockCk, Way::Down) => format!("down_{level}_C{}", self.channels(level)),
            (Recipe::BlockCk, Way::Up) => {
                // The blocks of full width are called after the dropout that the paper gives them.
                let letters = if level >= 4 { "CD" } else { "C" };
                format!("up_{level}_{letters}{}", self.channels(level))
            }
            (_, Way::Down) => format!("down{level}"),
            (_, Way::Up) => format!("up{}", self.depth - level),
        }
    }

    /// The isola recipe's name of the block of a level, which lies in that of the level before.
    fn nested(&self, level: usize) -> String {
        match level {
            1 => "model.model".to_owned(),
            2 => "model.model.1.model".to_owned(),
            _ => format!("{}.3.model", self.nested(level - 1)),
        }
    }

    pub(crate) fn last_name(&self) -> &'static str {
        match self.recipe {
            Recipe::PytorchGan => "final.2",
            Recipe::BlockCk => "conv",
            Recipe::Isola => "model.model.3",
        }
    }

    /// Records `out = G(x)`. `x` is `[n, h, w, in_channels]`, `out` `[n, h, w, out_channels]`, both of f32 with values
    /// in [-1, 1]; what lies between them has the number format of the tape's activations. h and w are multiples of
    /// 2^`depth`. `draws` selects the dropout masks.
    ///
    /// # Panics
    /// If channels or `parameters` are not those of this generator, or an instance norm gets images of one pixel.
    pub fn forward(&self, tape: &mut Tape, parameters: &Parameters, x: Tensor, out: Tensor, draws: Draws) {
        let [n, height, width, _] = x.shape;
        let grid = |level: usize, channels: usize| [n, height >> level, width >> level, channels];
        let joined: Vec<Tensor> =
            (1..=self.depth).map(|level| tape.activation(grid(level, self.decoder_in_channels(level)))).collect();
        // The halves of a joined tensor: the skip, which the way down writes, and that of the way up.
        let halves = |level: usize| {
            let (joined, one) = (joined[level - 1], self.channels(level));
            let (front, back) =
                (joined.channel_slice(0..one), joined.channel_slice(joined.channels() - one..joined.channels()));
            if self.recipe.puts_skip_first() { (front, back) } else { (back, front) }
        };
        let mut layer = 0;

        let mut from = x;
        for level in 1..=self.depth {
            let hidden = tape.activation(grid(level, self.channels(level)));
            tape.layer(&format!("down{level}"));
            let (weight, bias) = self.weight_and_bias(parameters, Way::Down, level);
            conv(tape, from, weight, bias, hidden, Geometry::HALVING);
            let skip = halves(level).0;
            let innermost = level == self.depth;
            let rectified = self.block_order == BlockOrder::ActConvNormDropout;
            // The values that go on down have a buffer of their own where the skip is rectified or there is none.
            let is_kept_apart = !innermost && (rectified || self.kind == GeneratorKind::EncoderDecoder);
            let to = if is_kept_apart { tape.activation(hidden.shape) } else { skip };
            let activation = if innermost && rectified { Activation::Relu } else { Activation::LeakyRelu };
            self.norm_act(tape, parameters, Way::Down, level, hidden, to, activation, draws, &mut layer);
            if is_kept_apart && self.kind == GeneratorKind::Unet {
                // The max of x and 0 is that of the leaky x and 0.
                let relu = NormAct { norm: false, activation: Activation::Relu, dropout: None };
                norm_act(tape, to, skip, None, relu);
            }
            from = to;
        }
        for level in (1..self.depth).rev() {
            let hidden = tape.activation(grid(level, self.channels(level)));
            tape.layer(&format!("up{}", self.depth - level));
            let (weight, bias) = self.weight_and_bias(parameters, Way::Up, level);
            conv_transpose(tape, joined[level], weight, bias, hidden, Geometry::HALVING);
            let up = halves(level).1;
            self.norm_act(tape, parameters, Way::Up, level, hidden, up, Activation::Relu, draws, &mut layer);
        }
        tape.layer("last");
        let last = tape.transient(out.shape);
        let [weight, bias] = ["weight", "bias"].map(|kind| parameters.value(&format!("{}.{kind}", self.last_name())));
        match self.last_layer {
            LastLayer::Resize => upsample_conv(tape, joined[0], weight, bias, last),
            LastLayer::Transposed => conv_transpose(tape, joined[0], weight, Some(bias), last, Geometry::HALVING),
        }
        tanh(tape, last, out);
        tape.layer("");
    }

    fn weight_and_bias(&self, parameters: &Parameters, way: Way, level: usize) -> (Tensor, Option<Tensor>) {
        let name = self.conv_name(way, level);
        let bias = self.has_biases().then(|| {
            let bias = parameters.value(&format!("{name}.bias"));
            if self.is_normed(way, level) && self.norm.cancels_bias() { detach(bias) } else { bias }
        });
        (parameters.value(&format!("{name}.weight")), bias)
    }

    /// Records norm, activation and dropout, which follow a convolution.
    #[expect(
        clippy::too_many_arguments,
        reason = "a level is told by its way and its number, and the rest is where and how"
    )]
    fn norm_act(
        &self,
        tape: &mut Tape,
        parameters: &Parameters,
        way: Way,
        level: usize,
        x: Tensor,
        y: Tensor,
        activation: Activation,
        draws: Draws,
        layer: &mut u16,
    ) {
        let norm = self.is_normed(way, level);
        let affine = (norm && self.norm.is_affine()).then(|| {
            let name = self.norm_name(way, level);
            let [gain, bias] = ["weight", "bias"].map(|kind| parameters.value(&format!("{name}.{kind}")));
            Affine { gain, bias }
        });
        let Draws { pass, first_image, by_step } = draws;
        let dropout = self.drops_out(way, level).then(|| {
            *layer += 1;
            Dropout { probability: self.dropout, layer: *layer - 1, pass, first_image, by_step }
        });
        norm_act(tape, x, y, affine, NormAct { norm, activation, dropout });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(unet: UNet) -> usize {
        unet.specs().iter().map(ParameterSpec::count).sum()
    }

    fn names(unet: UNet) -> Vec<String> {
        unet.specs().into_iter().map(|spec| spec.name).collect()
    }

    #[test]
    fn the_full_networks_have_the_published_numbers_of_parameters() {
        assert_eq!(count(UNet::published(Recipe::PytorchGan)), 54_404_099);
        assert_eq!(count(UNet::published(Recipe::BlockCk)), 54_409_603);
        assert_eq!(count(UNet::published(Recipe::Isola)), 54_409_603);
        assert_eq!(count(UNet { norm: Norm::InstanceAffine, ..UNet::published(Recipe::Isola) }), 54_413_955);
    }

    #[test]
    fn names_are_those_of_the_published_state_dicts() {
        let isola = names(UNet { depth: 5, norm: Norm::InstanceAffine, ..UNet::published(Recipe::Isola) });
        let inner = "model.model.1.model.3.model.3.model";
        for name in [
            "model.model.0.weight".to_owned(),
            "model.model.1.model.1.weight".to_owned(),
            "model.model.1.model.2.weight".to_owned(),
            format!("{inner}.1.weight"),
            format!("{inner}.3.model.1.weight"),
            format!("{inner}.3.model.3.weight"),
            format!("{inner}.3.model.4.bias"),
            format!("{inner}.5.weight"),
            "model.model.1.model.5.weight".to_owned(),
            "model.model.1.model.6.bias".to_owned(),
            "model.model.3.bias".to_owned(),
        ] {
            assert!(isola.contains(&name), "{name} is not in {isola:?}");
        }
        assert!(!isola.contains(&"model.model.0.bias".to_owned()));
        let block_ck = names(UNet::published(Recipe::BlockCk));
        for name in ["down_1_C64.model.0.weight", "down_8_C512.model.0.bias", "up_4_CD512.model.0.weight", "conv.bias"]
        {
            assert!(block_ck.iter().any(|n| n == name), "{name} is not in {block_ck:?}");
        }
        let small = names(UNet { depth: 6, ..UNet::published(Recipe::PytorchGan) });
        assert_eq!(small.iter().filter(|name| name.starts_with("up")).count(), 5);
    }

    #[test]
    fn dropout_stands_where_each_recipe_has_it() {
        let levels = |recipe, depth| {
            let unet = UNet { depth, ..UNet::published(recipe) };
            let at = |way| (1..=depth).filter(move |&level| unet.drops_out(way, level)).collect::<Vec<_>>();
            // The innermost level is reached by the way down alone.
            (at(Way::Down), at(Way::Up).into_iter().filter(|&level| level < depth).collect::<Vec<_>>())
        };
        assert_eq!(levels(Recipe::PytorchGan, 8), (vec![4, 5, 6, 7, 8], vec![4, 5, 6, 7]));
        assert_eq!(levels(Recipe::BlockCk, 8), (vec![], vec![5, 6, 7]));
        assert_eq!(levels(Recipe::Isola, 8), (vec![], vec![4, 5, 6]));
        assert_eq!(levels(Recipe::BlockCk, 6), (vec![], vec![5]));
        assert_eq!(levels(Recipe::Isola, 6), (vec![], vec![4]));
        assert_eq!(levels(Recipe::Isola, 5), (vec![], vec![]));
    }
}
