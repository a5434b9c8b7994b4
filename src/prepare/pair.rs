//! `pixtape data pair`: joins two folders of pictures into one of side-by-side pairs.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use image::DynamicImage;

use super::{beside, count, for_all, new_folder, say_left_out, splits};
use crate::base::progress::{say, tell};
use crate::base::words::refuse_naming;
use crate::data::finding::layout::{Joined, Named, SPLITS, join, join_folded};
use crate::data::{Depth, Picture, ResizeFilter, picture_size, read_picture, turn, write_png};

/// A request to `data pair`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub a: PathBuf,
    pub b: PathBuf,
    pub out: PathBuf,
    pub resize: bool,
}

/// Joins the pictures of the same name (without its ending) in the folders `request.a` and `request.b` into
/// side-by-side PNGs in the new folder `request.out`, A on the left. With `request.resize`, B is resized to the size of
/// A.
///
/// # Errors
/// When a picture has no partner, the two of a pair differ in size (with `request.resize`: in aspect ratio, by more
/// than 1 %), or one cannot be read; all of them are named. Also when `request.out` exists already. Nothing is written
/// then.
pub fn run(request: &Request) -> Result<()> {
    super::ensure_free(&request.out)?;
    let pairs = find(request)?;
    let with_bands = AtomicUsize::new(0);
    new_folder(&request.out, |out| {
        for split in SPLITS.into_iter().filter(|split| pairs.iter().any(|pair| pair.split == *split)) {
            let dir = out.join(split);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        }
        for_all(&pairs, "pairs", |pair| {
            let _turn = turn(&[&pair.a, &pair.b])?;
            let ((a, _, depth_a), (b, _, depth_b)) = (read_picture(&pair.a)?, read_picture(&pair.b)?);
            if a.has_band() || b.has_band() {
                with_bands.fetch_add(1, Ordering::Relaxed);
            }
            let joined = beside_each_other((a, depth_a), (b, depth_b));
            let mut name = pair.stem.clone();
            name.push(".png");
            write_png(&out.join(pair.split).join(name), &joined)
        })
    })?;
    if let with_bands @ 1.. = with_bands.into_inner() {
        let pairs = count(with_bands, "pair");
        say(&format!(
            "The last band of {pairs} is the alpha of the PNG now: keep the TIFFs in folders A and B to train on it as \
             a band"
        ));
    }
    let in_split = |split: &str| pairs.iter().filter(|pair| pair.split == split).count();
    let splits: Vec<String> = SPLITS
        .into_iter()
        .filter(|split| !split.is_empty() && in_split(split) > 0)
        .map(|split| format!("{} in {split}/", in_split(split)))
        .collect();
    let splits = if splits.is_empty() { String::new() } else { format!(": {}", splits.join(", ")) };
    tell(format_args!("Joined {} into {}{splits}", count(pairs.len(), "pair"), request.out.display()))?;
    Ok(())
}

/// Number of problems of a kind that are named; more are counted.
const NAMED: usize = 5;

struct PairOfFiles {
    split: &'static str,
    stem: OsString,
    a: PathBuf,
    b: PathBuf,
}

/// All pairs, by split and name. Files that are no pictures are named in a message.
fn find(request: &Request) -> Result<Vec<PairOfFiles>> {
    let dirs = [&request.a, &request.b];
    let mut skipped = Vec::new();
    let mut by_split: BTreeMap<usize, [Vec<Named>; 2]> = BTreeMap::new();
    for (side, dir) in dirs.into_iter().enumerate() {
        for (split, found) in splits(dir, &mut skipped)? {
            let order = SPLITS.iter().position(|known| *known == split).unwrap_or_default();
            by_split.entry(order).or_default()[side] = found.into_iter().map(Named::by_stem).collect();
        }
    }
    let (mut pairs, mut problems) = (Vec::new(), Vec::new());
    for (order, sides) in by_split {
        let split = SPLITS[order];
        let Joined { pairs: equal, alone, unclear } = join(sides);
        let Joined { pairs: folded, alone, unclear: unclear_when_folded } = join_folded(alone);
        problems.extend(unclear.into_iter().chain(unclear_when_folded));
        let mut found = Vec::new();
        for [a, b] in equal.into_iter().chain(folded) {
            if let Err(problem) = check_sizes(&a.file, &b.file, request.resize) {
                problems.push(format!("{problem:#}"));
            }
            found.push(PairOfFiles { split, stem: a.name, a: a.file, b: b.file });
        }
        found.sort_by(|one, other| one.stem.cmp(&other.stem));
        pairs.extend(found);
        for (alone, other) in alone.into_iter().zip([&request.b, &request.a]) {
            let other = if split.is_empty() { other.clone() } else { other.join(split) };
            problems.extend(
                alone.iter().map(|one| format!("{} has no partner in {}", one.file.display(), other.display())),
            );
        }
    }
    let summary = format!("{} before these folders can be joined", count(problems.len(), "problem"));
    refuse_naming(NAMED, problems, summary)?;
    say_left_out(&skipped);
    Ok(pairs)
}

