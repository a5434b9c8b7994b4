//! Degradation of a photograph, which a network learns to undo.

use std::ffi::OsStr;

use anyhow::{Result, ensure};

use super::canny::canny;
use super::{Kind, Request};
use crate::data::{Fnv, Picture, ResizeFilter, Size};
use crate::engine::philox::{Purpose, Stream};

/// Sample of a hole: middle grey, the 8-bit value 127.
const HOLE: u16 = 127 * 257;

pub enum Degrade {
    Colorize,
    Edges,
    Upscale { factor: usize },
    Inpaint { seed: u64 },
}

impl Degrade {
    /// Returns the degradation for `request.kind`, with the factor (4 unless given) or the seed that it uses.
    ///
    /// # Errors
    /// When a factor is given for another kind than `upscale`, or does not divide both sides of `request.size`.
    pub fn new(request: &Request) -> Result<Degrade> {
        ensure!(request.factor.is_none() || request.kind == Kind::Upscale, "--factor is for `upscale` alone");
        Ok(match request.kind {
            Kind::Colorize => Degrade::Colorize,
            Kind::Edges => Degrade::Edges,
            Kind::Upscale => {
                let factor = request.factor.unwrap_or(4) as usize;
                let fits = [request.size.width, request.size.height].iter().all(|side| side % factor == 0);
                ensure!(fits, "--factor {factor} does not divide --size {}", request.size);
                Degrade::Upscale { factor }
            }
            Kind::Inpaint => Degrade::Inpaint { seed: request.seed },
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

    /// Returns the degraded version of the RGB picture `photo`, at the same size. The holes of [`Degrade::Inpaint`] are
    /// drawn from its seed and `name`, the name of the photograph, so they do not depend on the other photographs in
    /// the folder.
    pub fn degrade(&self, photo: &Picture, name: &OsStr) -> Picture {
        let grey = || photo.clone().with_channels(1);
        match *self {
            Degrade::Colorize => grey().with_channels(3),
            Degrade::Edges => canny(&grey()).with_channels(3),
            Degrade::Upscale { factor } => {
                let low = Size { width: photo.size.width / factor, height: photo.size.height / factor };
                photo.clone().resize(low, ResizeFilter::Bicubic).resize(photo.size, ResizeFilter::Bicubic)
            }
            Degrade::Inpaint { seed } => {
                let mut hash = Fnv::new();
                hash.write(name.as_encoded_bytes());
                with_holes(photo, &mut Stream::new(seed, Purpose::Holes, hash.0))
            }
        }
    }
}

/// The photo with one to three grey rectangles, whose sides are a sixth to a half of the photo's.
fn with_holes(photo: &Picture, stream: &mut Stream) -> Picture {
    let mut holed = photo.clone();
    for _ in 0..=stream.below(3) {
        let [(left, right), (top, bottom)] = [photo.size.width, photo.size.height].map(|side| {
            let (least, most) = (side.div_ceil(6), side.div_ceil(2));
            let extent = least + stream.below((most - least + 1) as u32) as usize;
            let start = stream.below((side - extent + 1) as u32) as usize;
            (start, start + extent)
        });
        for row in holed.samples.chunks_exact_mut(photo.size.width * photo.channels).take(bottom).skip(top) {
            row[left * photo.channels..right * photo.channels].fill(HOLE);
        }
    }
    holed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(pixel: impl Fn(usize, usize) -> [u8; 3]) -> Picture {
        let values: Vec<u8> = (0..48 * 32).flat_map(|i| pixel(i % 48, i / 48)).collect();
        Picture::from_bytes(Size { width: 48, height: 32 }, 3, &values)
    }

    fn photo() -> Picture {
        picture(|x, y| [(x * 5) as u8, (y * 7) as u8, ((x ^ y) * 3) as u8])
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
            let pixels = holed.samples.chunks_exact(3).zip(photo.samples.chunks_exact(3));
            let changed: Vec<&[u16]> = pixels.filter(|(a, b)| a != b).map(|pair| pair.0).collect();
            assert!(changed.iter().all(|pixel| *pixel == [HOLE; 3]));
            // From one of the smallest to three of the largest.
            assert!((8 * 6..=3 * 24 * 16).contains(&changed.len()), "{} pixels", changed.len());
        }
    }

    #[test]
    fn the_low_resolution_keeps_the_size_and_loses_the_detail() {
        let stripes = picture(|x, _| [if x % 2 == 0 { 0 } else { 200 }; 3]);
        let low = Degrade::Upscale { factor: 4 }.degrade(&stripes, "".as_ref());
        assert_eq!(low.size, stripes.size);
        // Stripes of one pixel average out; within 8 grey levels, away from the borders.
        let middle = low.crop(12, 8, Size { width: 24, height: 16 });
        assert!(middle.samples.iter().all(|&sample| sample.abs_diff(100 * 257) <= 8 * 257));
    }

    #[test]
    fn grey_is_one_value_in_all_channels() {
        let gray = Degrade::Colorize.degrade(&photo(), "".as_ref());
        assert!(gray.channels == 3 && gray.samples.chunks_exact(3).all(|pixel| pixel == [pixel[0]; 3]));
        assert_ne!(gray.samples[..3], gray.samples[gray.samples.len() - 3..]);
    }
}
