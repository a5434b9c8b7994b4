//! The discriminator: a PatchGAN (Isola et al., 2017). Its output, the map, has a number for each patch of a picture.
//!
//! It is a list of layers. The side of a patch, the receptive field of a number of the map, follows from their strides;
//! a PatchGAN is named by it ([`ReceptiveField`]).

use anyhow::{Result, ensure};

use super::{Norm, ParameterSpec, Parameters, ReceptiveField};
use crate::engine::ops::activation::sigmoid;
use crate::engine::ops::conv::{Geometry, conv, conv_transpose};
use crate::engine::ops::detach::detach;
use crate::engine::ops::norm_act::{Activation, Affine, NormAct, norm_act};
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;

/// A PatchGAN discriminator, as the numbers and choices from which its parameters and its graph follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchGan {
    pub receptive_field: ReceptiveField,
    /// Channels of its input: those of the picture, and of the condition if the discriminator is given that too.
    pub in_channels: usize,
    /// Channels of the first layer.
    pub ndf: usize,
    pub norm: Norm,
    /// True if the map holds probabilities, not numbers of any size.
    pub sigmoid: bool,
}

/// The tensors that a discriminator's forward pass gives: the map, with one number for each patch of the picture, and
/// the activations of the layers before it.
#[derive(Clone, Debug)]
pub struct PatchGanOutput {
    /// `[n, height, width, channels]` of every layer but the last, in order, behind the activation.
    pub features: Vec<Tensor>,
    /// `[n, map height, map width, 1]`: one number for each patch.
    pub map: Tensor,
}

/// One convolution with what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layer {
    /// Its index in the `nn.Sequential`; a norm behind it has the next one.
    index: usize,
    out_channels: usize,
    geometry: Geometry,
    is_transposed: bool,
    has_bias: bool,
    is_normed: bool,
    /// The last layer has neither norm nor activation.
    is_last: bool,
}

const STRIDE_1: Geometry = Geometry { kernel: [4, 4], stride: 1, pad: [1, 1], dilation: 1 };
const PIXEL: Geometry = Geometry { kernel: [1, 1], stride: 1, pad: [0, 0], dilation: 1 };

/// Over one row and column of zeros more in front than behind: the map keeps its size.
const SAME: Geometry = Geometry { kernel: [4, 4], stride: 1, pad: [2, 2], dilation: 1 };
const DILATED_UPSAMPLING: Geometry = Geometry { kernel: [4, 4], stride: 4, pad: [0, 0], dilation: 3 };

impl PatchGan {
    fn layers(&self) -> Vec<Layer> {
        use ReceptiveField::{Map70, R1, R16, R34, R70, R94, R142, R286};
        let (body, head, is_transposed) = match self.receptive_field {
            R1 => (vec![PIXEL; 2], PIXEL, false),
            R16 => (strided_then_one(1), STRIDE_1, false),
            R34 => (strided_then_one(2), STRIDE_1, false),
            R70 => (strided_then_one(3), STRIDE_1, false),
            R142 => (strided_then_one(4), STRIDE_1, false),
            R286 => (strided_then_one(5), STRIDE_1, false),
            R94 => (vec![Geometry::HALVING; 4], SAME, false),
            Map70 => (vec![Geometry::HALVING; 4], DILATED_UPSAMPLING, true),
        };
        let mut index = 0;
        let mut layers: Vec<Layer> = Vec::new();
        for (number, &geometry) in body.iter().enumerate() {
            let is_normed = number > 0 && self.norm != Norm::None;
            let out_channels = self.ndf << number.min(3);
            let has_bias = number == 0 || self.has_inner_biases();
            layers.push(Layer {
                index,
                out_channels,
                geometry,
                is_transposed: false,
                has_bias,
                is_normed,
                is_last: false,
            });
            // The authors' networks count the norm of every layer but the first, also where there is none.
            index += if number > 0 { 3 } else { 2 };
        }
        let has_bias = match self.receptive_field {
            R94 => false,
            R1 => self.has_inner_biases(),
            _ => true,
        };
        // Zeros are a layer of their own in PyTorch.
        let index = if self.receptive_field == R94 { index + 1 } else { index };
        layers.push(Layer {
            index,
            out_channels: 1,
            geometry: head,
            is_transposed,
            has_bias,
            is_normed: false,
            is_last: true,
        });
        layers
    }

