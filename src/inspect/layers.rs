//! The layers of a network, read off its recorded forward pass: a layer begins where a convolution's weight is used for
//! the first time.

use super::{bytes, count, grid, table};
use crate::engine::access::Access;
use crate::engine::program::Program;
use crate::engine::tensor::{Region, Tensor};
use crate::gan::{Parameters, Role};

/// A layer of a network: a convolution and the operations that follow it until the next one. All numbers are for one
/// image.
pub struct Layer {
    /// PyTorch's name of the convolution.
    name: String,
    kernels: Vec<&'static str>,
    output: Tensor,
    parameters: usize,
    multiply_adds: usize,
    /// Bytes that the kernels of the layer write.
    written: usize,
    /// Receptive field: side of the square of the input that an output pixel depends on, in pixels.
    field: f64,
}

/// Receptive field of a region of memory: its side, and the distance of neighbours, in pixels of the network's input.
struct Field {
    region: Region,
    side: f64,
    jump: f64,
}

/// Returns the layers of a network in the order of its forward pass. `program` holds that forward pass alone, recorded
/// for one image; `parameters` and `input` are the network's parameters and its input in that program.
pub fn layers(program: &Program, parameters: &Parameters, input: Tensor) -> Vec<Layer> {
    let region = |tensor: Tensor| program.buffers().region(tensor);
    let mut fields = vec![Field { region: region(input), side: 1.0, jump: 1.0 }];
    let mut layers: Vec<Layer> = Vec::new();
    for recorded in program.steps() {
        let reads = recorded.accesses().iter().filter_map(|access| match access {
            Access::Read(tensor) => Some(*tensor),
            _ => None,
        });
        let (of_network, activations): (Vec<Tensor>, Vec<Tensor>) =
            reads.partition(|tensor| tensor.buffer() == parameters.values.buffer());
        let Some(output) = recorded.accesses().iter().filter(|access| access.writes()).find_map(Access::tensor) else {
            continue;
        };
        let used: Vec<usize> = of_network.iter().filter_map(|&tensor| parameters.at(tensor)).collect();
        if let Some(&weight) = used.iter().find(|&&index| parameters.specs[index].role == Role::Weight) {
            let name = parameters.specs[weight].name.trim_end_matches(".weight").to_owned();
            let (kernels, written) = (Vec::new(), 0);
            layers.push(Layer { name, kernels, output, parameters: 0, multiply_adds: 0, written, field: 1.0 });
        }
        let Some(layer) = layers.last_mut() else { continue };
        layer.kernels.push(recorded.step().name());
        layer.parameters += used.iter().map(|&index| parameters.specs[index].count()).sum::<usize>();
        layer.multiply_adds += recorded.step().multiply_adds();
        layer.written +=
            recorded.accesses().iter().filter(|a| a.writes()).filter_map(|a| Some(a.tensor()?.bytes())).sum::<usize>();
        let side_of = |tensor: Tensor| tensor.shape[1] as f64;
        let inputs = activations.iter().filter_map(|&tensor| {
            let overlapping = fields.iter().filter(|field| field.region.overlaps(&region(tensor)));
            let widest = overlapping.max_by(|a, b| a.side.total_cmp(&b.side))?;
            Some((widest.side, widest.jump, whole(side_of(tensor) / side_of(output))))
        });
        if let Some((side, jump, shrinking)) = inputs.max_by(|a, b| a.0.total_cmp(&b.0)) {
            let taps = recorded.step().receptive_field() as f64;
            let side = side + (taps - 1.0) * jump;
            fields.push(Field { region: region(output), side, jump: jump * shrinking });
            (layer.output, layer.field) = (output, side);
        }
    }
    layers
}

/// A ratio of sides as a whole number, or one over a whole number: borders that a convolution loses or adds do not
/// count.
fn whole(shrinking: f64) -> f64 {
    if shrinking >= 1.0 { shrinking.round() } else { 1.0 / (1.0 / shrinking).round() }
}

/// Formats `layers` as the lines of a table: a header line, a line for each layer, and a line of totals.
pub fn describe(layers: &[Layer]) -> Vec<String> {
    let heads = ["layer", "kernels", "output", "parameters", "multiply-adds", "activations", "field"];
    let mut rows = vec![heads.map(str::to_owned)];
    let sum = |count: fn(&Layer) -> usize| layers.iter().map(count).sum::<usize>();
    for layer in layers {
        rows.push([
            layer.name.clone(),
            layer.kernels.join(" "),
            grid(layer.output.shape),
            count(layer.parameters),
            count(layer.multiply_adds),
            bytes(layer.written),
            format!("{:.0}", layer.field.ceil()),
        ]);
    }
    rows.push([
        "all".to_owned(),
        String::new(),
        String::new(),
        count(sum(|layer| layer.parameters)),
        count(sum(|layer| layer.multiply_adds)),
        bytes(sum(|layer| layer.written)),
        String::new(),
    ]);
    table(&rows, 3)
}
