//! Halves of an unlikely shape: single pictures that would be cut into a left and a right half that are no pair.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;

use crate::base::words::{count, refuse};
use crate::data::decoding::picture_size;
use crate::data::feeding::{Fit, Preprocess};
use crate::data::finding::layout::{Source, below};
use crate::data::size::Size;

/// Least width of a half, as a fraction of the width that the shape of the image size has at its height. Halves of
/// square files have 0.5, upright photographs of a telephone 9/16 of that width.
const NARROWEST: f64 = 0.55;

/// Returns the proportions that the pictures of a pair are expected to have, as a size: those of the image size, or a
/// square where a wide image is cropped out of them.
pub fn expected_shape(fit: &Fit) -> Size {
    let image = fit.image_size;
    match fit.preprocess {
        Preprocess::Crop | Preprocess::ScaleWidthAndCrop if image.width > image.height => Size::square(image.height),
        _ => image,
    }
}

/// Advice at the end of a message that files taken as side-by-side pairs may be single pictures.
pub const OTHER_LAYOUTS: &str = "Pairs of such pictures lie in two folders, A/ and B/, under equal names, or in one as \
                                 x_A and x_B; `pixtape data pair --a FOLDER --b FOLDER --out pairs` joins two folders; \
                                 pictures without a partner are for `pixtape translate`";

/// The end of an error message about side-by-side files that look like single pictures, for commands that have the
/// option `--image-size`: it tells how to have them accepted as pairs.
pub const ASK_FOR_THE_SHAPE: &str = "; where they are pairs all the same, give an --image-size of the shape of a half";

/// Refuses side-by-side files of `dir` whose halves, at their height, have less than 0.55 of the width that `shape`
/// has: they are more likely single pictures. Only the header of each file is read; a file whose header is damaged is
/// passed over, since decoding reports it. `else_do` is added to the advice in the error.
///
/// # Errors
/// When there are such files. The error has a line for each size that they have, with the name of one of them.
pub fn check<'a>(dir: &Path, sources: impl IntoIterator<Item = &'a Source>, shape: Size, else_do: &str) -> Result<()> {
    let files: Vec<&PathBuf> = sources
        .into_iter()
        .filter_map(|source| match source {
            Source::Halves(file) => Some(file),
            Source::Files(_) => None,
        })
        .collect();
    let sizes: Vec<Option<Size>> = files.par_iter().map(|file| picture_size(file).ok()).collect();
    let mut narrow: BTreeMap<(usize, usize), Vec<&PathBuf>> = BTreeMap::new();
    for (file, size) in files.iter().zip(sizes) {
        if let Some(size) = size.filter(|size| is_narrow(*size, shape)) {
            narrow.entry((size.width, size.height)).or_default().push(file);
        }
    }
    let found: usize = narrow.values().map(Vec::len).sum();
    let line = |((width, height), of_size): (&(usize, usize), &Vec<&PathBuf>)| {
        let others = of_size.len() - 1;
        let others = if others == 0 { String::new() } else { format!(" and {others} more") };
        let file = below(dir, of_size[0]);
        format!("each file of {width}x{height} would be cut into two of {}x{height}: {file}{others}", width / 2)
    };
    let summary = format!(
        "{found} of {} in {} {} not look like pairs side by side. {OTHER_LAYOUTS}{else_do}",
        count(files.len(), "file"),
        dir.display(),
        if found == 1 { "does" } else { "do" }
    );
    refuse(narrow.iter().map(line).collect(), summary)
}

fn is_narrow(file: Size, shape: Size) -> bool {
    // A file that cannot be cut in two is refused as such.
    let half = (file.width / 2) as f64 / file.height as f64;
    file.width.is_multiple_of(2) && half < NARROWEST * (shape.width as f64 / shape.height as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fixture::{folder, side_by_side};

    #[test]
    fn halves_have_about_the_shape_of_the_images() {
        let is_narrow =
            |file: &str, shape: &str| super::is_narrow(file.parse().expect(file), shape.parse().expect(shape));
        for file in ["64", "256", "256x512", "70x64"] {
            assert!(is_narrow(file, "256"), "{file}");
        }
        // Squares, telephones, sheets of paper, and all that is wide.
        for file in ["512x256", "1080x960", "210x148", "1024x256", "600x256"] {
            assert!(!is_narrow(file, "256"), "{file}");
        }
        // The shape asked for counts.
        assert!(!is_narrow("256", "128x256"));
        assert!(is_narrow("512x256", "512x256") && !is_narrow("1024x256", "512x256"));
        let crop = Fit { preprocess: Preprocess::Crop, ..Fit::resize(Size { width: 512, height: 256 }) };
        assert_eq!(expected_shape(&crop), Size::square(256));
    }

    #[test]
    fn each_size_is_a_line() {
        let dir = folder(&["good.png"]);
        for (name, width) in [("a.png", 8), ("b.png", 8), ("c.png", 6)] {
            side_by_side(width, 8).save(dir.path().join(name)).expect("a picture for the test");
        }
        std::fs::write(dir.path().join("broken.png"), "no picture").expect("a file for the test");
        let found = crate::data::finding::layout::find(dir.path()).expect("files");
        let error = check(dir.path(), found.split(""), Size::square(8), ".").expect_err("three are narrow").to_string();
        for words in [
            "3 of 5 files in ",
            "each file of 8x8 would be cut into two of 4x8: a.png and 1 more",
            "each file of 6x8 would be cut into two of 3x8: c.png",
        ] {
            assert!(error.contains(words), "{error}");
        }
    }
}