fn check_sizes(a: &Path, b: &Path, is_resized: bool) -> Result<()> {
    let (size_a, size_b) = (picture_size(a)?, picture_size(b)?);
    let sizes = || format!("{} is {} and {} is {}", a.display(), size_a.sides(), b.display(), size_b.sides());
    ensure!(
        size_a.has_aspect_ratio_of(size_b),
        "{}, more than 1 % apart in shape: they would not lie on each other; crop them to one shape",
        sizes()
    );
    ensure!(is_resized || size_a == size_b, "{} (--resize fits B to A)", sizes());
    Ok(())
}

/// `a` beside `b`, in a picture that can hold the colours, the depth and the transparency of both. `b` is resized if
/// the sizes differ.
fn beside_each_other((a, depth_a): (Picture, Depth), (b, depth_b): (Picture, Depth)) -> DynamicImage {
    let any = |has: fn(usize) -> bool| has(a.channels) || has(b.channels);
    let channels = match (any(|channels| channels > 2), any(|channels| channels % 2 == 0)) {
        (false, false) => 1,
        (false, true) => 2,
        (true, false) => 3,
        (true, true) => 4,
    };
    let b = b.with_channels(channels).resize(a.size, ResizeFilter::Bicubic);
    let joined = beside(&a.with_channels(channels), &b);
    match [depth_a, depth_b].contains(&Depth::Sixteen) {
        true => joined.to_image16(),
        false => joined.to_image8(),
    }
}

#[cfg(test)]
mod tests {
    use image::{ColorType, GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage};

    use super::*;

    fn join(a: &DynamicImage, b: &DynamicImage) -> DynamicImage {
        let picture = |image: &DynamicImage| {
            (Picture::from_image(image.clone()).expect("8 or 16 bits"), Depth::from_image(image))
        };
        beside_each_other(picture(a), picture(b))
    }

    #[test]
    fn a_pair_holds_what_either_picture_holds() {
        let gray = DynamicImage::from(GrayImage::from_pixel(2, 3, Luma([77])));
        let alpha = DynamicImage::from(GrayAlphaImage::from_pixel(2, 3, LumaA([10, 20])));
        let colour = DynamicImage::from(RgbImage::from_pixel(2, 3, Rgb([1, 2, 3])));
        let deep = DynamicImage::from(ImageBuffer::from_pixel(2, 3, Luma([0x1234_u16])));
        for (a, b, color) in [
            (&gray, &gray, ColorType::L8),
            (&gray, &alpha, ColorType::La8),
            (&colour, &gray, ColorType::Rgb8),
            (&alpha, &colour, ColorType::Rgba8),
            (&deep, &gray, ColorType::L16),
            (&colour, &deep, ColorType::Rgb16),
        ] {
            let joined = join(a, b);
            assert_eq!((joined.color(), joined.width(), joined.height()), (color, 4, 3));
        }
        let joined = join(&deep, &colour).into_rgb16();
        assert_eq!(joined.get_pixel(1, 2).0, [0x1234; 3]);
        assert_eq!(joined.get_pixel(2, 0).0, [0x0101, 0x0202, 0x0303]);
        let joined = join(&gray, &alpha).into_luma_alpha8();
        assert_eq!((joined.get_pixel(0, 0).0, joined.get_pixel(3, 0).0), ([77, 255], [10, 20]));
    }

    #[test]
    fn b_takes_the_size_of_a() {
        let a = DynamicImage::from(GrayImage::from_pixel(4, 4, Luma([9])));
        let b = DynamicImage::from(GrayImage::from_pixel(9, 2, Luma([200])));
        let joined = join(&a, &b).into_luma8();
        assert_eq!(joined.dimensions(), (8, 4));
        assert!(joined.enumerate_pixels().all(|(x, _, pixel)| pixel.0 == [if x < 4 { 9 } else { 200 }]));
    }
}
