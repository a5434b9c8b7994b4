//! Test data without a file: a tensor is a function of its name, here and in `tools/reference/philox.py` alike.

use pixtape::engine::philox::philox4x32;
use pixtape::engine::tensor::Shape;
use pixtape::gan::{ParameterSpec, Role};

/// The half of the key that is not the hash of the name: "pixt" in ASCII.
const VALUES_KEY: u32 = 0x7069_7874;

/// The 32-bit FNV-1a hash of `text`.
fn fnv1a32(text: &str) -> u32 {
    text.bytes().fold(0x811C_9DC5, |state, byte| (state ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// `count` numbers, uniform in [-scale, scale) and exact in f32 when `scale` is a power of two.
pub fn values(tag: &str, count: usize, scale: f64) -> Vec<f64> {
    let key = [fnv1a32(tag), VALUES_KEY];
    let draw = |i: usize| philox4x32([(i / 4) as u32, 0, 0, 0], key)[i % 4];
    (0..count).map(|i| (f64::from(draw(i) >> 8) * 2.0_f64.powi(-23) - 1.0) * scale).collect()
}

/// Values of an image tensor `[n, h, w, c]`, whose elements PyTorch numbers in NCHW order.
pub fn image_values(tag: &str, shape: Shape, scale: f64) -> Vec<f64> {
    from_nchw(&values(tag, shape.iter().product(), scale), shape)
}

/// Values of a parameter in this project's layout. Those of a gain lie around 1, for any scale.
pub fn parameter_values(tag: &str, spec: &ParameterSpec, scale: f64) -> Vec<f64> {
    match spec.role {
        Role::Gain => values(tag, spec.count(), 0.25).iter().map(|x| 1.0 + x).collect(),
        Role::Weight | Role::Bias => spec.from_torch(&values(tag, spec.count(), scale)),
    }
}

/// `values` in NCHW order, reordered to `[n, h, w, c]`.
pub fn from_nchw(values: &[f64], [n, h, w, c]: Shape) -> Vec<f64> {
    assert_eq!(values.len(), n * h * w * c);
    let index = |i: usize| {
        let (image, pixel, channel) = (i / (h * w * c), i / c % (h * w), i % c);
        (image * c + channel) * h * w + pixel
    };
    (0..values.len()).map(|i| values[index(i)]).collect()
}

#[test]
fn values_are_those_of_the_reference() {
    // The values that `tools/reference/philox.py` prints, with the shortest digits of f32.
    let expected = [-0.617_874_6_f32, -0.378_981, -0.989_132_3, 0.618_776_2, 0.252_799_63].map(f64::from);
    assert_eq!(values("example", 5, 1.0), expected);
}

#[test]
fn channels_move_last() {
    // Two channels of one row of three pixels.
    assert_eq!(from_nchw(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], [1, 1, 3, 2]), [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
}
