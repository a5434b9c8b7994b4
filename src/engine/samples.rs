//! 16-bit samples of pictures, and their conversion to a tensor: cropped and mirrored where requested, normalised to
//! [-1, 1].

use super::tensor::Shape;

/// Half of the largest 16-bit sample: `sample / HALF_RANGE - 1` maps 0 to -1 and 65535 to 1.
pub const HALF_RANGE: f32 = 32_767.5;

/// 16-bit picture samples for a tensor of shape `[n, h, w, c]`, in row-major order, and for each image a flag that has
/// it mirrored left to right.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    pub shape: Shape,
    pub values: &'a [u16],
    /// For each image, true if its columns are to be reversed.
    pub mirrored: &'a [bool],
}

/// The part of a pair of pictures that an image of a tensor shows, out of the pairs that a device keeps
/// (`Device::keep_pairs`): as many pixels as the image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// Index of the pair.
    pub pair: usize,
    /// The upper left corner of the part, in pixels.
    pub left: usize,
    pub top: usize,
    /// True if its columns are to be reversed.
    pub mirrored: bool,
}

impl Samples<'_> {
    /// Writes the samples to `out` as floats in [-1, 1], in the order `[n, h, w, c]`; images that are flagged are
    /// mirrored left to right.
    ///
    /// # Panics
    /// If `out` and the samples differ in length, or there are fewer flags than images.
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

/// Converts samples to floats in [-1, 1], `sample / HALF_RANGE - 1`, element by element. Where one slice is longer, its
/// rest is left alone.
pub fn normalize(samples: &[u16], out: &mut [f32]) {
    for (out, &sample) in out.iter_mut().zip(samples) {
        *out = f32::from(sample) / HALF_RANGE - 1.0;
    }
}
