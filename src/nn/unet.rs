//! The generator: a U-Net (Ronneberger et al., 2015) in the form of the `pytorch-gan` recipe.
//!
//! Level `i` has 1/2^i of the image's size. On the way down each level halves the size of the one before, on the way up each
//! doubles the one below, and at every level but the innermost both meet in one buffer: the up half in front, the skip behind.
//! They are written straight into their halves, so the concatenation costs nothing.

use super::{Parameters, Spec};
use crate::ops::conv::{Geometry, conv, conv_transpose};
use crate::ops::norm_act::{Activation, Dropout, NormAct, norm_act};
use crate::ops::squash::tanh;
use crate::ops::upsample::upsample_conv;
use crate::tape::Tape;
use crate::tensor::Tensor;

/// The first level, on the way down and up, that drops out: the levels of 1/16 of the size and below.
const DROPOUT_LEVEL: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UNet {
    pub input_channels: usize,
    pub output_channels: usize,
    /// Channels of the first level (ngf).
    pub width: usize,
    /// Levels: the innermost is 1/2^depth of the image.
    pub depth: usize,
    pub dropout: f64,
}

impl UNet {
    /// Channels of a level: doubling from `width` up to eight times that.
    fn channels(&self, level: usize) -> usize {
        match level {
            0 => self.input_channels,
            _ => self.width << (level - 1).min(3),
        }
    }

    /// Channels that the way up finds at `level`.
    fn joined_channels(&self, level: usize) -> usize {
        if level == self.depth { self.channels(level) } else { 2 * self.channels(level) }
    }

    pub fn specs(&self) -> Vec<Spec> {
        let down =
            (1..=self.depth).map(|level| Spec::weight(down(level), self.channels(level), 4, self.channels(level - 1)));
        let up = (1..self.depth)
            .rev()
            .map(|level| Spec::weight(self.up(level), self.joined_channels(level + 1), 4, self.channels(level)));
        let last = [
            Spec::weight("final.2.weight", self.output_channels, 4, self.joined_channels(1)),
            Spec::bias("final.2.bias", self.output_channels),
        ];
        down.chain(up).chain(last).collect()
    }

    /// The name of the weight of the way up that ends at `level`.
    fn up(&self, level: usize) -> String {
        format!("up{}.model.0.weight", self.depth - level)
    }

    /// Records `out = G(x)`. `x` is `[n, h, w, input_channels]`, `out` `[n, h, w, output_channels]`. `pass` counts the
    /// evaluations within a step: each draws its own dropout.
    pub fn forward(&self, tape: &mut Tape, parameters: &Parameters, x: Tensor, out: Tensor, pass: u16) {
        let [n, height, width, _] = x.shape;
        let grid = |level: usize, channels: usize| [n, height >> level, width >> level, channels];
        let mut layer = 0;
        let mut block = |level: usize, norm: bool, activation: Activation| {
            let drops = level >= DROPOUT_LEVEL && self.dropout > 0.0;
            let dropout = drops.then_some(Dropout { probability: self.dropout, layer, pass, first_image: 0 });
            layer += u16::from(drops);
            NormAct { norm, activation, dropout }
        };

        let joined: Vec<Tensor> =
            (1..=self.depth).map(|level| tape.transient(grid(level, self.joined_channels(level)))).collect();
        let joined = |level: usize| joined[level - 1];
        let skip = |level: usize| {
            let channels = self.joined_channels(level);
            joined(level).channel_slice(channels - self.channels(level)..channels)
        };

        for level in 1..=self.depth {
            let from = if level == 1 { x } else { skip(level - 1) };
            let hidden = tape.transient(grid(level, self.channels(level)));
            conv(tape, from, parameters.value(&down(level)), None, hidden, Geometry::HALVING);
            // The outermost is never normalised, and neither is the innermost, which may be a single pixel.
            let norm = level > 1 && level < self.depth;
            norm_act(tape, hidden, skip(level), None, block(level, norm, Activation::LeakyRelu));
        }
        for level in (1..self.depth).rev() {
            let hidden = tape.transient(grid(level, self.channels(level)));
            let weight = parameters.value(&self.up(level));
            conv_transpose(tape, joined(level + 1), weight, None, hidden, Geometry::HALVING);
            let up = joined(level).channel_slice(0..self.channels(level));
            norm_act(tape, hidden, up, None, block(level, true, Activation::Relu));
        }
        let last = tape.transient(out.shape);
        upsample_conv(tape, joined(1), parameters.value("final.2.weight"), parameters.value("final.2.bias"), last);
        tanh(tape, last, out);
    }
}

/// The name of the weight of the way down that ends at `level`.
fn down(level: usize) -> String {
    format!("down{level}.model.0.weight")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_network_has_the_published_number_of_parameters() {
        let unet = UNet { input_channels: 3, output_channels: 3, width: 64, depth: 8, dropout: 0.5 };
        assert_eq!(unet.specs().iter().map(Spec::count).sum::<usize>(), 54_404_099);
    }
}
