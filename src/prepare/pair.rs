//! `pixtape data pair`: two folders of pictures become one of side-by-side pairs.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use image::{
    ColorType, DynamicImage, GenericImage, ImageBuffer, ImageFormat, Pixel, Primitive,
    imageops::{FilterType, resize},
};

use super::{PLACES, count, for_all, new_folder, places, read_upright, refuse, upright_size};
use crate::cli::PairArgs;

/// Joins `args.a` and `args.b` into `args.out`.
///
/// # Errors
/// Naming every picture without a partner, every pair of two sizes and every picture that cannot be read; nothing is written
/// then.
pub fn run(args: &PairArgs) -> Result<()> {
    super::ensure_free(&args.out)?;
    let pairs = find(args)?;
    new_folder(&args.out, |out| {
        for place in PLACES.into_iter().filter(|place| pairs.iter().any(|pair| pair.place == *place)) {
            let dir = out.join(place);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        }
        for_all(&pairs, "pairs", |pair| {
            let joined = beside(&read_upright(&pair.a)?, &read_upright(&pair.b)?);
            let mut name = pair.stem.clone();
            name.push(".png");
            let path = out.join(pair.place).join(name);
            joined.save_with_format(&path, ImageFormat::Png).with_context(|| format!("cannot write {}", path.display()))
        })
    })?;
    let of_place = |place: &str| pairs.iter().filter(|pair| pair.place == place).count();
    let parts: Vec<String> = PLACES
        .into_iter()
        .filter(|place| !place.is_empty() && of_place(place) > 0)
        .map(|place| format!("{} in {place}/", of_place(place)))
        .collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    writeln!(stdout(), "Joined {} into {}{parts}", count(pairs.len(), "pair"), args.out.display())?;
    Ok(())
}

struct PairOfFiles {
    place: &'static str,
    stem: OsString,
    a: PathBuf,
    b: PathBuf,
}

/// All pairs, by place and name.
fn find(args: &PairArgs) -> Result<Vec<PairOfFiles>> {
    let mut files: BTreeMap<(usize, OsString), [Vec<PathBuf>; 2]> = BTreeMap::new();
    for (side, dir) in [&args.a, &args.b].into_iter().enumerate() {
        for (place, found) in places(dir)? {
            let order = PLACES.iter().position(|known| *known == place).unwrap_or_default();
            for file in found {
                let stem = file.file_stem().unwrap_or_default().to_owned();
                files.entry((order, stem)).or_default()[side].push(file);
            }
        }
    }
    let (mut pairs, mut problems) = (Vec::new(), Vec::new());
    for ((order, stem), sides) in files {
        let place = PLACES[order];
        match sides {
            [a, b] if a.len() == 1 && b.len() == 1 => {
                let [a, b] = [a, b].map(|mut files| files.remove(0));
                if let Err(problem) = check_sizes(&a, &b, args.resize) {
                    problems.push(format!("{problem:#}"));
                }
                pairs.push(PairOfFiles { place, stem, a, b });
            }
            [a, b] => {
                for (files, other) in [(&a, (&b, &args.b)), (&b, (&a, &args.a))] {
                    match files.as_slice() {
                        [] => {}
                        [file] if other.0.is_empty() => {
                            let other = other.1.join(place);
                            problems.push(format!("{} has no partner in {}", file.display(), other.display()));
                        }
                        [_] => {}
                        files => {
                            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
                            problems.push(format!("{} have one name", names.join(" and ")));
                        }
                    }
                }
            }
        }
    }
    refuse(&problems, &format!("{} before these folders can be joined", count(problems.len(), "problem")))?;
    Ok(pairs)
}

fn check_sizes(a: &Path, b: &Path, is_resized: bool) -> Result<()> {
    let (size_a, size_b) = (upright_size(a)?, upright_size(b)?);
    let text = |(width, height): (u32, u32)| format!("{width}x{height}");
    anyhow::ensure!(
        is_resized || size_a == size_b,
        "{} is {} and {} is {} (--resize fits B to A)",
        a.display(),
        text(size_a),
        b.display(),
        text(size_b)
    );
    Ok(())
}

/// `a` in the left half and `b`, resized if need be, in the right half of a picture that can hold the colours, the depth and the
/// transparency of both.
fn beside(a: &DynamicImage, b: &DynamicImage) -> DynamicImage {
    let any = |has: fn(ColorType) -> bool| has(a.color()) || has(b.color());
    // A float has more than 8 bits.
    let is_deep = any(|color| color.bytes_per_pixel() > color.channel_count());
    match (any(|color| color.has_color()), any(|color| color.has_alpha()), is_deep) {
        (false, false, false) => join(a.to_luma8(), b.to_luma8()).into(),
        (false, true, false) => join(a.to_luma_alpha8(), b.to_luma_alpha8()).into(),
        (true, false, false) => join(a.to_rgb8(), b.to_rgb8()).into(),
        (true, true, false) => join(a.to_rgba8(), b.to_rgba8()).into(),
        (false, false, true) => join(a.to_luma16(), b.to_luma16()).into(),
        (false, true, true) => join(a.to_luma_alpha16(), b.to_luma_alpha16()).into(),
        (true, false, true) => join(a.to_rgb16(), b.to_rgb16()).into(),
        (true, true, true) => join(a.to_rgba16(), b.to_rgba16()).into(),
    }
}

type Buffer<P> = ImageBuffer<P, Vec<<P as Pixel>::Subpixel>>;

fn join<P: Pixel<Subpixel: Primitive> + 'static>(a: Buffer<P>, b: Buffer<P>) -> Buffer<P> {
    let (width, height) = a.dimensions();
    let b = if b.dimensions() == (width, height) { b } else { resize(&b, width, height, FilterType::CatmullRom) };
    let mut joined = Buffer::<P>::new(2 * width, height);
    for (left, half) in [(0, &a), (width, &b)] {
        joined.copy_from(half, left, 0).expect("both halves lie inside");
    }
    joined
}

#[cfg(test)]
mod tests {
    use image::{GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, RgbImage};

    use super::*;

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
            let joined = beside(a, b);
            assert_eq!((joined.color(), joined.width(), joined.height()), (color, 4, 3));
        }
        let joined = beside(&deep, &colour).into_rgb16();
        assert_eq!(joined.get_pixel(1, 2).0, [0x1234; 3]);
        assert_eq!(joined.get_pixel(2, 0).0, [0x0101, 0x0202, 0x0303]);
        let joined = beside(&gray, &alpha).into_luma_alpha8();
        assert_eq!((joined.get_pixel(0, 0).0, joined.get_pixel(3, 0).0), ([77, 255], [10, 20]));
    }

    #[test]
    fn b_takes_the_size_of_a() {
        let a = DynamicImage::from(GrayImage::from_pixel(4, 4, Luma([9])));
        let b = DynamicImage::from(GrayImage::from_pixel(9, 2, Luma([200])));
        let joined = beside(&a, &b).into_luma8();
        assert_eq!(joined.dimensions(), (8, 4));
        assert!(joined.enumerate_pixels().all(|(x, _, pixel)| pixel.0 == [if x < 4 { 9 } else { 200 }]));
    }
}
