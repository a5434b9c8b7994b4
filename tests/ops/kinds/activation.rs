//! Hyperbolic tangent and logistic sigmoid, element by element: `y = tanh(x)`, `y = 1 / (1 + exp(-x))`.

use pixtape::engine::ops::activation::{sigmoid, tanh};
use pixtape::engine::tensor::Shape;
use serde::Deserialize;

use super::{Kind, Layer, Op, Output, cases, describe};

pub const KIND: Kind = Kind { name: "", pytorch: PYTORCH, cases: || cases::<Activation>(CASES), layers };

const PYTORCH: &str = r#"
y = getattr(torch, function)(x)
"#;

const CASES: &str = r#"
name                x          function
tanh_5x7_batch3     [3,5,7,3]  tanh
tanh_1x1            [1,1,1,1]  tanh

# Probabilities, and losses on them.
sigmoid_5x7_batch3  [3,5,7,3]  sigmoid
sigmoid_1x1         [1,1,1,1]  sigmoid
"#;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Function {
    Tanh,
    Sigmoid,
}

#[derive(Debug, Deserialize)]
struct Activation {
    x: Shape,
    function: Function,
}

impl Op for Activation {
    fn x(&self) -> Shape {
        self.x
    }

    fn output(&self) -> Output<'_> {
        let function = match self.function {
            Function::Tanh => tanh,
            Function::Sigmoid => sigmoid,
        };
        Output::Image(self.x, Box::new(move |tape, x, _, y| function(tape, x, y)))
    }
}

/// The generator's picture, and the map of block-ck's discriminator.
fn layers() -> Vec<Layer> {
    let picture = [1, 256, 256, 3];
    let maps = [1, 2].map(|n| ("D.sigmoid", "sigmoid", "sigmoid_grad", [n, 70, 70, 1]));
    let layers = [("G.tanh", "tanh", "tanh_grad", picture)].into_iter().chain(maps);
    let passes = layers.flat_map(|(layer, forward, backward, shape)| {
        [("forward", forward), ("backward", backward)].map(|(pass, step)| {
            Layer::new(format!("{layer} {pass} ({})", describe(shape)), &[step], move |r| {
                let (x, y) = (r.image(shape), r.tape.transient(shape));
                if forward == "tanh" {
                    tanh(&mut r.tape, x, y)
                } else {
                    sigmoid(&mut r.tape, x, y)
                }
                r.differentiate(y, &[x]);
            })
        })
    });
    passes.collect()
}
