//! A curve of any length in bounded memory: its bins become wider as it grows.

/// Most bins of a curve; a chart is not wider in pixels.
const MOST: u64 = 512;

/// A quantity over the steps of a run, reduced to its means over bins of equally many steps. There are 512 bins at
/// most: when the steps no longer fit, neighbouring bins are merged in pairs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Number and sum of the values in each bin: bin `i` is that of the steps `i * width + 1..=(i + 1) * width`.
    points: Vec<(u64, f64)>,
    /// Steps in a bin: a power of two; 0 before the first value.
    width: u64,
}

impl Curve {
    /// Adds `value` to the bin of `step`, which counts from 1.
    pub fn add(&mut self, step: u64, value: f64) {
        self.width = self.width.max(1);
        while (step - 1) / self.width >= MOST {
            self.points = self.points.chunks(2).map(|pair| pair.iter().fold((0, 0.0), put_together)).collect();
            self.width *= 2;
        }
        let index = ((step - 1) / self.width) as usize;
        if self.points.len() <= index {
            self.points.resize(index + 1, (0, 0.0));
        }
        self.points[index] = put_together(self.points[index], &(1, value));
    }

    /// Returns a point `[step, value]` for each bin that has values, in ascending order: the last step of the bin, and
    /// the mean of its values.
    pub fn points(&self) -> Vec<[f64; 2]> {
        let step = |index: usize| ((index as u64 + 1) * self.width) as f64;
        let points = self.points.iter().enumerate().filter(|(_, (count, _))| *count > 0);
        points.map(|(index, &(count, sum))| [step(index), sum / count as f64]).collect()
    }
}

fn put_together(a: (u64, f64), b: &(u64, f64)) -> (u64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

/// Smooths `points`, `[x, y]` with evenly spaced x: each y becomes the mean of the neighbouring ones, weighted by a
/// Gaussian whose standard deviation is `deviation` points (above 0), cut off at three deviations. Each x is kept.
pub fn smooth(points: &[[f64; 2]], deviation: f64) -> Vec<[f64; 2]> {
    let reach = (3.0 * deviation) as usize;
    let weight = |distance: usize| (-0.5 * (distance as f64 / deviation).powi(2)).exp();
    let around = |at: usize| {
        let first = at.saturating_sub(reach);
        let near = &points[first..points.len().min(at + reach + 1)];
        let weighted = near.iter().enumerate().map(|(i, point)| (weight((first + i).abs_diff(at)), point[1]));
        let (weights, sum) = weighted.fold((0.0, 0.0), |sums, (w, value)| (sums.0 + w, sums.1 + w * value));
        sum / weights
    };
    (0..points.len()).map(|at| [points[at][0], around(at)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_curve_is_kept_as_it_is() {
        let mut curve = Curve::default();
        assert!(curve.points().is_empty());
        (1..=3).for_each(|step| curve.add(step, step as f64 * 10.0));
        assert_eq!(curve.points(), [[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]);
    }

    #[test]
    fn a_long_curve_has_means_and_no_more_points() {
        let mut curve = Curve::default();
        (1..=2 * MOST + 2).for_each(|step| curve.add(step, step as f64));
        let points = curve.points();
        assert_eq!(points.len(), (2 * MOST + 2).div_ceil(4) as usize);
        assert_eq!(points[..2], [[4.0, 2.5], [8.0, 6.5]]);
        // The last point is not full yet.
        assert_eq!(points[points.len() - 1][1], (2 * MOST) as f64 + 1.5);
    }

    #[test]
    fn a_curve_that_goes_on_is_the_whole_one() {
        let whole = |from: u64| {
            let mut curve = Curve::default();
            (from..=5000).for_each(|step| curve.add(step, (step as f64).sqrt()));
            curve
        };
        let late = whole(4000).points();
        let whole = whole(1).points();
        // A curve that begins later has no points before.
        assert_eq!(late[1..], whole[whole.len() - late.len() + 1..]);
    }

    #[test]
    fn smoothing_keeps_a_constant_and_a_straight_line() {
        let line: Vec<[f64; 2]> = (0..40).map(|x| [f64::from(x), 2.0 * f64::from(x)]).collect();
        let smoothed = smooth(&line, 2.0);
        // Points with all their neighbours.
        assert!(line[6..34].iter().zip(&smoothed[6..34]).all(|(a, b)| a[0] == b[0] && (a[1] - b[1]).abs() <= 1e-12));
        assert!(smoothed[0][1] > 0.0);
    }
}
