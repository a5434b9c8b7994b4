//! Canny's edge detector: smoothed gradients, thinned to their ridges, kept where they are strong or lead to a strong
//! one.
//!
//! Source: Canny, "A Computational Approach to Edge Detection", PAMI 1986. The thresholds follow the picture:
//! photographs differ in contrast, and their drawings should not differ in density as much.

use crate::data::Picture;

/// Standard deviation of the Gaussian, in pixels.
const SIGMA: f32 = 1.4;

/// Quantile of the gradient magnitudes of the picture at which the threshold of strong edges lies.
const QUIET: f32 = 0.85;

/// Threshold of weak edges, as a fraction of that of strong ones.
const WEAK: f32 = 0.4;

/// Least threshold of strong edges, in 8-bit grey levels per pixel: smaller gradients are noise and compression in a
/// plain surface.
const NOISE: f32 = 4.0;

/// Detects the edges of `gray`, a picture with one channel, by Canny's method. Returns a picture of the same size:
/// black (0) on edges, white (65535) elsewhere.
///
/// # Panics
/// If `gray` has more than one channel.
pub fn canny(gray: &Picture) -> Picture {
    assert_eq!(gray.channels, 1, "edges are those of a grey picture");
    let (width, height) = (gray.size.width, gray.size.height);
    // Grey levels of 8 bits, as the thresholds are.
    let values: Vec<f32> = gray.samples.iter().map(|&sample| f32::from(sample) / 257.0).collect();
    let smooth = transpose(&blur_rows(&values, width), width);
    let smooth = Plane { width, height, values: transpose(&blur_rows(&smooth, height), height) };

    let gradients: Vec<[f32; 2]> = smooth.map(|x, y| sobel(&smooth, x, y));
    let strength = Plane { width, height, values: gradients.iter().map(|[dx, dy]| dx.hypot(*dy)).collect() };
    let strong = quantile(&strength.values, QUIET).max(NOISE);
    let ridges = Plane {
        width,
        height,
        values: strength.map(|x, y| {
            let here = strength.at(x, y);
            if here >= WEAK * strong && is_ridge(&strength, gradients[y as usize * width + x as usize], x, y) {
                here
            } else {
                0.0
            }
        }),
    };

    let mut edges = Picture { samples: vec![u16::MAX; gray.samples.len()], ..*gray };
    let mut open: Vec<(i32, i32)> = Vec::new();
    for (start, _) in ridges.values.iter().enumerate().filter(|(_, value)| **value >= strong) {
        open.push(((start % width) as i32, (start / width) as i32));
        // Every strong edge is followed along all weak ones that touch it.
        while let Some((x, y)) = open.pop() {
            let sample = &mut edges.samples[y as usize * width + x as usize];
            if *sample == 0 {
                continue;
            }
            *sample = 0;
            for (x, y) in NEIGHBOURS.map(|(dx, dy)| (x + dx, y + dy)) {
                let is_inside = (0..width as i32).contains(&x) && (0..height as i32).contains(&y);
                if is_inside && ridges.at(x, y) > 0.0 {
                    open.push((x, y));
                }
            }
        }
    }
    edges
}

const NEIGHBOURS: [(i32, i32); 8] = [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)];

struct Plane {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Plane {
    /// The value at a pixel; outside, that of the nearest border pixel.
    fn at(&self, x: i32, y: i32) -> f32 {
        let x = x.clamp(0, self.width as i32 - 1) as usize;
        let y = y.clamp(0, self.height as i32 - 1) as usize;
        self.values[y * self.width + x]
    }

    fn map<T>(&self, value: impl Fn(i32, i32) -> T) -> Vec<T> {
        (0..self.height as i32)
            .flat_map(|y| (0..self.width as i32).map(move |x| (x, y)))
            .map(|(x, y)| value(x, y))
            .collect()
    }
}

/// Returns rows of `width` values, each smoothed by a Gaussian.
fn blur_rows(values: &[f32], width: usize) -> Vec<f32> {
    let radius = (3.0 * SIGMA).ceil() as i32;
    let weights: Vec<f32> = (-radius..=radius).map(|x| (-0.5 * (x as f32 / SIGMA).powi(2)).exp()).collect();
    let total: f32 = weights.iter().sum();
    let rows = values.chunks_exact(width).flat_map(|row| {
        let weights = &weights;
        (0..width as i32).map(move |x| {
            let at = |offset: i32| row[(x + offset).clamp(0, width as i32 - 1) as usize];
            (-radius..=radius).zip(weights).map(|(offset, weight)| weight * at(offset)).sum::<f32>() / total
        })
    });
    rows.collect()
}

/// The transpose of `values`, in rows of `width`.
fn transpose(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|x| values.iter().skip(x).step_by(width)).copied().collect()
}

