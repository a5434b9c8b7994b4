//! The image sizes that fit the generator.
//!
//! Each level halves both sides, down to one pixel on the shorter side where eight levels reach that far. A size fits
//! when no halving leaves a remainder; otherwise the way up would not meet the skip connections of the way down.

use anyhow::{Result, bail, ensure};

use crate::data::Size;

/// Least side in pixels: smaller pictures show too little to translate.
const SMALLEST_SIDE: usize = 32;
const MOST_LEVELS: u32 = 8;

/// Returns the default number of levels of the generator for images of `size`: floor(log2(shorter side)), but at least
/// 2 and at most 8.
pub fn default_depth(size: Size) -> usize {
    (size.width.min(size.height).max(4).ilog2().min(MOST_LEVELS)) as usize
}

/// Returns the size that pictures are resized to before `--augment jitter` crops `image` out of them: each side times
/// 286/256, rounded. The paper crops 256 out of 286.
pub fn jitter_load(image: Size) -> Size {
    let scale = |side: usize| (side * 286 + 128) / 256;
    Size { width: scale(image.width), height: scale(image.height) }
}

/// Checks that the generator can halve images of `size` `depth` times.
///
/// # Errors
/// When a side is under 32 pixels or not a multiple of 2^`depth`. The error says what to change, and names the nearest
/// sizes that work.
pub fn check_depth(size: Size, depth: usize) -> Result<()> {
    let shorter = size.width.min(size.height);
    ensure!(shorter >= SMALLEST_SIDE, "--image-size: size {size} is too small: the smallest side is {SMALLEST_SIDE}");
    let multiple = 1 << depth;
    ensure!(
        shorter >= multiple,
        "--depth {depth}: the shorter side of {size} can be halved {} times; choose a smaller depth, or larger images",
        shorter.ilog2()
    );
    if !fits(size, depth) {
        let below = rounded(size, |side| side / multiple * multiple);
        let above = rounded(size, |side| side.next_multiple_of(multiple));
        // If the depth follows from the size, rounding up may add a level.
        let above = if depth == default_depth(size) { next_that_fits(size) } else { above };
        bail!(
            "--image-size: size {size} does not fit: the network halves it {depth} times, so both sides must be \
             multiples of {multiple}; the nearest sizes that work are {below} and {above}"
        );
    }
    Ok(())
}

fn rounded(size: Size, round: impl Fn(usize) -> usize) -> Size {
    Size { width: round(size.width), height: round(size.height) }
}

fn fits(size: Size, depth: usize) -> bool {
    let multiple = 1 << depth;
    size.width.is_multiple_of(multiple) && size.height.is_multiple_of(multiple)
}

/// Rounds both sides up until they fit their default depth. More than one round is needed where rounding up adds a
/// level: 200x328, 256x384, 256x512.
fn next_that_fits(mut size: Size) -> Size {
    while !fits(size, default_depth(size)) {
        let multiple = 1 << default_depth(size);
        size = rounded(size, |side| side.next_multiple_of(multiple));
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: usize, height: usize) -> Size {
        Size { width, height }
    }

    fn check_default(size: Size) -> Result<()> {
        check_depth(size, default_depth(size))
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
            assert_eq!(default_depth(size(width, height)), expected, "{width}x{height}");
            check_default(size(width, height)).unwrap();
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
            let error = check_default(size(width, height)).unwrap_err().to_string();
            assert!(error.ends_with(&format!("are {below} and {above}")), "{error}");
            assert!(check_default(below).is_ok() && check_default(above).is_ok(), "{error}");
        }
    }

    #[test]
    fn a_chosen_depth_asks_for_its_own_multiples() {
        check_depth(size(200, 200), 3).unwrap();
        check_depth(size(512, 512), 9).unwrap();
        let error = check_depth(size(200, 200), 4).unwrap_err().to_string();
        assert!(error.ends_with("are 192x192 and 208x208") || error.ends_with("are 192 and 208"), "{error}");
        let error = check_depth(size(256, 256), 9).unwrap_err().to_string();
        assert!(error.contains("can be halved 8 times"), "{error}");
    }

    #[test]
    fn jitter_loads_larger_in_proportion() {
        assert_eq!(jitter_load(Size { width: 256, height: 512 }), Size { width: 286, height: 572 });
        // 64 * 286 / 256 = 71.5, rounded up.
        assert_eq!(jitter_load(Size { width: 64, height: 32 }), Size { width: 72, height: 36 });
    }

    #[test]
    fn small_sides_are_refused() {
        assert!(check_default(size(31, 64)).unwrap_err().to_string().contains("smallest side is 32"));
        assert!(check_default(size(0, 0)).is_err());
    }
}