    /// True if the convolutions between the first and the last have a bias. The authors leave it out in front of a norm
    /// that brings its own.
    fn has_inner_biases(&self) -> bool {
        let authors_own = !matches!(self.receptive_field, ReceptiveField::R94 | ReceptiveField::Map70);
        !(authors_own && self.norm.is_affine())
    }

    fn name(&self, index: usize) -> String {
        let sequential = if self.receptive_field == ReceptiveField::R1 { "net" } else { "model" };
        format!("{sequential}.{index}")
    }

    pub fn specs(&self) -> Vec<ParameterSpec> {
        let mut in_channels = self.in_channels;
        let mut specs = Vec::new();
        for layer in self.layers() {
            let (name, [kernel, _]) = (self.name(layer.index), layer.geometry.kernel);
            let (k, c) =
                if layer.is_transposed { (in_channels, layer.out_channels) } else { (layer.out_channels, in_channels) };
            specs.push(ParameterSpec::weight(format!("{name}.weight"), k, kernel, c));
            if layer.has_bias {
                specs.push(ParameterSpec::bias(format!("{name}.bias"), layer.out_channels));
            }
            if layer.is_normed && self.norm.is_affine() {
                let norm = self.name(layer.index + 1);
                specs.push(ParameterSpec::gain(format!("{norm}.weight"), layer.out_channels));
                specs.push(ParameterSpec::bias(format!("{norm}.bias"), layer.out_channels));
            }
            in_channels = layer.out_channels;
        }
        specs
    }

    /// `[height, width]` of the discriminator's output, the map, for a picture of `height` by `width` pixels.
    ///
    /// # Errors
    /// When the picture is so small that a layer has no output, or that a norm gets a single pixel, which it would make
    /// zero.
    pub fn map_size(&self, height: usize, width: usize) -> Result<[usize; 2]> {
        let mut size = [height, width];
        for layer in self.layers() {
            let next = layer.output_size(size);
            ensure!(
                next.is_some_and(|[h, w]| !layer.is_normed || h * w > 1),
                "a discriminator of this receptive field leaves no patch of {width}x{height} pixels: take a \
                 smaller receptive field, or larger images"
            );
            size = next.unwrap_or(size);
        }
        Ok(size)
    }

    /// Number of layers before the last one: the length of [`PatchGanOutput::features`].
    pub fn feature_count(&self) -> usize {
        self.layers().len() - 1
    }

    /// Records the forward pass over `x`, `[n, h, w, in_channels]`, and returns its output tensors: the map of f32, the
    /// features in the number format of the tape's activations.
    ///
    /// # Panics
    /// When [`PatchGan::map_size`] refuses the size, or `parameters` are not those of [`PatchGan::specs`].
    pub fn forward(&self, tape: &mut Tape, parameters: &Parameters, x: Tensor) -> PatchGanOutput {
        let (mut from, mut features) = (x, Vec::new());
        for (number, layer) in self.layers().into_iter().enumerate() {
            tape.layer(&format!("conv{}", number + 1));
            let [n, height, width, _] = from.shape;
            let [height, width] = layer.output_size([height, width]).expect("map_size accepts the size");
            let shape = [n, height, width, layer.out_channels];
            let hidden = if layer.is_last { tape.transient(shape) } else { tape.activation(shape) };
            let name = self.name(layer.index);
            let weight = parameters.value(&format!("{name}.weight"));
            let bias = layer.has_bias.then(|| {
                let bias = parameters.value(&format!("{name}.bias"));
                if layer.is_normed && self.norm.cancels_bias() { detach(bias) } else { bias }
            });
            let record = if layer.is_transposed { conv_transpose } else { conv };
            record(tape, from, weight, bias, hidden, layer.geometry);
            from = hidden;
            if !layer.is_last {
                let affine = (layer.is_normed && self.norm.is_affine()).then(|| {
                    let norm = self.name(layer.index + 1);
                    let [gain, bias] = ["weight", "bias"].map(|kind| parameters.value(&format!("{norm}.{kind}")));
                    Affine { gain, bias }
                });
                from = tape.activation(shape);
                let op = NormAct { norm: layer.is_normed, activation: Activation::LeakyRelu, dropout: None };
                norm_act(tape, hidden, from, affine, op);
                features.push(from);
            }
        }
        if self.sigmoid {
            let probabilities = tape.transient(from.shape);
            sigmoid(tape, from, probabilities);
            from = probabilities;
        }
        tape.layer("");
        PatchGanOutput { features, map: from }
    }
}

