//! `pixtape data make`: photographs become pairs of something derived from them and themselves.

mod canny;
mod degrade;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use image::{GenericImage, RgbImage, imageops::crop_imm};
use rayon::prelude::*;

use super::{count, for_all, new_folder, places, progress::say, read_upright, refuse, upright_size};
use crate::{
    cli::MakeArgs,
    data::{Size, resize, write_png},
};
use degrade::Degrade;

/// Makes a pair of every photograph in `args.photos`.
///
/// # Errors
/// When no photograph is large enough, or naming every file that is none; nothing is written then.
pub fn run(args: &MakeArgs) -> Result<()> {
    super::ensure_free(&args.out)?;
    let degrade = Degrade::new(args)?;
    let photos = find(args)?;
    let total = photos.len();
    let (photos, small): (Vec<_>, Vec<_>) = photos.into_iter().partition(|photo| !photo.is_small);
    if !small.is_empty() {
        let names: Vec<String> = small.iter().map(|photo| photo.path.display().to_string()).collect();
        let of = format!("{} of {}", small.len(), count(total, "photograph"));
        ensure!(!photos.is_empty(), "all of {} are smaller than --size {}", count(total, "photograph"), args.size);
        say(&format!("{of} are smaller than --size {} and left out: {}", args.size, names.join(", ")));
    }
    new_folder(&args.out, |out| {
        for photo in &photos {
            let dir = out.join(photo.place);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        }
        for_all(&photos, "photographs", |photo| {
            let whole = fit(&read_upright(&photo.path)?.into_rgb8(), args.size);
            let mut name = photo.stem.clone();
            let degraded = degrade.degrade(&whole, &name);
            name.push(".png");
            write_png(&out.join(photo.place).join(name), &beside(&degraded, &whole))
        })
    })?;
    let (pairs, out) = (count(photos.len(), "pair"), args.out.display());
    writeln!(stdout(), "Made {pairs} of {} in {out}: {}", args.size, degrade.describe())?;
    Ok(())
}

struct Photo {
    path: PathBuf,
    place: &'static str,
    stem: OsString,
    is_small: bool,
}

/// All photographs, each with a name of its own.
fn find(args: &MakeArgs) -> Result<Vec<Photo>> {
    let mut by_name: BTreeMap<(&str, OsString), Vec<PathBuf>> = BTreeMap::new();
    for (place, files) in places(&args.photos)? {
        for file in files {
            by_name.entry((place, file.file_stem().unwrap_or_default().to_owned())).or_default().push(file);
        }
    }
    let is_small = |path: &Path| -> Result<bool> {
        let (width, height) = upright_size(path)?;
        Ok((width as usize) < args.size.width || (height as usize) < args.size.height)
    };
    let photo = |((place, stem), mut files): ((&'static str, OsString), Vec<PathBuf>)| {
        if files.len() > 1 {
            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            return Err(format!("{} have one name", names.join(" and ")));
        }
        let path = files.remove(0);
        let is_small = is_small(&path).map_err(|error| format!("{error:#}"))?;
        Ok(Photo { path, place, stem, is_small })
    };
    let all: Vec<Result<Photo, String>> = by_name.into_iter().collect::<Vec<_>>().into_par_iter().map(photo).collect();
    let (mut photos, mut problems) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Ok(photo) => photos.push(photo),
            Err(problem) => problems.push(problem),
        }
    }
    refuse(&problems, &format!("{} before pairs can be made", count(problems.len(), "problem")))?;
    Ok(photos)
}

/// The middle of `photo` in the shape of `size`, at that size.
fn fit(photo: &RgbImage, size: Size) -> RgbImage {
    let (width, height) = (u64::from(photo.width()), u64::from(photo.height()));
    let (shape_w, shape_h) = (size.width as u64, size.height as u64);
    // The largest rectangle of the shape that the photo holds.
    let (w, h) = match width * shape_h > height * shape_w {
        true => ((height * shape_w / shape_h).max(1), height),
        false => (width, (width * shape_h / shape_w).max(1)),
    };
    let (left, top) = ((width - w) / 2, (height - h) / 2);
    let cut = crop_imm(photo, left as u32, top as u32, w as u32, h as u32).to_image();
    if Size::of(&cut) == size { cut } else { resize(&cut, size) }
}

fn beside(a: &RgbImage, b: &RgbImage) -> RgbImage {
    let mut pair = RgbImage::new(2 * a.width(), a.height());
    for (left, half) in [(0, a), (a.width(), b)] {
        pair.copy_from(half, left, 0).expect("both halves lie inside");
    }
    pair
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_photo_is_cut_around_its_middle_and_never_stretched() {
        // A circle stays one: red stands in the middle, as wide as high.
        let photo = RgbImage::from_fn(90, 40, |x, y| {
            let is_inside = x.abs_diff(45) < 10 && y.abs_diff(20) < 10;
            Rgb(if is_inside { [200, 0, 0] } else { [0, 0, 90] })
        });
        for size in [Size::square(20), Size { width: 32, height: 16 }, Size { width: 10, height: 20 }] {
            let cut = fit(&photo, size);
            assert_eq!(Size::of(&cut), size);
            let red = |(_, _, pixel): &(u32, u32, &Rgb<u8>)| pixel.0[0] > 100;
            let places: Vec<(u32, u32)> = cut.enumerate_pixels().filter(red).map(|(x, y, _)| (x, y)).collect();
            let extent = |values: &mut dyn Iterator<Item = u32>| {
                let values: Vec<u32> = values.collect();
                values.iter().max().unwrap_or(&0) - values.iter().min().unwrap_or(&0)
            };
            let (w, h) = (extent(&mut places.iter().map(|p| p.0)), extent(&mut places.iter().map(|p| p.1)));
            assert!(w.abs_diff(h) <= 1 && w >= 4, "{size}: {w}x{h}");
        }
    }
}
