//! `pixtape data pair`: two folders of pictures become one of side-by-side pairs.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use image::{ColorType, DynamicImage};

use super::{beside, count, for_all, new_folder, parts, read_upright, refuse, upright_size};
use crate::{
    cli::PairArgs,
    data::{Picture, ResizeFilter, layout::PARTS, write_png},
};

/// Joins `args.a` and `args.b` into `args.out`.
///
/// # Errors
/// Naming every picture without a partner, every pair of two sizes and every picture that cannot be read; nothing is written
/// then.
pub fn run(args: &PairArgs) -> Result<()> {
    super::ensure_free(&args.out)?;
    let pairs = find(args)?;
    new_folder(&args.out, |out| {
        for part in PARTS.into_iter().filter(|part| pairs.iter().any(|pair| pair.part == *part)) {
            let dir = out.join(part);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        }
        for_all(&pairs, "pairs", |pair| {
            let joined = join(read_upright(&pair.a)?, read_upright(&pair.b)?);
            let joined = joined.with_context(|| format!("{} beside {}", pair.a.display(), pair.b.display()))?;
            let mut name = pair.stem.clone();
            name.push(".png");
            write_png(&out.join(pair.part).join(name), &joined)
        })
    })?;
    let of_part = |part: &str| pairs.iter().filter(|pair| pair.part == part).count();
    let parts: Vec<String> = PARTS
        .into_iter()
        .filter(|part| !part.is_empty() && of_part(part) > 0)
        .map(|part| format!("{} in {part}/", of_part(part)))
        .collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    writeln!(stdout(), "Joined {} into {}{parts}", count(pairs.len(), "pair"), args.out.display())?;
    Ok(())
}

struct PairOfFiles {
    part: &'static str,
    stem: OsString,
    a: PathBuf,
    b: PathBuf,
}

/// All pairs, by part and name.
fn find(args: &PairArgs) -> Result<Vec<PairOfFiles>> {
    let mut files: BTreeMap<(usize, OsString), [Vec<PathBuf>; 2]> = BTreeMap::new();
    for (side, dir) in [&args.a, &args.b].into_iter().enumerate() {
        for (part, found) in parts(dir)? {
            let order = PARTS.iter().position(|known| *known == part).unwrap_or_default();
            for file in found {
                let stem = file.file_stem().unwrap_or_default().to_owned();
                files.entry((order, stem)).or_default()[side].push(file);
            }
        }
    }
    let (mut pairs, mut problems) = (Vec::new(), Vec::new());
    for ((order, stem), sides) in files {
        let part = PARTS[order];
        match sides {
            [a, b] if a.len() == 1 && b.len() == 1 => {
                let [a, b] = [a, b].map(|mut files| files.remove(0));
                if let Err(problem) = check_sizes(&a, &b, args.resize) {
                    problems.push(format!("{problem:#}"));
                }
                pairs.push(PairOfFiles { part, stem, a, b });
            }
            [a, b] => {
                for (files, other) in [(&a, (&b, &args.b)), (&b, (&a, &args.a))] {
                    match files.as_slice() {
                        [] => {}
                        [file] if other.0.is_empty() => {
                            let other = other.1.join(part);
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
    ensure!(
        is_resized || size_a == size_b,
        "{} is {} and {} is {} (--resize fits B to A)",
        a.display(),
        text(size_a),
        b.display(),
        text(size_b)
    );
    Ok(())
}

/// `a` beside `b`, resized if need be, in a picture that can hold the colours, the depth and the transparency of both.
///
/// # Errors
/// When one of them has samples that are neither 8 nor 16 bits.
fn join(a: DynamicImage, b: DynamicImage) -> Result<DynamicImage> {
    let any = |has: fn(ColorType) -> bool| has(a.color()) || has(b.color());
    let channels = match (any(|color| color.has_color()), any(|color| color.has_alpha())) {
        (false, false) => 1,
        (false, true) => 2,
        (true, false) => 3,
        (true, true) => 4,
    };
    let is_deep = any(|color| color.bytes_per_pixel() > color.channel_count());
    let [a, b] = [a, b].map(|image| Picture::from_image(image).map(|picture| picture.with_channels(channels)));
    let (a, b) = (a?, b?);
    let joined = beside(&a, &b.resize(a.size, ResizeFilter::Bicubic));
    Ok(if is_deep { joined.to_image16() } else { joined.to_image8() })
}

#[cfg(test)]
mod tests {
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage};

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
            let joined = join(a.clone(), b.clone()).expect("pictures of 8 and 16 bits");
            assert_eq!((joined.color(), joined.width(), joined.height()), (color, 4, 3));
        }
        let join = |a: &DynamicImage, b: &DynamicImage| join(a.clone(), b.clone()).expect("pictures of 8 and 16 bits");
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
        let joined = join(a, b).expect("pictures of 8 bits").into_luma8();
        assert_eq!(joined.dimensions(), (8, 4));
        assert!(joined.enumerate_pixels().all(|(x, _, pixel)| pixel.0 == [if x < 4 { 9 } else { 200 }]));
    }
}
