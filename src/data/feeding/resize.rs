//! Resizing, by filters whose kernels widen with the reduction so that nothing aliases.

use clap::ValueEnum;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U16;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use crate::data::decoding::Picture;
use crate::data::size::Size;

/// Interpolation filter for resizing. Where a picture is reduced, its kernel is widened against aliasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    /// Keys's cubic with a = -0.5 (Catmull-Rom), as PIL's BICUBIC.
    Bicubic,
    /// Triangular weights, as PIL's BILINEAR.
    Bilinear,
}

impl Picture {
    /// Resizes the picture to `size` pixels, each channel by itself: colours are not weighted by alpha.
    pub fn resize(self, size: Size, filter: ResizeFilter) -> Picture {
        if self.size == size {
            return self;
        }
        let filter = match filter {
            ResizeFilter::Bicubic => FilterType::CatmullRom,
            ResizeFilter::Bilinear => FilterType::Bilinear,
        };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        let mut resizer = Resizer::new();
        let mut samples = vec![0; size.pixels() * self.channels];
        // Pixels are typed: the dynamic images of the crate would compile every pixel format that it knows, for
        // minutes.
        for channel in 0..self.channels {
            let of_channel = self.samples.iter().skip(channel).step_by(self.channels);
            let source: Vec<U16> = of_channel.map(|&sample| U16::new(sample)).collect();
            let mut resized = vec![U16::new(0); size.pixels()];
            let source = TypedImageRef::new(self.size.width as u32, self.size.height as u32, &source)
                .expect("a sample for every pixel");
            let mut target = TypedImage::from_pixels_slice(size.width as u32, size.height as u32, &mut resized)
                .expect("a sample for every pixel");
            resizer.resize_typed(&source, &mut target, &options).expect("the whole of the source is a valid crop");
            let of_channel = samples.iter_mut().skip(channel).step_by(self.channels);
            of_channel.zip(resized).for_each(|(sample, resized)| *sample = resized.0);
        }
        Picture { size, samples, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTERS: [ResizeFilter; 2] = [ResizeFilter::Bicubic, ResizeFilter::Bilinear];

    fn picture(width: usize, height: usize, channels: usize, sample: impl Fn(usize, usize, usize) -> u16) -> Picture {
        let sample = |i: usize| sample(i / channels % width, i / channels / width, i % channels);
        let samples = (0..width * height * channels).map(sample).collect();
        Picture::new(Size { width, height }, channels, samples)
    }

    #[test]
    fn reducing_does_not_alias() {
        // Stripes of one pixel become an even grey; without a widened kernel they would stay black or white.
        let stripes = picture(64, 64, 1, |x, _, _| if x % 2 == 0 { 0 } else { u16::MAX });
        for filter in FILTERS {
            let small = stripes.clone().resize(Size::square(16), filter);
            for &sample in small.samples.iter().skip(1).step_by(2) {
                // A tenth of the range, which the edges take.
                assert!(sample.abs_diff(32768) <= 6554, "{filter:?}: {sample}");
            }
        }
    }

    #[test]
    fn channels_do_not_mix() {
        for channels in 1..=4 {
            for filter in FILTERS {
                let flat = picture(7, 5, channels, |_, _, channel| 1000 + 15000 * channel as u16);
                let resized = flat.resize(Size { width: 11, height: 3 }, filter);
                let is_own = |(i, &sample): (usize, &u16)| sample.abs_diff(1000 + 15000 * (i % channels) as u16) <= 1;
                assert!(resized.samples.iter().enumerate().all(is_own), "{channels} channels, {filter:?}");
            }
        }
    }

    /// The values of the two kernels for a step from black to white, enlarged four times, computed by hand.
    #[test]
    fn the_filters_are_what_they_are_called() {
        let step = picture(8, 1, 1, |x, _, _| if x < 4 { 0 } else { 40000 });
        let at = |filter, x: usize| {
            let large = step.clone().resize(Size { width: 32, height: 1 }, filter);
            f64::from(large.samples[x])
        };
        // Column 16 of 32 lies at 3.625 between the centres 3 (black) and 4 (white), 0.625 of the way.
        let linear = 40000.0 * 0.625;
        // The weights of the white samples at distances 0.375 and 1.375 of a = -0.5.
        let near = |t: f64| 1.5 * t.powi(3) - 2.5 * t.powi(2) + 1.0;
        let far = |t: f64| -0.5 * t.powi(3) + 2.5 * t.powi(2) - 4.0 * t + 2.0;
        let cubic = 40000.0 * (near(0.375) + far(1.375));
        // Weights of 16-bit samples have at least 15 bits; the rounding of a few of them.
        let tolerance = 8.0;
        assert!((at(ResizeFilter::Bilinear, 16) - linear).abs() <= tolerance, "{}", at(ResizeFilter::Bilinear, 16));
        assert!((at(ResizeFilter::Bicubic, 16) - cubic).abs() <= tolerance, "{}", at(ResizeFilter::Bicubic, 16));
    }
}