/// The body of the authors' discriminator of `halvings` layers.
fn strided_then_one(halvings: usize) -> Vec<Geometry> {
    let mut body = vec![Geometry::HALVING; halvings];
    body.push(STRIDE_1);
    body
}

impl Layer {
    /// Height and width of the output for an input of height and width `size`; `None` when nothing is left.
    fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let Geometry { kernel, stride, pad, dilation } = self.geometry;
        // Zeros behind: as many as in front, but one less where the layer in front is padded by itself.
        let behind = if self.geometry == SAME { [1, 1] } else { pad };
        let side = |i: usize| {
            let window = dilation * (kernel[i] - 1) + 1;
            if self.is_transposed {
                return Some((size[i] - 1) * stride + window - pad[i] - behind[i]);
            }
            Some((size[i] + pad[i] + behind[i]).checked_sub(window)? / stride + 1)
        };
        Some([side(0)?, side(1)?])
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    fn full(receptive_field: ReceptiveField) -> PatchGan {
        PatchGan { receptive_field, in_channels: 6, ndf: 64, norm: Norm::Instance, sigmoid: false }
    }

    fn count(patchgan: PatchGan) -> usize {
        patchgan.specs().iter().map(ParameterSpec::count).sum()
    }

    #[test]
    fn the_full_networks_have_the_published_numbers_of_parameters() {
        assert_eq!(count(full(ReceptiveField::R94)), 2_767_808);
        assert_eq!(count(full(ReceptiveField::Map70)), 2_767_809);
        assert_eq!(count(full(ReceptiveField::R70)), 2_767_809);
        assert_eq!(count(PatchGan { norm: Norm::InstanceAffine, ..full(ReceptiveField::R70) }), 2_768_705);
    }

    #[test]
    fn maps_have_the_published_sizes() {
        use ReceptiveField::{Map70, R1, R16, R34, R70, R94, R142, R286};
        for (receptive_field, side) in
            [(R1, 256), (R16, 126), (R34, 62), (R70, 30), (R94, 16), (R142, 14), (R286, 6), (Map70, 70)]
        {
            assert_eq!(full(receptive_field).map_size(256, 256).unwrap(), [side; 2], "{receptive_field:?}");
        }
        assert_eq!(full(R70).map_size(256, 512).unwrap(), [30, 62]);
    }

    /// The side of the patch, reckoned back from one number of the map.
    #[test]
    fn receptive_fields_are_what_they_are_called() {
        for &receptive_field in ReceptiveField::value_variants() {
            let layers = full(receptive_field).layers();
            let (body, head) = layers.split_at(layers.len() - 1);
            // One number of the dilated map comes from one position of what the body made.
            let after_body = if head[0].is_transposed { 1 } else { head[0].geometry.kernel[0] };
            let side = body
                .iter()
                .rev()
                .fold(after_body, |side, layer| (side - 1) * layer.geometry.stride + layer.geometry.kernel[0]);
            let name = receptive_field.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(side.to_string(), if name == "map70" { "46".to_owned() } else { name });
        }
    }

    #[test]
    fn names_are_those_of_the_published_state_dicts() {
        let names = |patchgan: PatchGan| patchgan.specs().into_iter().map(|spec| spec.name).collect::<Vec<_>>();
        let affine = |receptive_field| names(PatchGan { norm: Norm::InstanceAffine, ..full(receptive_field) });
        assert_eq!(
            affine(ReceptiveField::R1),
            ["net.0.weight", "net.0.bias", "net.2.weight", "net.3.weight", "net.3.bias", "net.5.weight"]
        );
        assert_eq!(
            affine(ReceptiveField::R16),
            [
                "model.0.weight",
                "model.0.bias",
                "model.2.weight",
                "model.3.weight",
                "model.3.bias",
                "model.5.weight",
                "model.5.bias"
            ]
        );
        assert_eq!(names(full(ReceptiveField::R94)).last().unwrap(), "model.12.weight");
        assert_eq!(names(full(ReceptiveField::Map70)).last().unwrap(), "model.11.bias");
        assert_eq!(names(full(ReceptiveField::R70)).last().unwrap(), "model.11.bias");
        assert_eq!(names(full(ReceptiveField::R286)).last().unwrap(), "model.17.bias");
    }

    #[test]
    fn a_picture_too_small_is_refused() {
        assert!(full(ReceptiveField::R286).map_size(64, 64).is_err());
        assert!(full(ReceptiveField::R286).map_size(256, 256).is_ok());
        assert!(full(ReceptiveField::R94).map_size(16, 16).is_err());
    }
}
