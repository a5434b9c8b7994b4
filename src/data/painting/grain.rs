//! Irregularity: a small tile of noise, drawn once for each picture, that repeats without a seam.

use crate::engine::philox::Stream;

const SIDE: usize = 64;

pub struct Grain {
    values: Vec<f32>,
}

impl Grain {
    pub fn draw(stream: &mut Stream) -> Grain {
        Grain { values: (0..SIDE * SIDE).map(|_| stream.range(-1.0, 1.0)).collect() }
    }

    /// Noise from -1 to 1, independent at each (`x`, `y`). It repeats every 64 in both directions.
    pub fn at(&self, x: i32, y: i32) -> f32 {
        let wrap = |i: i32| i.rem_euclid(SIDE as i32) as usize;
        self.values[wrap(y) * SIDE + wrap(x)]
    }

    /// The noise of [`Grain::at`], interpolated smoothly between whole numbers.
    pub fn smooth(&self, x: f32, y: f32) -> f32 {
        let (i, j) = (x.floor(), y.floor());
        let [s, t] = [x - i, y - j].map(|t| t * t * (3.0 - 2.0 * t));
        let (i, j) = (i as i32, j as i32);
        let row = |j: i32| self.at(i, j) + (self.at(i + 1, j) - self.at(i, j)) * s;
        row(j) + (row(j + 1) - row(j)) * t
    }
}
