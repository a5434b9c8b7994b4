//! Overlapping tiles of a picture, and the weights that blend them.
//!
//! Along each side the tiles stand at equal distances, the first and the last one at the border. Where two neighbours
//! overlap, one fades into the other along a raised cosine, over as many pixels as the overlap that was asked for, in
//! the middle of the region that they share. The weight of a tile is its own fade-in less that of the next tile, so the
//! weights of a pixel add up to one by construction.

use std::f64::consts::PI;
use std::ops::Range;

use crate::data::{Picture, Size};

/// The division of one picture into overlapping tiles of one size, numbered row by row from the upper left. A tile that
/// is larger than the picture reaches beyond its right and lower border.
#[derive(Clone, Copy, Debug)]
pub struct Tiles {
    x: Axis,
    y: Axis,
}

impl Tiles {
    /// Divides a picture of size `picture` into tiles of size `tile`: the fewest, evenly spread, that overlap by at
    /// least `overlap` pixels, given as `[horizontal, vertical]`. Where the picture is smaller than a tile, there is
    /// one tile, which reaches beyond it. Each overlap has to be less than that side of the tile.
    pub fn new(picture: Size, tile: Size, overlap: [usize; 2]) -> Tiles {
        Tiles {
            x: Axis { length: picture.width, tile: tile.width, overlap: overlap[0] },
            y: Axis { length: picture.height, tile: tile.height, overlap: overlap[1] },
        }
    }

    /// Number of tiles.
    pub fn count(&self) -> usize {
        self.x.count() * self.y.count()
    }

    /// Number of tiles side by side.
    pub fn per_row(&self) -> usize {
        self.x.count()
    }

    /// Size of a tile.
    pub fn tile(&self) -> Size {
        Size { width: self.x.tile, height: self.y.tile }
    }

    /// Returns the rows of the picture that tile `index` covers, without those beyond its lower border.
    pub fn rows(&self, index: usize) -> Range<usize> {
        let [_, row] = self.column_and_row(index);
        self.y.start(row)..self.y.start(row) + self.y.inside()
    }

    /// Cuts tile `index` out of a picture, of which `picture` has the rows from `top` on. Where the tile reaches beyond
    /// the border of the whole picture, its last column and row are repeated.
    ///
    /// # Panics
    /// When `picture` lacks a row that the tile covers.
    pub fn cut(&self, picture: &Picture, top: usize, index: usize) -> Picture {
        let ([column, _], rows) = (self.column_and_row(index), self.rows(index));
        let part = Size { width: self.x.inside(), height: rows.len() };
        pad(&picture.crop(self.x.start(column), rows.start - top, part), self.tile())
    }

