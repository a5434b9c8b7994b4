//! Sample grids: a row for each pair, with input, output and target beside each other.

use std::path::Path;

use anyhow::Result;
use image::imageops::{FilterType, replace, resize};
use image::{Rgb, RgbImage};

use crate::data::{Pair, Picture, write_png};

/// Pairs in a grid.
pub const ROWS: usize = 4;

/// Pixels between two pictures.
const GAP: u32 = 4;

/// Smaller pictures are enlarged by whole numbers until they are at least this high, to be looked at.
const LEAST_SIDE: u32 = 128;

/// Writes the grid of `pairs` and what the generator made of them.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, pairs: &[Pair], outputs: &[Picture]) -> Result<()> {
    let rows: Vec<[RgbImage; 3]> = pairs
        .iter()
        .zip(outputs)
        .map(|(pair, output)| [&pair.input, output, &pair.target].map(Picture::to_rgb8))
        .collect();
    write_png(path, &grid(&rows).into())
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
