//! What is taken from a photograph so that a network can learn to give it back.

use std::ffi::OsStr;

use anyhow::{Result, ensure};
use image::{GrayImage, Rgb, RgbImage, imageops::grayscale};

use super::canny::canny;
use crate::{
    cli::{Kind, MakeArgs},
    data::{Fnv, Size, resize},
    philox::{Purpose, Stream},
};

/// The grey of a hole: the middle of the scale, which the network sees as 0.
const HOLE: Rgb<u8> = Rgb([127; 3]);

pub enum Degrade {
    Colorize,
    Edges,
    Upscale { factor: usize },
    Inpaint { seed: u64 },
}

impl Degrade {
    /// # Errors
    /// When there is a factor for what has none, or the low resolution would have no pixel.
    pub fn new(args: &MakeArgs) -> Result<Degrade> {
        ensure!(args.factor.is_none() || args.kind == Kind::Upscale, "--factor is for `upscale` alone");
        Ok(match args.kind {
            Kind::Colorize => Degrade::Colorize,
            Kind::Edges => Degrade::Edges,
            Kind::Upscale => {
                let factor = args.factor.unwrap_or(4) as usize;
                let fits = [args.size.width, args.size.height].iter().all(|side| side % factor == 0);
                ensure!(fits, "--factor {factor} does not divide --size {}", args.size);
                Degrade::Upscale { factor }
            }
            Kind::Inpaint => Degrade::Inpaint { seed: args.seed },
        })
    }

    pub fn describe(&self) -> String {
        match self {
            Degrade::Colorize => "grey on the left, colour on the right".into(),
            Degrade::Edges => "edges on the left, photo on the right".into(),
            Degrade::Upscale { factor } => format!("1/{factor} of the resolution on the left, all of it on the right"),
            Degrade::Inpaint { .. } => "photo with holes on the left, photo on the right".into(),
        }
    }

    /// `photo` without what is to be learned, of the same size. `name` tells photographs apart, so that a photo has the same
    /// holes whatever else is in the folder.
    pub fn degrade(&self, photo: &RgbImage, name: &OsStr) -> RgbImage {
        match *self {
            Degrade::Colorize => to_rgb(&grayscale(photo)),
            Degrade::Edges => to_rgb(&canny(&grayscale(photo))),
            Degrade::Upscale { factor } => {
                let size = Size::of(photo);
                let low = Size { width: size.width / factor, height: size.height / factor };
                resize(&resize(photo, low), size)
            }
            Degrade::Inpaint { seed } => {
                let mut hash = Fnv::new();
                hash.write(name.as_encoded_bytes());
                with_holes(photo, &mut Stream::new(seed, Purpose::Holes, hash.0))
            }
        }
    }
}

/// One to three rectangles, with sides from a sixth to a half of the photo's, are grey.
fn with_holes(photo: &RgbImage, stream: &mut Stream) -> RgbImage {
    let mut holed = photo.clone();
    for _ in 0..=stream.below(3) {
        let [(left, right), (top, bottom)] = [photo.width(), photo.height()].map(|side| {
            let (least, most) = (side.div_ceil(6), side.div_ceil(2));
            let extent = least + stream.below(most - least + 1);
            let start = stream.below(side - extent + 1);
            (start, start + extent)
        });
        for y in top..bottom {
            for x in left..right {
                holed.put_pixel(x, y, HOLE);
            }
        }
    }
    holed
}

fn to_rgb(gray: &GrayImage) -> RgbImage {
    RgbImage::from_fn(gray.width(), gray.height(), |x, y| Rgb([gray.get_pixel(x, y).0[0]; 3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo() -> RgbImage {
        RgbImage::from_fn(48, 32, |x, y| Rgb([(x * 5) as u8, (y * 7) as u8, ((x ^ y) * 3) as u8]))
    }

    #[test]
    fn holes_are_grey_rectangles_of_their_own_for_every_name() {
        let photo = photo();
        let holed = |seed, name: &str| Degrade::Inpaint { seed }.degrade(&photo, name.as_ref());
        let one = holed(0, "one");
        assert_eq!(one, holed(0, "one"));
        assert_ne!(one, holed(0, "two"));
        assert_ne!(one, holed(1, "one"));
        for number in 0..50 {
            let holed = holed(0, &number.to_string());
            let changed: Vec<&Rgb<u8>> =
                holed.pixels().zip(photo.pixels()).filter(|(a, b)| a != b).map(|pair| pair.0).collect();
            assert!(changed.iter().all(|pixel| **pixel == HOLE));
            // One of the smallest to three of the largest.
            assert!((8 * 6 - 4..=3 * 24 * 16).contains(&changed.len()), "{} pixels", changed.len());
        }
    }

    #[test]
    fn the_low_resolution_keeps_the_size_and_loses_the_detail() {
        let stripes = RgbImage::from_fn(32, 32, |x, _| Rgb([if x % 2 == 0 { 0 } else { 200 }; 3]));
        let low = Degrade::Upscale { factor: 4 }.degrade(&stripes, "".as_ref());
        assert_eq!(low.dimensions(), (32, 32));
        // Stripes of one pixel average out away from the borders.
        assert!((8..24).all(|x| low.get_pixel(x, 16).0[0].abs_diff(100) <= 8));
    }

    #[test]
    fn grey_is_the_luminance_in_all_channels() {
        let gray = Degrade::Colorize.degrade(&photo(), "".as_ref());
        assert!(gray.pixels().all(|Rgb([r, g, b])| r == g && g == b));
        let green = RgbImage::from_pixel(2, 2, Rgb([0, 255, 0]));
        // Rec. 709: 0.7152 of green.
        assert!(Degrade::Colorize.degrade(&green, "".as_ref()).get_pixel(0, 0).0[0].abs_diff(182) <= 1);
    }
}