    /// Adds `tile`, the translated tile `index`, `[height, width, channels]`, times its weight at each pixel, to a
    /// result of which `picture` has the rows from `top` on, `[rows, width, channels]`. After all tiles of a pixel the
    /// sum is its blended value.
    pub fn blend(&self, index: usize, tile: &[f32], channels: usize, picture: &mut [f32], top: usize) {
        let [column, row] = self.column_and_row(index);
        let (horizontal, vertical) = (self.x.weights(column), self.y.weights(row));
        let to_left = self.x.start(column) * channels;
        let rows = picture.chunks_exact_mut(self.x.length * channels).skip(self.y.start(row) - top);
        for ((into, from), vertical) in rows.zip(tile.chunks_exact(self.x.tile * channels)).zip(vertical) {
            let pixels = into[to_left..].chunks_exact_mut(channels).zip(from.chunks_exact(channels));
            for ((into, from), horizontal) in pixels.zip(&horizontal) {
                let weight = vertical * horizontal;
                into.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }

    /// Column and row of a tile among the tiles.
    fn column_and_row(&self, index: usize) -> [usize; 2] {
        [index % self.x.count(), index / self.x.count()]
    }
}

/// One side of a picture, in pixels.
#[derive(Clone, Copy, Debug)]
struct Axis {
    length: usize,
    tile: usize,
    overlap: usize,
}

impl Axis {
    /// The smallest number of tiles whose overlap is at least `overlap`.
    fn count(&self) -> usize {
        if self.length <= self.tile { 1 } else { (self.length - self.overlap).div_ceil(self.tile - self.overlap) }
    }

    fn start(&self, tile: usize) -> usize {
        match self.count() {
            1 => 0,
            count => tile * (self.length - self.tile) / (count - 1),
        }
    }

    /// Pixels of a tile that lie inside the picture.
    fn inside(&self) -> usize {
        self.tile.min(self.length)
    }

    /// The fade-in of a tile at pixel `x`, from 0 to 1. That of the first tile is 1 everywhere, and none comes after
    /// the last.
    fn faded_in(&self, tile: usize, x: usize) -> f64 {
        if tile == 0 {
            return 1.0;
        }
        if tile == self.count() {
            return 0.0;
        }
        let middle = (self.start(tile) + self.start(tile - 1) + self.tile) as f64 / 2.0;
        let behind = x as f64 + 0.5 - middle;
        match self.overlap {
            0 => f64::from(behind > 0.0),
            overlap => {
                let share = (behind / overlap as f64 + 0.5).clamp(0.0, 1.0);
                (1.0 - (PI * share).cos()) / 2.0
            }
        }
    }

    /// The weights of a tile at its pixels inside the picture, along this side.
    fn weights(&self, tile: usize) -> Vec<f32> {
        let pixels = self.start(tile)..self.start(tile) + self.inside();
        pixels.map(|x| (self.faded_in(tile, x) - self.faded_in(tile + 1, x)) as f32).collect()
    }
}

/// `picture` with its last column and row repeated up to `size`.
fn pad(picture: &Picture, size: Size) -> Picture {
    let (have, channels) = (picture.size, picture.channels);
    let mut samples = Vec::with_capacity(size.pixels() * channels);
    for y in 0..size.height {
        let row = &picture.samples[y.min(have.height - 1) * have.width * channels..][..have.width * channels];
        samples.extend_from_slice(row);
        let last = &row[row.len() - channels..];
        (have.width..size.width).for_each(|_| samples.extend_from_slice(last));
    }
    Picture { size, samples, ..*picture }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sides, tiles and overlaps: what fits exactly and what does not, one tile and many, overlaps from none to almost
    /// all.
    fn axes() -> impl Iterator<Item = Axis> {
        let tiles = [(32, 0), (32, 1), (32, 8), (32, 16), (32, 31), (64, 16)];
        let lengths = (1..=140).chain([1000]);
        lengths.flat_map(move |length| tiles.map(|(tile, overlap)| Axis { length, tile, overlap }))
    }

    #[test]
    fn the_weights_of_every_pixel_add_up_to_one() {
        for axis in axes() {
            let mut sums = vec![0.0_f64; axis.length];
            for tile in 0..axis.count() {
                for (sum, weight) in sums[axis.start(tile)..].iter_mut().zip(axis.weights(tile)) {
                    assert!((0.0..=1.0).contains(&weight), "{axis:?}: weight {weight} of tile {tile}");
                    *sum += f64::from(weight);
                }
            }
            // The sum has as many roundings to f32 as tiles lie on a pixel: at most 32 of 2^-25 each.
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() <= 1e-6), "{axis:?}: {sums:?}");
        }
    }

    #[test]
    fn tiles_reach_from_border_to_border_and_overlap_by_what_was_asked_for() {
        for axis in axes() {
            let count = axis.count();
            let end = axis.start(count - 1) + axis.inside();
            assert_eq!((axis.start(0), end), (0, axis.length), "{axis:?}");
            for tile in 1..count {
                let overlap = axis.start(tile - 1) + axis.tile - axis.start(tile);
                assert!((axis.overlap..axis.tile).contains(&overlap), "{axis:?}: {overlap} before tile {tile}");
            }
            let fewer = (count - 1) * (axis.tile - axis.overlap) + axis.overlap;
            assert!(count == 1 || fewer < axis.length, "{axis:?}: {count} tiles are more than needed");
        }
    }

