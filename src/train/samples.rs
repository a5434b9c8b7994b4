//! Sample grids: a row for each pair, with input, output and target beside each other.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, replace, resize, thumbnail};
use image::{Rgb, RgbImage};

use crate::data::{Pair, Picture, write_png};

/// Largest number of pairs in a sample grid, which has a row for each.
pub const ROWS: usize = 4;

/// Pixels between two pictures.
const GAP: u32 = 4;

/// Least height of a picture in a grid: smaller ones are enlarged by whole numbers.
const LEAST_SIDE: u32 = 128;

/// Largest width of a grid in the report and in TensorBoard; wider ones are shrunk.
const MOST_WIDTH: u32 = 800;

/// Quality of the JPEGs, in percent: high enough that visible artefacts are the generator's.
const JPEG_QUALITY: u8 = 88;

/// Returns the path of the sample grid drawn after `step` steps: `RUN/samples/step-00000400.png`.
pub fn path(run: &Path, step: u64) -> PathBuf {
    run.join("samples").join(format!("step-{step:08}.png"))
}

/// Returns the step in the file name of a sample grid, `step-N.png`; `None` for any other name.
pub fn step_of(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_prefix("step-")?.strip_suffix(".png")?.parse().ok()
}

/// Writes a sample grid as a PNG.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, grid: &RgbImage) -> Result<()> {
    write_png(path, &grid.clone().into())
}

/// Encodes a sample grid as a JPEG, shrunk to 800 pixels in width if it is wider. Returns the bytes of the JPEG, and
/// its width and height in pixels.
///
/// # Errors
/// When it is too large for a JPEG.
pub fn jpeg(grid: &RgbImage) -> Result<(Vec<u8>, [u32; 2])> {
    let (width, height) = grid.dimensions();
    let small = (width > MOST_WIDTH).then(|| {
        let height = (u64::from(height) * u64::from(MOST_WIDTH)).div_ceil(u64::from(width));
        thumbnail(grid, MOST_WIDTH, height as u32)
    });
    let grid = small.as_ref().unwrap_or(grid);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(grid).context("samples as a JPEG")?;
    Ok((bytes, [grid.width(), grid.height()]))
}

/// Draws a sample grid: a row for each of `pairs`, with the input, the generator's output for it (the element of
/// `outputs` at the same index) and the target from left to right. All pictures have one size; if a side is under 128
/// pixels, they are enlarged by a whole number.
///
/// # Panics
/// If there are no pairs.
pub fn rows(pairs: &[Pair], outputs: &[Picture]) -> RgbImage {
    let rows: Vec<[RgbImage; 3]> = pairs
        .iter()
        .zip(outputs)
        .map(|(pair, output)| {
            // The output has the kinds of channels that the target has.
            let output = Picture { has_extra_band: pair.target.has_extra_band, ..output.clone() };
            [&pair.input, &output, &pair.target].map(Picture::to_rgb8)
        })
        .collect();
    grid(&rows)
}

fn grid(rows: &[[RgbImage; 3]]) -> RgbImage {
    let (width, height) = rows.first().map_or((1, 1), |row| row[0].dimensions());
    let scale = LEAST_SIDE.div_ceil(width.min(height)).max(1);
    let (width, height) = (width * scale, height * scale);
    let count = rows.len() as u32;
    let mut grid = RgbImage::from_pixel(3 * width + 2 * GAP, count * (height + GAP) - GAP, Rgb([255; 3]));
    for (y, row) in rows.iter().enumerate() {
        for (x, picture) in row.iter().enumerate() {
            let picture = resize(picture, width, height, FilterType::Nearest);
            replace(&mut grid, &picture, x as i64 * i64::from(width + GAP), y as i64 * i64::from(height + GAP));
        }
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_are_enlarged_and_stand_in_order() {
        let picture = |value| RgbImage::from_pixel(64, 32, Rgb([value; 3]));
        let [a, b, c] = [picture(10), picture(20), picture(30)];
        let grid = grid(&[[a.clone(), b.clone(), c.clone()], [c, b, a]]);
        assert_eq!(grid.dimensions(), (3 * 256 + 8, 2 * 128 + 4));
        let at = |x, y| grid.get_pixel(x, y)[0];
        assert_eq!([at(0, 0), at(255, 127), at(257, 0), at(260, 0), at(520, 0), at(0, 132)], [10, 10, 255, 20, 30, 30]);
    }
}
