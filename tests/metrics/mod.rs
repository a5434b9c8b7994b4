//! L1, PSNR and SSIM equal those of scikit-image.

use std::sync::LazyLock;

use pixtape::engine::device::cpu::with_threads;
use pixtape::metrics::{Metric, Metrics};

use crate::support::fixture::Fixture;

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(include_bytes!("../fixtures/metrics.safetensors")));

fn picture(name: &str) -> (Vec<f32>, [usize; 3]) {
    let (values, shape) = FIXTURE.tensor(name);
    (values.iter().map(|&value| value as f32).collect(), shape.try_into().unwrap())
}

#[test]
fn the_distances_are_those_of_scikit_image() {
    let cases = FIXTURE.about.as_object().unwrap();
    assert_eq!(cases.len(), 8);
    for (name, expected) in cases {
        let ((a, shape), (b, _)) = (picture(&format!("{name}/a")), picture(&format!("{name}/b")));
        let distances = Metrics::between(&a, &b, shape);
        for (metric, key) in Metric::ALL.into_iter().zip(["l1", "psnr", "ssim"]) {
            let (is, expected) = (metric.value(&distances), expected[key].as_f64().unwrap());
            // Both are computed in f64 from the same numbers. A variance is a difference of sums near 1, which leaves
            // 1e-16 of 1 beside C2 = 0.0036 in every window.
            let tolerance = 1e-12 * expected.abs().max(1.0);
            assert!((is - expected).abs() <= tolerance, "{name}: {} is {is}, not {expected}", metric.name());
        }
        assert_eq!(Metrics::between(&b, &a, shape), distances, "{name}: the other way round");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let ((a, shape), (b, _)) = (picture("scene moved aside/a"), picture("scene moved aside/b"));
    let [one, three] = [1, 3].map(|threads| with_threads(threads, || Metrics::between(&a, &b, shape)).unwrap());
    assert_eq!(one, three);
}