    /// A tile counts in full at the border, and wherever no other one is near; a jump nowhere, as long as there is an
    /// overlap.
    #[test]
    fn the_window_is_smooth_and_whole_at_the_border() {
        for axis in axes().filter(|axis| axis.overlap <= axis.tile / 2) {
            let (first, last) = (axis.weights(0), axis.weights(axis.count() - 1));
            assert_eq!((first[0], last[last.len() - 1]), (1.0, 1.0), "{axis:?}");
            for tile in (0..axis.count()).filter(|_| axis.overlap > 0) {
                let weights = axis.weights(tile);
                // The steepest slope of a raised cosine over `overlap` pixels; a tile that fades in and out at once has
                // both slopes.
                let steepest = PI / axis.overlap as f64 + 1e-6;
                let jump = weights.windows(2).map(|pair| f64::from((pair[1] - pair[0]).abs())).fold(0.0, f64::max);
                assert!(jump <= steepest, "{axis:?}: a jump of {jump} in tile {tile}");
            }
        }
    }

    fn picture(size: Size, channels: usize) -> Picture {
        let samples = (0..size.pixels() * channels).map(|i| (i * 40_503 % 65_536) as u16).collect();
        Picture::new(size, channels, samples)
    }

    /// The output for `whole` of a generator that changes nothing.
    fn blended(whole: &Picture, tile: Size, overlap: [usize; 2]) -> Vec<f32> {
        let tiles = Tiles::new(whole.size, tile, overlap);
        let mut sums = vec![0.0; whole.samples.len()];
        for index in 0..tiles.count() {
            let cut = tiles.cut(whole, 0, index);
            assert_eq!(cut.size, tile);
            tiles.blend(index, &cut.to_f32(), whole.channels, &mut sums, 0);
        }
        sums
    }

    #[test]
    fn a_generator_that_changes_nothing_gives_the_picture_back() {
        let sizes = [(1, 1), (20, 90), (32, 16), (33, 17), (100, 70), (128, 64)];
        for (width, height) in sizes {
            let size = Size { width, height };
            for overlap in [[0, 0], [8, 4], [16, 15], [31, 1]] {
                let whole = picture(size, 3);
                let found = blended(&whole, Size { width: 32, height: 16 }, overlap);
                let far = found.iter().zip(whole.to_f32()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Roundings of the weights, their products and the sums, on up to 32 x 16 tiles.
                assert!(far <= 1e-5, "{size} with {overlap:?}: {far}");
                assert!(Picture::from_f32(size, 3, &found) == whole, "{size} with {overlap:?}");
            }
        }
    }

    /// The test holds only the rows under a row of tiles, and drops those that no further tile covers.
    #[test]
    fn a_window_of_rows_gives_the_same_bits() {
        for (width, height, overlap) in [(100, 70, [8, 4]), (33, 17, [16, 15]), (20, 90, [0, 0])] {
            let (size, tile) = (Size { width, height }, Size { width: 32, height: 16 });
            let whole = picture(size, 3);
            let tiles = Tiles::new(size, tile, overlap);
            let (mut sums, mut top, mut found) = (Vec::new(), 0, Vec::new());
            for index in 0..tiles.count() {
                let rows = tiles.rows(index);
                found.extend(sums.drain(..(rows.start - top) * width * 3));
                top = rows.start;
                let there = whole.crop(0, top, Size { width, height: rows.len() });
                sums.resize(there.samples.len(), 0.0_f32);
                tiles.blend(index, &tiles.cut(&there, top, index).to_f32(), 3, &mut sums, top);
            }
            found.extend(sums);
            let expected = blended(&whole, tile, overlap);
            assert!(found.iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits())), "{size} {overlap:?}");
        }
    }

    #[test]
    fn one_tile_is_the_picture_to_the_bit() {
        for (width, height) in [(32, 16), (31, 9), (1, 1)] {
            let whole = picture(Size { width, height }, 2);
            let found = blended(&whole, Size { width: 32, height: 16 }, [8, 4]);
            assert!(found.iter().zip(whole.to_f32()).all(|(a, b)| a.to_bits() == b.to_bits()), "{width}x{height}");
        }
    }

    #[test]
    fn beyond_the_picture_its_last_column_and_row_are_repeated() {
        let whole = Picture::new(Size { width: 2, height: 2 }, 1, vec![1, 2, 3, 4]);
        let tile = Tiles::new(whole.size, Size { width: 4, height: 3 }, [1, 1]).cut(&whole, 0, 0);
        assert_eq!(tile.samples, [1, 2, 2, 2, 3, 4, 4, 4, 3, 4, 4, 4]);
    }
}
