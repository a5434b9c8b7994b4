//! The layers of a network, read off its recorded forward pass: a layer begins where a convolution's weight is used for the
//! first time.

use super::{bytes, count, grid, table};
use crate::engine::access::Access;
use crate::engine::program::{Program, RecordedStep};
use crate::engine::tensor::{Region, Tensor};
use crate::gan::{Parameters, Role};

/// One convolution and what follows it, for one image.
pub struct Layer {
    /// PyTorch's name of the convolution.
    name: String,
    kernels: Vec<&'static str>,
    output: Tensor,
    parameters: usize,
    multiply_adds: usize,
    /// Elements that it writes.
    written: usize,
    /// Of a pixel of the output, in pixels of the input.
    field: f64,
}

/// What a pixel of a region of memory sees of the input: the side of that part, and the distance of neighbours in it.
struct Seen {
    region: Region,
    side: f64,
    jump: f64,
}

/// The layers of the network that `program` records alone, with `input` as what it sees.
pub fn layers(program: &Program, parameters: &Parameters, input: Tensor) -> Vec<Layer> {
    let region = |tensor: Tensor| program.buffers().region(tensor);
    let mut seen = vec![Seen { region: region(input), side: 1.0, jump: 1.0 }];
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
        layer.multiply_adds += multiply_adds(recorded);
        layer.written +=
            recorded.accesses().iter().filter(|a| a.writes()).filter_map(|a| Some(a.tensor()?.count())).sum::<usize>();
        let side_of = |tensor: Tensor| tensor.shape[1] as f64;
        let inputs = activations.iter().filter_map(|&tensor| {
            let overlapping = seen.iter().filter(|seen| seen.region.overlaps(&region(tensor)));
            let widest = overlapping.max_by(|a, b| a.side.total_cmp(&b.side))?;
            Some((widest.side, widest.jump, whole(side_of(tensor) / side_of(output))))
        });
        if let Some((side, jump, shrinking)) = inputs.max_by(|a, b| a.0.total_cmp(&b.0)) {
            let side = side + (taps(recorded, shrinking) - 1.0) * jump;
            seen.push(Seen { region: region(output), side, jump: jump * shrinking });
            (layer.output, layer.field) = (output, side);
        }
    }
    layers
}

/// How many times smaller the output is, or one part in how many: borders that a convolution loses or adds do not count.
fn whole(shrinking: f64) -> f64 {
    if shrinking >= 1.0 { shrinking.round() } else { 1.0 / (1.0 / shrinking).round() }
}

/// The steps that multiply by a weight: what they read first is one of the grids, and the weight comes second.
fn operands(recorded: &RecordedStep) -> Option<[Tensor; 3]> {
    let mut tensors = recorded.accesses().iter().filter_map(Access::tensor);
    let (x, weight) = (tensors.next()?, tensors.next()?);
    let out = recorded.accesses().iter().filter(|access| access.writes()).find_map(Access::tensor)?;
    Some([x, weight, out])
}

fn multiply_adds(recorded: &RecordedStep) -> usize {
    let Some([x, weight, out]) = operands(recorded) else { return 0 };
    match recorded.step().name() {
        "conv_down" => out.pixels() * weight.count(),
        "conv_up" => x.pixels() * weight.count(),
        _ => 0,
    }
}

/// Input pixels along one side that one output pixel is summed from.
fn taps(recorded: &RecordedStep, shrinking: f64) -> f64 {
    let kernel = operands(recorded).map_or(1.0, |[_, weight, _]| weight.shape[1] as f64);
    match recorded.step().name() {
        "conv_down" => kernel,
        "conv_up" => (kernel * shrinking.min(1.0)).round().max(1.0),
        _ => 1.0,
    }
}

/// The table, with a line of totals.
pub fn describe(layers: &[Layer]) -> Vec<String> {
    let heads = ["layer", "kernels", "output", "parameters", "multiply-adds", "activations", "field"];
    let mut rows = vec![heads.map(str::to_owned)];
    let sum = |of: fn(&Layer) -> usize| layers.iter().map(of).sum::<usize>();
    for layer in layers {
        rows.push([
            layer.name.clone(),
            layer.kernels.join(" "),
            grid(layer.output.shape),
            count(layer.parameters),
            count(layer.multiply_adds),
            bytes(4 * layer.written),
            format!("{:.0}", layer.field.ceil()),
        ]);
    }
    rows.push([
        "all".to_owned(),
        String::new(),
        String::new(),
        count(sum(|layer| layer.parameters)),
        count(sum(|layer| layer.multiply_adds)),
        bytes(4 * sum(|layer| layer.written)),
        String::new(),
    ]);
    table(&rows, 3)
}
