//! Initial values, as `torch.nn.init` draws them.

use clap::ValueEnum;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{ParameterSpec, Role};
use crate::engine::philox::{Purpose, Stream};

/// The distribution from which the initial weights of convolutions are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitKind {
    /// Normal with deviation GAIN (the paper's 0.02).
    Normal,
    /// Normal with deviation GAIN x sqrt(2 / (fan in + fan out)) (Glorot and Bengio, 2010).
    Xavier,
    /// Normal with deviation sqrt(2 / fan in), whatever the gain (He et al., 2015).
    Kaiming,
    /// A random matrix with orthonormal rows or columns, times GAIN (Saxe et al., 2014).
    Orthogonal,
}

/// The initialisation of parameters: `kind` is the distribution of the weights, `gain` their scale, and the standard
/// deviation of the gains of a norm around 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Init {
    pub kind: InitKind,
    pub gain: f64,
}

impl Init {
    /// Draws the initial values of the parameter `spec`, in the order of its shape `[k, kh, kw, c]`: weights by `kind`,
    /// gains of a norm normal around 1 with standard deviation `gain`, biases zero. `index` counts the parameters of
    /// all networks, so that each has draws of its own.
    ///
    /// Fans are counted as PyTorch does on its weight `[k, c, kh, kw]`: in = c x kh x kw, out = k x kh x kw, also of a
    /// transposed convolution.
    pub fn values(self, spec: &ParameterSpec, seed: u64, index: u64) -> Vec<f32> {
        let mut draws = Stream::new(seed, Purpose::Init, index);
        let mut normal =
            |deviation: f64| -> Vec<f32> { (0..spec.count()).map(|_| deviation as f32 * draws.normal()).collect() };
        let [k, kh, kw, c] = spec.shape;
        let (fan_in, fan_out) = ((c * kh * kw) as f64, (k * kh * kw) as f64);
        match (spec.role, self.kind) {
            (Role::Bias, _) => vec![0.0; spec.count()],
            (Role::Gain, _) => normal(self.gain).iter().map(|x| 1.0 + x).collect(),
            (Role::Weight, InitKind::Normal) => normal(self.gain),
            (Role::Weight, InitKind::Xavier) => normal(self.gain * (2.0 / (fan_in + fan_out)).sqrt()),
            (Role::Weight, InitKind::Kaiming) => normal((2.0 / fan_in).sqrt()),
            // The elements of a random row are alike in any order: no conversion between layouts.
            (Role::Weight, InitKind::Orthogonal) => {
                let mut matrix: Vec<f64> = normal(1.0).iter().map(|&x| f64::from(x)).collect();
                orthogonalise(&mut matrix, k, c * kh * kw);
                matrix.iter().map(|x| (self.gain * x) as f32).collect()
            }
        }
    }
}

/// Makes the rows of a `rows` by `columns` matrix orthonormal, or its columns where there are more rows than columns.
fn orthogonalise(matrix: &mut [f64], rows: usize, columns: usize) {
    if rows <= columns {
        return orthonormal_rows(matrix, columns);
    }
    let mut transposed: Vec<f64> = (0..rows * columns).map(|i| matrix[i % rows * columns + i / rows]).collect();
    orthonormal_rows(&mut transposed, rows);
    matrix.iter_mut().enumerate().for_each(|(i, x)| *x = transposed[i % columns * rows + i / columns]);
}

/// Modified Gram-Schmidt: each row is normalised, then its projection is subtracted from all rows behind it. Rows of
/// normal draws are far from dependent, so once is enough in f64.
fn orthonormal_rows(matrix: &mut [f64], columns: usize) {
    let mut rest = matrix;
    while !rest.is_empty() {
        let (row, behind) = rest.split_at_mut(columns);
        let length = dot(row, row).sqrt();
        row.iter_mut().for_each(|x| *x /= length);
        let row = &*row;
        behind.par_chunks_mut(columns).for_each(|other| {
            let projection = dot(row, other);
            other.iter_mut().zip(row).for_each(|(x, r)| *x -= projection * r);
        });
        rest = behind;
    }
}

/// Sums in eight lanes, which the compiler turns into vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a * b);
    }
    lanes.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(kind: InitKind, gain: f64, spec: &ParameterSpec) -> Vec<f64> {
        Init { kind, gain }.values(spec, 1, 0).iter().map(|&x| f64::from(x)).collect()
    }

    #[test]
    fn deviations_are_those_of_pytorch() {
        let spec = ParameterSpec::weight("w", 24, 4, 40);
        let count = spec.count() as f64;
        for (kind, gain, deviation) in [
            (InitKind::Normal, 0.02, 0.02),
            (InitKind::Xavier, 1.5, 1.5 * (2.0_f64 / (40.0 * 16.0 + 24.0 * 16.0)).sqrt()),
            (InitKind::Kaiming, 0.02, (2.0_f64 / (40.0 * 16.0)).sqrt()),
        ] {
            let values = init(kind, gain, &spec);
            let variance = values.iter().map(|x| x * x).sum::<f64>() / count;
            // Five standard errors of a variance: 5 sqrt(2 / n).
            let off = (variance / (deviation * deviation) - 1.0).abs();
            assert!(off <= 5.0 * (2.0 / count).sqrt(), "{kind:?}: {} for {deviation}", variance.sqrt());
        }
    }

    #[test]
    fn orthogonal_weights_are_orthogonal() {
        for (k, c) in [(6, 3), (40, 1)] {
            let spec = ParameterSpec::weight("w", k, 4, c);
            let values = init(InitKind::Orthogonal, 0.5, &spec);
            let (rows, columns) = (k, 16 * c);
            let vector = |i: usize| -> Vec<f64> {
                if rows <= columns {
                    values[i * columns..(i + 1) * columns].to_vec()
                } else {
                    values[i..].iter().step_by(columns).copied().collect()
                }
            };
            for i in 0..rows.min(columns) {
                for j in 0..=i {
                    let expected = if i == j { 0.25 } else { 0.0 };
                    // The values were rounded to f32.
                    assert!(
                        (dot(&vector(i), &vector(j)) - expected).abs() <= 1e-7,
                        "{i} and {j} of {rows} by {columns}"
                    );
                }
            }
        }
    }

    #[test]
    fn norms_start_around_one_and_biases_at_zero() {
        let gains = init(InitKind::Xavier, 0.02, &ParameterSpec::gain("g", 1000));
        let mean = gains.iter().sum::<f64>() / 1000.0;
        assert!((mean - 1.0).abs() <= 5.0 * 0.02 / 1000.0_f64.sqrt() && gains.iter().any(|&x| x != 1.0), "{mean}");
        assert_eq!(init(InitKind::Orthogonal, 0.02, &ParameterSpec::bias("b", 3)), [0.0; 3]);
    }
}
