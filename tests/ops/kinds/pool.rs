//! Average pooling that halves an image, as pix2pixHD makes the input of its further discriminators: windows of 3x3,
//! stride 2, padding 1, the padding left out of the count.

use pixtape::engine::ops::pool::{avg_pool, pooled_side};
use pixtape::engine::tensor::Shape;
use serde::Deserialize;

use super::{Kind, Layer, Op, Output, cases, describe};

pub const KIND: Kind = Kind { name: "", pytorch: PYTORCH, cases: || cases::<AvgPool>(CASES), layers };

const PYTORCH: &str = r#"
y = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
"#;

const CASES: &str = r#"
name                  x
avg_pool_1x1          [1,1,1,3]
avg_pool_2x2          [1,2,2,64]
avg_pool_3x4_batch2   [2,3,4,7]
avg_pool_8x5_batch3   [3,8,5,6]
avg_pool_13x16        [1,13,16,1]
"#;

#[derive(Debug, Deserialize)]
struct AvgPool {
    x: Shape,
}

impl Op for AvgPool {
    fn x(&self) -> Shape {
        self.x
    }

    fn output(&self) -> Output<'_> {
        let [n, h, w, c] = self.x;
        Output::Image([n, pooled_side(h), pooled_side(w), c], Box::new(|tape, x, _, y| avg_pool(tape, x, y)))
    }
}

/// The discriminators' input: a picture beside its condition, generated and real.
fn layers() -> Vec<Layer> {
    let layer = |shape: Shape| {
        let name = format!("D.pool ({})", describe(shape));
        Layer::new(name, &["avg_pool", "avg_pool_grad"], move |r| {
            let [n, h, w, c] = shape;
            let (x, y) = (r.image(shape), r.tape.transient([n, pooled_side(h), pooled_side(w), c]));
            avg_pool(&mut r.tape, x, y);
            r.differentiate(y, &[x]);
        })
    };
    vec![layer([2, 256, 256, 6]), layer([2, 128, 128, 6])]
}
