//! The generator as an ONNX graph: the layers that [`UNet::forward`] records, without dropout, in the standard
//! operators.
//!
//! Batch, height and width stay free: no operator here needs to know them.

use anyhow::Result;

use super::protobuf::{
    Attribute, Graph, IR_VERSION, Model, Node, OPSET, OperatorSetId, StringStringEntry, Tensor, ValueInfo,
};
use crate::engine::ops::norm_act::EPSILON;
use crate::gan::{BlockOrder, GeneratorKind, LastLayer, Norm, UNet, Way};

/// The negative slope of the leaky ReLU.
const NEGATIVE_SLOPE: f32 = 0.2;

/// Builds the ONNX model of the generator `unet`, without dropout. `read` is called for each parameter with its PyTorch
/// name and shape, and returns its values, row-major. `about` becomes the keys and values of the model's metadata.
///
/// # Errors
/// Those of `read`.
pub fn model(
    unet: UNet,
    about: impl IntoIterator<Item = (String, String)>,
    mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
) -> Result<Model> {
    let mut initializer = Vec::new();
    for spec in unet.specs() {
        let shape = spec.torch_shape();
        initializer.push(Tensor::new(&spec.name, &shape, &read(&spec.name, &shape)?));
    }
    let mut writer = Writer { unet, node: Vec::new(), initializer };
    writer.forward();
    let graph = Graph {
        node: writer.node,
        name: "generator".to_owned(),
        initializer: writer.initializer,
        input: vec![ValueInfo::pictures(INPUT, unet.in_channels)],
        output: vec![ValueInfo::pictures(OUTPUT, unet.out_channels)],
    };
    let multiple = 1_usize << unet.depth;
    let mut metadata: Vec<_> = about.into_iter().map(|(key, value)| StringStringEntry { key, value }).collect();
    metadata.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(Model {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: format!(
            "Pix2Pix generator without dropout. Pictures are [batch, channels, height, width] with values from -1 to \
             1; height and width are multiples of {multiple}."
        ),
        graph: Some(graph),
        opset_import: vec![OperatorSetId { domain: String::new(), version: OPSET }],
        metadata_props: metadata,
    })
}

const INPUT: &str = "input";
const OUTPUT: &str = "output";

struct Writer {
    unet: UNet,
    node: Vec<Node>,
    initializer: Vec<Tensor>,
}

impl Writer {
    /// Adds a node whose result is called `output`, and returns that name.
    fn push(&mut self, op_type: &str, inputs: &[&str], output: String, attribute: Vec<Attribute>) -> String {
        let input = inputs.iter().map(|&name| name.to_owned()).collect();
        self.node.push(Node {
            input,
            output: vec![output.clone()],
            name: output.clone(),
            op_type: op_type.to_owned(),
            attribute,
        });
        output
    }

    fn forward(&mut self) {
        let unet = self.unet;
        let rectified = unet.block_order == BlockOrder::ActConvNormDropout;
        let has_skips = unet.kind == GeneratorKind::Unet;
        // Outputs of the encoder, from level 1 on.
        let mut skips: Vec<String> = Vec::new();
        let mut x = INPUT.to_owned();
        for level in 1..=unet.depth {
            let hidden = self.conv_norm(Way::Down, level, &x);
            let innermost = level == unet.depth;
            x = match innermost && rectified {
                true => self.relu(&hidden, format!("down{level}")),
                false => {
                    let slope = vec![Attribute::float("alpha", NEGATIVE_SLOPE)];
                    self.push("LeakyRelu", &[&hidden], format!("down{level}"), slope)
                }
            };
            let skip = match rectified && has_skips && !innermost {
                true => self.relu(&x, format!("skip{level}")),
                false => x.clone(),
            };
            skips.push(skip);
        }
        for level in (1..unet.depth).rev() {
            let hidden = self.conv_norm(Way::Up, level, &x);
            let up = self.relu(&hidden, format!("up{level}"));
            x = match (has_skips, &skips[level - 1]) {
                (false, _) => up,
                (true, skip) => {
                    let both = if unet.recipe.puts_skip_first() { [skip, &*up] } else { [&*up, skip] };
                    self.push("Concat", &both, format!("joined{level}"), vec![Attribute::int("axis", 1)])
                }
            };
        }
        let last = self.last(&x);
        self.push("Tanh", &[&last], OUTPUT.to_owned(), Vec::new());
    }

    fn relu(&mut self, x: &str, output: String) -> String {
        self.push("Relu", &[x], output, Vec::new())
    }

    /// The convolution of the way `way` that ends at `level`, and its norm.
    fn conv_norm(&mut self, way: Way, level: usize, x: &str) -> String {
        let name = self.unet.conv_name(way, level);
        let op = match way {
            Way::Down => "Conv",
            Way::Up => "ConvTranspose",
        };
        let hidden = self.conv(op, &name, self.unet.has_biases(), x, 2, [1, 1, 1, 1]);
        if !self.unet.is_normed(way, level) {
            return hidden;
        }
        let [gain, bias] = match self.unet.norm {
            Norm::InstanceAffine => {
                ["weight", "bias"].map(|kind| format!("{}.{kind}", self.unet.norm_name(way, level)))
            }
            _ => [("ones", 1.0), ("zeros", 0.0)]
                .map(|(name, value)| self.constant(name, value, self.unet.channels(level))),
        };
        let epsilon = vec![Attribute::float("epsilon", EPSILON as f32)];
        self.push("InstanceNormalization", &[&hidden, &gain, &bias], format!("{name}.normed"), epsilon)
    }

