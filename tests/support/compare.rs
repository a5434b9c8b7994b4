//! Comparisons with tolerances. All are written `difference <= tolerance`, which NaN fails.

/// Half a unit in the last place of an f32, relative to the number: what storing a result as f32 costs.
pub const HALF_ULP: f64 = 1.0 / (1 << 24) as f64;

/// The distance that a result may have from the expected one.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Fraction of each expected number.
    pub relative: f64,
    /// Fraction of the largest magnitude that is expected in the tensor.
    pub relative_to_largest: f64,
}

impl Tolerance {
    /// Tolerance between an f64 result and one that was stored as f32. Sums in another order move it by some 1e-16 of
    /// their largest term; `1e-13` leaves room for the norms over two pixels, which magnify that a few hundred times.
    pub const STORED_F32: Tolerance = Tolerance { relative: HALF_ULP, relative_to_largest: 1e-13 };
}

pub fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, x| x.abs().max(largest))
}

#[track_caller]
pub fn assert_close(what: &str, actual: &[f64], expected: &[f64], tolerance: Tolerance) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of elements");
    let whole = tolerance.relative_to_largest * largest(expected);
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let (difference, allowed) = ((a - e).abs(), whole + tolerance.relative * e.abs());
        assert!(
            difference <= allowed,
            "{what}: element {i} is {a}, expected {e}: off by {difference:e} of {allowed:e}"
        );
    }
}

#[track_caller]
pub fn assert_same_bits(what: &str, actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of elements");
    let differing = actual.iter().zip(expected).filter(|(a, e)| a.to_bits() != e.to_bits()).count();
    let first = actual.iter().zip(expected).position(|(a, e)| a.to_bits() != e.to_bits());
    if let Some(i) = first {
        panic!("{what}: {differing} elements differ; element {i} is {:e}, expected {:e}", actual[i], expected[i]);
    }
}

#[test]
#[should_panic(expected = "element 1 is NaN")]
fn nan_is_never_close() {
    assert_close("a", &[0.0, f64::NAN], &[0.0, 1.0], Tolerance { relative: 1e9, relative_to_largest: 1e9 });
}
