//! The way from the size of a picture file to the image size: resizing and cropping.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data::decoding::Picture;
use crate::data::decoding::limit::max_picture_bytes;
use crate::data::feeding::{ResizeFilter, Window};
use crate::data::size::Size;

/// The way in which pictures of any size are brought to the image size: by resizing, cropping or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preprocess {
    /// Resized to the load size, whatever its proportions, and cropped.
    ResizeAndCrop,
    /// Cropped as it is.
    Crop,
    /// Scaled to the width, with its proportions; the height has to fit then.
    ScaleWidth,
    /// Scaled to the load width, with its proportions, and cropped.
    ScaleWidthAndCrop,
    /// Nothing: it has the size already.
    None,
}

impl Preprocess {
    /// True if the last operation is a crop to the image size, out of a picture that may be larger.
    pub fn crops(self) -> bool {
        matches!(self, Preprocess::ResizeAndCrop | Preprocess::Crop | Preprocess::ScaleWidthAndCrop)
    }

    pub fn resizes(self) -> bool {
        !matches!(self, Preprocess::Crop | Preprocess::None)
    }
}

/// A [`Preprocess`] with the sizes and the filter that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    pub preprocess: Preprocess,
    /// Load size: the size before the crop, for [`Preprocess::ResizeAndCrop`]; its width alone for
    /// [`Preprocess::ScaleWidthAndCrop`].
    pub load_size: Size,
    /// Image size: the size after the crop, which the networks see.
    pub image_size: Size,
    pub resize_filter: ResizeFilter,
}

impl Fit {
    /// Returns the fit that resizes any picture to `image`, whatever its proportions, with the bicubic filter and
    /// without a crop.
    pub fn resize(image: Size) -> Fit {
        Fit {
            preprocess: Preprocess::ResizeAndCrop,
            load_size: image,
            image_size: image,
            resize_filter: ResizeFilter::Bicubic,
        }
    }

    /// Returns the fit for pictures that are cropped in the middle, not at random. With [`Preprocess::ResizeAndCrop`]
    /// its load size is the image size, so that the whole picture is seen; otherwise it is unchanged.
    pub fn for_centre_crop(self) -> Fit {
        match self.preprocess {
            Preprocess::ResizeAndCrop => Fit { load_size: self.image_size, ..self },
            _ => self,
        }
    }

    /// Returns the size to which a picture of `have` pixels is resized before it is cropped: the image size or larger,
    /// or the image size itself if nothing is cropped.
    ///
    /// # Errors
    /// When the [`Preprocess`] cannot bring a picture of `have` pixels to such a size.
    pub fn resized_size(&self, have: Size) -> Result<Size> {
        let Fit { load_size: load, image_size: image, .. } = *self;
        let scaled = |width: usize| {
            let height = (have.height * width + have.width / 2) / have.width;
            Size { width, height: height.max(1) }
        };
        let is_large_enough = |size: Size| size.width >= image.width && size.height >= image.height;
        match self.preprocess {
            Preprocess::ResizeAndCrop => Ok(load),
            Preprocess::Crop => {
                ensure!(
                    is_large_enough(have),
                    "{} is too small for --preprocess crop to {image}; resize-and-crop takes it",
                    have.sides()
                );
                Ok(have)
            }
            Preprocess::ScaleWidth => {
                let size = scaled(image.width);
                ensure!(
                    size == image,
                    "{} is {} at the width of the image size, not {}, which --preprocess scale-width needs; \
                     scale-width-and-crop and resize-and-crop take other proportions",
                    have.sides(),
                    size.sides(),
                    image.sides()
                );
                Ok(size)
            }
            Preprocess::ScaleWidthAndCrop => {
                let size = scaled(load.width);
                ensure!(
                    is_large_enough(size),
                    "{} is {} at the load width, too small for --preprocess scale-width-and-crop to {image}; \
                     resize-and-crop takes it",
                    have.sides(),
                    size.sides()
                );
                Ok(size)
            }
            Preprocess::None => {
                ensure!(
                    have == image,
                    "{} is not the image size {}, which --preprocess none needs; resize-and-crop takes any size",
                    have.sides(),
                    image.sides()
                );
                Ok(have)
            }
        }
    }

    /// Resizes `picture` to [`Fit::resized_size`], ready to be cropped.
    ///
    /// # Errors
    /// As [`Fit::resized_size`], or when the picture would grow beyond the bound on a decoded picture, as a narrow
    /// strip may.
    pub fn apply(&self, picture: Picture) -> Result<Picture> {
        let size = self.resized_size(picture.size)?;
        check_growth(picture.size, size, picture.channels)?;
        Ok(picture.resize(size, self.resize_filter))
    }

    /// Crops the image size from the middle of `picture`, which [`Fit::apply`] has resized.
    ///
    /// # Panics
    /// If `picture` is smaller than the image size.
    pub fn middle(&self, picture: &Picture) -> Picture {
        let Window { left, top, .. } = Window::middle(picture.size, self.image_size);
        picture.crop(left, top, self.image_size)
    }
}