    /// A vector of `count` elements, all `value`, shared by all nodes that use it.
    fn constant(&mut self, name: &str, value: f32, count: usize) -> String {
        let name = format!("{name}.{count}");
        if !self.initializer.iter().any(|tensor| tensor.name == name) {
            self.initializer.push(Tensor::new(&name, &[count], &vec![value; count]));
        }
        name
    }

    /// A 4x4 convolution called `name`. `pads` are top, left, bottom, right.
    fn conv(&mut self, op: &str, name: &str, has_bias: bool, x: &str, stride: i64, pads: [i64; 4]) -> String {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let inputs = if has_bias { vec![x, &weight, &bias] } else { vec![x, &weight] };
        let attributes = vec![
            Attribute::ints("kernel_shape", &[4, 4]),
            Attribute::ints("strides", &[stride, stride]),
            Attribute::ints("pads", &pads),
        ];
        self.push(op, &inputs, format!("{name}.out"), attributes)
    }

    fn last(&mut self, x: &str) -> String {
        let name = self.unet.last_name();
        match self.unet.last_layer {
            LastLayer::Transposed => self.conv("ConvTranspose", name, true, x, 2, [1, 1, 1, 1]),
            LastLayer::Resize => {
                self.initializer.push(Tensor::new("scales", &[4], &[1.0, 1.0, 2.0, 2.0]));
                let nearest = vec![
                    Attribute::string("mode", "nearest"),
                    Attribute::string("coordinate_transformation_mode", "asymmetric"),
                    Attribute::string("nearest_mode", "floor"),
                ];
                // The input `roi`, a region of interest, has no use in this mode and is left out.
                let large = self.push("Resize", &[x, "", "scales"], "resized".to_owned(), nearest);
                // The pad in front has one row and one column more than the pad of 1 on all sides.
                self.conv("Conv", name, true, &large, 1, [2, 2, 1, 1])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use prost::Message;

    use super::*;
    use crate::gan::Recipe;

    fn graph(unet: UNet) -> Graph {
        let read = |_: &str, shape: &[usize]| Ok(vec![0.5; shape.iter().product()]);
        let model = model(unet, [("key".to_owned(), "value".to_owned())], read).unwrap();
        // Decoding the file gives the same model.
        assert_eq!(Model::decode(&*model.encode_to_vec()).unwrap(), model);
        model.graph.unwrap()
    }

    fn variants() -> impl Iterator<Item = UNet> {
        let recipes = [Recipe::PytorchGan, Recipe::BlockCk, Recipe::Isola];
        let norms = [Norm::Instance, Norm::InstanceAffine, Norm::None];
        recipes.into_iter().flat_map(move |recipe| {
            norms.into_iter().flat_map(move |norm| {
                [GeneratorKind::Unet, GeneratorKind::EncoderDecoder].map(|kind| UNet {
                    norm,
                    kind,
                    ngf: 2,
                    depth: 5,
                    ..UNet::published(recipe)
                })
            })
        })
    }

    #[test]
    fn every_value_is_made_once_before_its_use_and_every_parameter_is_used() {
        for unet in variants() {
            let graph = graph(unet);
            let mut known: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
            assert_eq!(known.len(), graph.initializer.len());
            let mut unused: HashSet<&str> = known.clone();
            known.insert(INPUT);
            for node in &graph.node {
                for input in node.input.iter().filter(|name| !name.is_empty()) {
                    assert!(known.contains(input.as_str()), "{} uses {input} before it is made", node.name);
                    unused.remove(input.as_str());
                }
                assert!(known.insert(&node.output[0]), "{} is made twice", node.output[0]);
            }
            assert!(unused.is_empty(), "{unused:?} are not used");
            assert_eq!(graph.node.last().unwrap().output, [OUTPUT]);
        }
    }

    #[test]
    fn the_published_networks_have_their_layers() {
        let count = |unet: UNet| {
            let graph = graph(UNet { ngf: 2, ..unet });
            let count = |op: &str| graph.node.iter().filter(|node| node.op_type == op).count();
            ["Conv", "ConvTranspose", "InstanceNormalization", "LeakyRelu", "Relu", "Concat", "Resize", "Tanh"]
                .map(count)
        };
        assert_eq!(count(UNet::published(Recipe::PytorchGan)), [9, 7, 13, 8, 7, 7, 1, 1]);
        assert_eq!(count(UNet::published(Recipe::BlockCk)), [8, 8, 13, 8, 7, 7, 0, 1]);
        // Each of the seven skips is rectified on its way up, as is the innermost level.
        assert_eq!(count(UNet::published(Recipe::Isola)), [8, 8, 13, 7, 15, 7, 0, 1]);
    }
}