/// The gradient `[dx, dy]` by the Sobel operator, in grey levels per pixel.
fn sobel(plane: &Plane, x: i32, y: i32) -> [f32; 2] {
    let p = |dx, dy| plane.at(x + dx, y + dy);
    let dx = p(1, -1) + 2.0 * p(1, 0) + p(1, 1) - p(-1, -1) - 2.0 * p(-1, 0) - p(-1, 1);
    let dy = p(-1, 1) + 2.0 * p(0, 1) + p(1, 1) - p(-1, -1) - 2.0 * p(0, -1) - p(1, -1);
    [dx / 8.0, dy / 8.0]
}

/// True if neither neighbour in the direction of the gradient is stronger. Of two equal ones, the first is the ridge.
fn is_ridge(strength: &Plane, [dx, dy]: [f32; 2], x: i32, y: i32) -> bool {
    // tan(22.5 degrees), which separates the eight directions of the neighbours.
    const SLOPE: f32 = 0.414_213_56;
    let (sx, sy) = match (dx.abs(), dy.abs()) {
        (w, h) if h <= SLOPE * w => (1, 0),
        (w, h) if w <= SLOPE * h => (0, 1),
        _ if (dx > 0.0) == (dy > 0.0) => (1, 1),
        _ => (-1, 1),
    };
    let here = strength.at(x, y);
    here > strength.at(x - sx, y - sy) && here >= strength.at(x + sx, y + sy)
}

/// The quantile `q` of `values`.
fn quantile(values: &[f32], q: f32) -> f32 {
    let mut values = values.to_vec();
    let at = ((values.len() as f32 * q) as usize).min(values.len().saturating_sub(1));
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Size;

    fn picture(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Picture {
        let values: Vec<u8> = (0..width * height).map(|i| value(i % width, i / width)).collect();
        Picture::from_bytes(Size { width, height }, 1, &values)
    }

    /// The pixels of all edges.
    fn edges(picture: &Picture) -> Vec<(usize, usize)> {
        let edges = canny(picture);
        assert_eq!((edges.size, edges.channels), (picture.size, 1));
        assert!(edges.samples.iter().all(|sample| [0, u16::MAX].contains(sample)));
        let width = picture.size.width;
        (0..edges.samples.len()).filter(|&i| edges.samples[i] == 0).map(|i| (i % width, i / width)).collect()
    }

    #[test]
    fn the_outline_of_a_square_is_a_thin_closed_line_where_it_is() {
        let is_inside = |x, y| (16..40).contains(&x) && (12..36).contains(&y);
        let found = edges(&picture(64, 48, |x, y| if is_inside(x, y) { 220 } else { 40 }));
        // Four sides of 24 pixels: one pixel wide, but for the rounded corners.
        assert!((80..=104).contains(&found.len()), "{} pixels", found.len());
        let to_border = |value: usize, [low, high]: [usize; 2]| value.abs_diff(low).min(value.abs_diff(high));
        for &(x, y) in &found {
            assert!(to_border(x, [16, 39]).min(to_border(y, [12, 35])) <= 1, "({x}, {y}) is no border");
        }
        for column in 20..36 {
            assert_eq!(found.iter().filter(|(x, _)| *x == column).count(), 2, "column {column}");
        }
    }

    #[test]
    fn weak_edges_are_drawn_where_they_lead_to_strong_ones() {
        // Two steps of the same 10 grey levels on the right; the upper one grows to 60 on the left.
        let found = edges(&picture(96, 64, |x, y| {
            let fading = (60 - x.min(80) * 50 / 80) as u8;
            match y {
                0..16 => 0,
                16..48 => fading,
                _ => fading + 10,
            }
        }));
        let is_drawn = |x: usize, row: usize| found.iter().any(|pixel| pixel.0 == x && pixel.1.abs_diff(row) <= 4);
        for x in [5, 40, 75, 90] {
            assert!(is_drawn(x, 16), "the connected one, at {x}");
            assert!(!is_drawn(x, 48), "the lonely one, at {x}");
        }
    }

    #[test]
    fn plain_and_noisy_surfaces_have_no_edges() {
        for picture in [
            picture(40, 40, |_, _| 90),
            picture(40, 40, |x, y| 100 + ((x * 7 + y * 13) % 5) as u8),
            picture(1, 1, |_, _| 9),
        ] {
            assert_eq!(edges(&picture), []);
        }
    }
}
