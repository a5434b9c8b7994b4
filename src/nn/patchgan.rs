//! The discriminator: a PatchGAN (Isola et al., 2017) in the form of the `pytorch-gan` recipe.
//!
//! It sees a picture together with the condition it was made from and judges each patch of them: a map of 1/16 of the size,
//! one number a patch.

use super::{Parameters, Spec};
use crate::ops::conv::{Geometry, conv};
use crate::ops::detach::detach;
use crate::ops::norm_act::{Activation, NormAct, norm_act};
use crate::tape::Tape;
use crate::tensor::Tensor;

/// Blocks that halve the size, and the place of each one's convolution in the recipe's `nn.Sequential`.
const BLOCKS: [usize; 4] = [0, 2, 5, 8];

/// The last convolution: 4x4 over one row and column of zeros more in front than behind.
const HEAD: Geometry = Geometry { kernel: [4, 4], stride: 1, dilation: 1, pad: [2, 2] };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchGan {
    /// Channels of picture and condition together.
    pub input_channels: usize,
    /// Channels of the first block (ndf).
    pub width: usize,
}

impl PatchGan {
    fn channels(&self, block: usize) -> usize {
        self.width << block
    }

    pub fn specs(&self) -> Vec<Spec> {
        let blocks = BLOCKS.iter().enumerate().flat_map(|(block, place)| {
            let inputs = if block == 0 { self.input_channels } else { self.channels(block - 1) };
            [
                Spec::weight(format!("model.{place}.weight"), self.channels(block), 4, inputs),
                Spec::bias(format!("model.{place}.bias"), self.channels(block)),
            ]
        });
        blocks.chain([Spec::weight("model.12.weight", 1, 4, self.channels(BLOCKS.len() - 1))]).collect()
    }

    /// Records the judgement of `x`, `[n, h, w, input_channels]`, and returns it: `[n, h / 16, w / 16, 1]`.
    pub fn forward(&self, tape: &mut Tape, parameters: &Parameters, x: Tensor) -> Tensor {
        let [n, height, width, _] = x.shape;
        let mut from = x;
        for (block, place) in BLOCKS.iter().enumerate() {
            let shape = [n, height >> (block + 1), width >> (block + 1), self.channels(block)];
            let (hidden, out) = (tape.transient(shape), tape.transient(shape));
            let weight = parameters.value(&format!("model.{place}.weight"));
            let bias = parameters.value(&format!("model.{place}.bias"));
            let norm = block > 0;
            // A norm takes any bias in front of it away again: its gradient is exactly zero, and computing it would only
            // let rounding noise move it.
            let bias = if norm { detach(bias) } else { bias };
            conv(tape, from, weight, Some(bias), hidden, Geometry::HALVING);
            norm_act(tape, hidden, out, None, NormAct { norm, activation: Activation::LeakyRelu, dropout: None });
            from = out;
        }
        let map = tape.transient([n, height >> BLOCKS.len(), width >> BLOCKS.len(), 1]);
        conv(tape, from, parameters.value("model.12.weight"), None, map, HEAD);
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_network_has_the_published_number_of_parameters() {
        let discriminator = PatchGan { input_channels: 6, width: 64 };
        assert_eq!(discriminator.specs().iter().map(Spec::count).sum::<usize>(), 2_767_808);
    }
}
