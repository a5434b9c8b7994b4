//! Adam over flat buffers: parameters after `steps` updates, with gradients that the host writes. It has no gradient,
//! so its rows have tests of their own (`tests/ops/adam.rs`).

use pixtape::engine::ops::adam::{AdamOptions, adam};
use serde::Deserialize;

use super::{Kind, Layer, rows};

pub const KIND: Kind = Kind { name: "", pytorch: PYTORCH, cases: Vec::new, layers };

const PYTORCH: &str = r#"
p = leaf(given("p", (len,)))
optimiser = torch.optim.Adam([p], lr, (beta1, beta2), eps)
for step in range(steps):
    p.grad = given(f"g{step}", (len,))
    optimiser.step()
"#;

const CASES: &str = r#"
name                 len  steps  lr      beta1  beta2  eps
adam_one_step        5    1      0.0002  0.5    0.999  1e-08
adam_ten_steps       67   10     0.0002  0.5    0.999  1e-08
adam_other_settings  33   4      0.01    0.9    0.99   0.001
adam_in_quads        1100 3      0.01    0.5    0.999  1e-08
"#;

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Row {
    pub len: usize,
    pub steps: usize,
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
}

pub fn adam_rows() -> Vec<(String, Row)> {
    rows(CASES)
}

/// The parameters of the published generator and discriminator.
fn layers() -> Vec<Layer> {
    let layer = |network: &str, count: usize| {
        Layer::new(format!("{network} ({count} parameters)"), &["adam"], move |r| {
            // Nothing is negative: the second moment cannot be.
            let [parameters, gradients, first, second] = [(); 4].map(|()| r.given([1, 1, 1, count], [0.0, 0.1]));
            let options = AdamOptions { beta1: 0.5, beta2: 0.999, epsilon: 1e-8 };
            adam(&mut r.tape, parameters, gradients, [first, second], options);
        })
    };
    vec![layer("G", 54_404_099), layer("D", 2_767_808)]
}
