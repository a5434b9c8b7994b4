//! 16-bit samples on their way into a tensor: mirrored where asked, and normalised to [-1, 1].

use super::tensor::Shape;

/// Half of the range of a sample: 0 becomes -1, 65535 becomes 1.
pub const HALF: f32 = 32_767.5;

/// Samples for a tensor of `shape`, in its order.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// `[n, h, w, c]`.
    pub shape: Shape,
    pub values: &'a [u16],
    /// By image, whether its columns are reversed.
    pub mirrored: &'a [bool],
}

impl Samples<'_> {
    /// Writes them to `out`, of as many elements.
    pub fn normalize(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.values.len(), "an element for every sample");
        let [_, height, width, channels] = self.shape;
        let row = (width * channels).max(1);
        let rows = self.values.chunks_exact(row).zip(out.chunks_exact_mut(row));
        for (index, (samples, out)) in rows.enumerate() {
            if self.mirrored[index / height] {
                let mirrored = samples.rchunks_exact(channels);
                out.chunks_exact_mut(channels).zip(mirrored).for_each(|(out, pixel)| normalize(pixel, out));
            } else {
                normalize(samples, out);
            }
        }
    }
}

/// Samples as floats in [-1, 1].
pub fn normalize(samples: &[u16], out: &mut [f32]) {
    for (out, &sample) in out.iter_mut().zip(samples) {
        *out = f32::from(sample) / HALF - 1.0;
    }
}
