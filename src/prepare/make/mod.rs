//! `pixtape data make`: pairs of a photograph and a picture derived from it.

mod canny;
mod degrade;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use rayon::prelude::*;

use super::{MOST_NAMED, beside, count, first, for_all, new_folder, refuse, say_left_out, splits};
use crate::base::progress::{say, tell};
use crate::data::{Picture, ResizeFilter, Size, picture_size, read_picture, turn, write_png};
use degrade::Degrade;

/// The kind of picture that `data make` derives from a photograph, as the input of a pair whose target is the
/// photograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The photo without its colours: learns to colour it.
    Colorize,
    /// The edges in the photo, black on white (Canny): learns to fill a drawing.
    Edges,
    /// The photo reduced by --factor and enlarged again (bicubic): learns to sharpen it.
    Upscale,
    /// The photo with one to three grey rectangles over it: learns to fill holes.
    Inpaint,
}

/// A request to `data make`; each field is the flag or argument of its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    pub photos: PathBuf,
    pub out: PathBuf,
    pub size: Size,
    pub factor: Option<u32>,
    pub seed: u64,
}

/// Derives a picture from every photograph in `request.photos` and writes both side by side, the photograph on the
/// right, as a PNG in the new folder `request.out`. Photographs smaller than `request.size` are left out.
///
/// # Errors
/// When no photograph is large enough, files cannot be read or have the same name (all are named), or the folder
/// `request.out` exists already. Nothing is written then.
pub fn run(request: &Request) -> Result<()> {
    super::ensure_free(&request.out)?;
    let degrade = Degrade::new(request)?;
    let photos = find(request)?;
    let total = photos.len();
    let (photos, small): (Vec<_>, Vec<_>) = photos.into_iter().partition(|photo| !photo.is_small);
    if !small.is_empty() {
        let names = first(small.iter().map(|photo| photo.path.display().to_string()), MOST_NAMED);
        let of = format!("{} of {}", small.len(), count(total, "photograph"));
        say(&format!("{of} are smaller than --size {} and left out: {}", request.size, names.join(", ")));
    }
    new_folder(&request.out, |out| {
        for photo in &photos {
            let dir = out.join(photo.split);
            fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        }
        for_all(&photos, "photographs", |photo| {
            let _turn = turn(&[&photo.path])?;
            let (picture, ..) = read_picture(&photo.path)?;
            let whole = fit(picture.with_channels(3), request.size);
            let mut name = photo.stem.clone();
            let degraded = degrade.degrade(&whole, &name);
            name.push(".png");
            write_png(&out.join(photo.split).join(name), &beside(&degraded, &whole).to_image8())
        })
    })?;
    let (pairs, out) = (count(photos.len(), "pair"), request.out.display());
    tell(format_args!("Made {pairs} of {} in {out}: {}", request.size, degrade.describe()))?;
    Ok(())
}

struct Photo {
    path: PathBuf,
    split: &'static str,
    stem: OsString,
    is_small: bool,
}

/// All photographs, each with a name of its own. Files that are no pictures are named in a message.
fn find(request: &Request) -> Result<Vec<Photo>> {
    let mut by_name: BTreeMap<(&str, OsString), Vec<PathBuf>> = BTreeMap::new();
    let mut skipped = Vec::new();
    for (split, files) in splits(&request.photos, &mut skipped)? {
        for file in files {
            by_name.entry((split, file.file_stem().unwrap_or_default().to_owned())).or_default().push(file);
        }
    }
    let is_small = |path: &Path| -> Result<bool> {
        let Size { width, height } = picture_size(path)?;
        Ok(width < request.size.width || height < request.size.height)
    };
    let photo = |((split, stem), mut files): ((&'static str, OsString), Vec<PathBuf>)| {
        if files.len() > 1 {
            let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            return Err(format!("{} have one name", names.join(" and ")));
        }
        let path = files.remove(0);
        let is_small = is_small(&path).map_err(|error| format!("{error:#}"))?;
        Ok(Photo { path, split, stem, is_small })
    };
    let all: Vec<Result<Photo, String>> = by_name.into_iter().collect::<Vec<_>>().into_par_iter().map(photo).collect();
    let (mut photos, mut problems) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Ok(photo) => photos.push(photo),
            Err(problem) => problems.push(problem),
        }
    }
    let summary = format!("{} before pairs can be made", count(problems.len(), "problem"));
    refuse(problems, summary)?;
    ensure!(
        photos.iter().any(|photo| !photo.is_small),
        "all of {} are smaller than --size {}",
        count(photos.len(), "photograph"),
        request.size
    );
    say_left_out(&skipped);
    Ok(photos)
}

/// Crops the middle of `photo` in the proportions of `size`, and resizes it to `size`.
fn fit(photo: Picture, size: Size) -> Picture {
    let Size { width, height } = photo.size;
    // The largest rectangle of the shape that the photo holds.
    let shape = match width * size.height > height * size.width {
        true => Size { width: (height * size.width / size.height).max(1), height },
        false => Size { width, height: (width * size.height / size.width).max(1) },
    };
    let cut = photo.crop((width - shape.width) / 2, (height - shape.height) / 2, shape);
    cut.resize(size, ResizeFilter::Bicubic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_is_cut_around_its_middle_and_never_stretched() {
        // A square stays one: it stands in the middle, as wide as high.
        let is_inside = |x: usize, y: usize| x.abs_diff(45) < 10 && y.abs_diff(20) < 10;
        let values: Vec<u8> = (0..90 * 40).map(|i| if is_inside(i % 90, i / 90) { 200 } else { 0 }).collect();
        let photo = Picture::from_bytes(Size { width: 90, height: 40 }, 1, &values);
        for size in [Size::square(20), Size { width: 32, height: 16 }, Size { width: 10, height: 20 }] {
            let cut = fit(photo.clone(), size);
            assert_eq!(cut.size, size);
            let bright: Vec<usize> = (0..size.pixels()).filter(|&i| cut.samples[i] > u16::MAX / 2).collect();
            let extent = |part: &dyn Fn(usize) -> usize| {
                let parts = || bright.iter().map(|&i| part(i));
                parts().max().zip(parts().min()).map_or(0, |(most, least)| most - least + 1)
            };
            let (w, h) = (extent(&|i| i % size.width), extent(&|i| i / size.width));
            assert!(w.abs_diff(h) <= 1 && w >= 5, "{size}: {w}x{h}");
        }
    }
}