/// Refuses growth beyond the bound. Only scaling to a width is unbounded: a decoded picture is within the bound, and
/// load sizes are limited.
fn check_growth(have: Size, size: Size, channels: usize) -> Result<()> {
    let bytes = (size.pixels() * channels * size_of::<u16>()) as u64;
    let most = max_picture_bytes()?;
    ensure!(
        size.pixels() <= have.pixels() || bytes <= most,
        "{} is {} at the load width, too large for --preprocess scale-width-and-crop: {} MiB, of {} at most; \
         resize-and-crop takes it",
        have.sides(),
        size.sides(),
        bytes >> 20,
        most >> 20
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Size = Size { width: 64, height: 32 };

    fn fit(preprocess: Preprocess, load: Size) -> Fit {
        Fit { preprocess, load_size: load, image_size: IMAGE, resize_filter: ResizeFilter::Bicubic }
    }

    fn size(preprocess: Preprocess, load: Size, width: usize, height: usize) -> Result<Size, String> {
        fit(preprocess, load).resized_size(Size { width, height }).map_err(|error| error.to_string())
    }

    #[test]
    fn each_way_gives_its_size() {
        let load = Size { width: 80, height: 40 };
        assert_eq!(size(Preprocess::ResizeAndCrop, load, 7, 500), Ok(load));
        assert_eq!(size(Preprocess::Crop, IMAGE, 65, 32), Ok(Size { width: 65, height: 32 }));
        assert_eq!(size(Preprocess::ScaleWidth, IMAGE, 128, 64), Ok(IMAGE));
        // 63 at twice the width is 31.5, rounded up.
        assert_eq!(size(Preprocess::ScaleWidth, IMAGE, 128, 63), Ok(IMAGE));
        assert_eq!(size(Preprocess::ScaleWidthAndCrop, load, 160, 100), Ok(Size { width: 80, height: 50 }));
        assert_eq!(size(Preprocess::ScaleWidthAndCrop, load, 40, 16), Ok(Size { width: 80, height: 32 }));
        assert_eq!(size(Preprocess::None, IMAGE, 64, 32), Ok(IMAGE));
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        let cases = [
            (size(Preprocess::Crop, IMAGE, 63, 99), ["63x99 is too small", "resize-and-crop takes it"]),
            (size(Preprocess::Crop, IMAGE, 99, 31), ["99x31 is too small", "resize-and-crop"]),
            (size(Preprocess::ScaleWidth, IMAGE, 64, 64), ["64x64 is 64x64", "not 64x32"]),
            (size(Preprocess::ScaleWidthAndCrop, IMAGE, 128, 62), ["128x62 is 64x31", "too small"]),
            (size(Preprocess::None, IMAGE, 64, 33), ["64x33 is not the image size 64x32", "resize-and-crop"]),
        ];
        for (size, words) in cases {
            let error = size.unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    /// The pictures are small, but they would be scaled to large ones.
    #[test]
    fn what_would_be_scaled_beyond_all_memory_is_refused() {
        let apply = |height| {
            let size = Size { width: 2, height };
            let picture = Picture::new(size, 3, vec![0; 3 * size.pixels()]);
            fit(Preprocess::ScaleWidthAndCrop, Size { width: 80, height: 40 }).apply(picture)
        };
        assert_eq!(apply(100).expect("80x4000").size, Size { width: 80, height: 4000 });
        let error = apply(100_000).expect_err("1.8 GiB").to_string();
        let words =
            "2x100000 is 80x4000000 at the load width, too large for --preprocess scale-width-and-crop: 1831 MiB";
        assert!(error.starts_with(words), "{error}");
        // A large picture that keeps its size, or loses some, is no matter of scaling.
        let large = Size::square(15_000);
        for size in [large, Size::square(14_000)] {
            check_growth(large, size, 3).expect("it was decoded");
        }
    }

    #[test]
    fn held_out_pictures_are_seen_whole_or_from_the_middle() {
        let size = Size { width: 68, height: 36 };
        let samples = (0..size.pixels() as u16).collect();
        let picture = Picture::new(size, 1, samples);
        let crop = fit(Preprocess::Crop, IMAGE).for_centre_crop();
        let middle = crop.middle(&crop.apply(picture.clone()).expect("it is large enough"));
        // Two columns and two rows are left over on each side.
        assert_eq!((middle.size, middle.samples[0], middle.samples[64]), (IMAGE, 2 * 68 + 2, 3 * 68 + 2));
        let resized = fit(Preprocess::ResizeAndCrop, Size { width: 80, height: 40 }).for_centre_crop();
        let seen = resized.middle(&resized.apply(picture.clone()).expect("any size is taken"));
        assert_eq!(seen, picture.resize(IMAGE, ResizeFilter::Bicubic));
    }
}
