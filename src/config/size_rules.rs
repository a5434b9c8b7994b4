//! Which image sizes fit the networks.
//!
//! Each level of the U-Net halves both sides, down to one pixel on the shorter side where eight levels reach that far.
//! A size fits when no halving leaves a remainder; otherwise the way up would not meet the skip connections of the way
//! down.

use anyhow::{Result, bail, ensure};

use crate::data::Size;

/// Below this the discriminator, which halves four times, has nothing left to judge.
const SMALLEST_SIDE: usize = 32;
const MOST_LEVELS: u32 = 8;

/// Levels of the U-Net for images of `size`: min(8, floor(log2(shorter side))).
///
/// Fails if a side is under 32 or not a multiple of 2^depth; the error names the nearest sizes that work.
pub fn depth(size: Size) -> Result<usize> {
    let shorter = size.width.min(size.height);
    ensure!(shorter >= SMALLEST_SIDE, "size {size} is too small: the smallest side is {SMALLEST_SIDE}");
    let levels = levels(size);
    let multiple = 1 << levels;
    if !fits(size) {
        let down = |side: usize| side / multiple * multiple;
        let below = Size { width: down(size.width), height: down(size.height) };
        let above = next_that_fits(size);
        bail!(
            "size {size} does not fit: the network halves it {levels} times, so both sides must be multiples of \
             {multiple}; the nearest sizes that work are {below} and {above}"
        );
    }
    Ok(levels as usize)
}

fn levels(size: Size) -> u32 {
    size.width.min(size.height).ilog2().min(MOST_LEVELS)
}

fn fits(size: Size) -> bool {
    let multiple = 1 << levels(size);
    size.width.is_multiple_of(multiple) && size.height.is_multiple_of(multiple)
}

/// Rounds both sides up until they fit. More than one round is needed where rounding up adds a level: 200x328, 256x384,
/// 256x512.
fn next_that_fits(mut size: Size) -> Size {
    while !fits(size) {
        let multiple = 1 << levels(size);
        size = Size { width: size.width.next_multiple_of(multiple), height: size.height.next_multiple_of(multiple) };
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: usize, height: usize) -> Size {
        Size { width, height }
    }

    #[test]
    fn depth_is_the_logarithm_of_the_shorter_side_up_to_eight() {
        for (width, height, expected) in [
            (32, 32, 5),
            (64, 64, 6),
            (128, 128, 7),
            (256, 256, 8),
            (512, 512, 8),
            (512, 256, 8),
            (64, 192, 6),
            (768, 256, 8),
        ] {
            assert_eq!(depth(size(width, height)).unwrap(), expected, "{width}x{height}");
        }
    }

    #[test]
    fn a_size_that_does_not_fit_is_refused_with_the_nearest_that_do() {
        for (width, height, below, above) in [
            (200, 200, size(128, 128), size(256, 256)),
            (300, 300, size(256, 256), size(512, 512)),
            (256, 200, size(256, 128), size(256, 256)),
            (200, 328, size(128, 256), size(256, 512)),
            (33, 64, size(32, 64), size(64, 64)),
        ] {
            let error = depth(size(width, height)).unwrap_err().to_string();
            assert!(error.ends_with(&format!("are {below} and {above}")), "{error}");
            assert!(depth(below).is_ok() && depth(above).is_ok(), "{error}");
        }
    }

    #[test]
    fn small_sides_are_refused() {
        assert!(depth(size(31, 64)).unwrap_err().to_string().contains("smallest side is 32"));
        assert!(depth(size(0, 0)).is_err());
    }
}
