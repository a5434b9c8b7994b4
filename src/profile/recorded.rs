//! The rows of what is launched together, with what follows from the recorded step alone.

use std::collections::HashMap;

use super::rows::{Operand, Row};
use crate::engine::access::Access;
use crate::engine::device::cuda::{Cuda, PICTURES, Unit};
use crate::engine::program::{Program, RecordedStep};
use crate::engine::tensor::Tensor;

/// The row of a step, without anything that is counted or measured.
pub fn row(recorded: &RecordedStep) -> Row {
    let tensors = || recorded.accesses().iter().filter_map(|access| Some((access, access.tensor()?)));
    let operands: Vec<Operand> = tensors().map(|(access, tensor)| operand(access, tensor)).collect();
    let bytes = |(access, tensor): (&Access, Tensor)| match access {
        Access::Update(_) => 2 * tensor.bytes(),
        _ => tensor.bytes(),
    };
    Row {
        layer: recorded.layer().to_owned(),
        kernel: recorded.step().name().to_owned(),
        flop: 2 * recorded.step().multiply_adds() as u64,
        distinct_bytes: tensors().map(bytes).sum::<usize>() as u64,
        operands,
        launches: 1,
        ..Row::default()
    }
}

fn operand(access: &Access, tensor: Tensor) -> Operand {
    let access = match access {
        Access::Update(_) => "update",
        access if access.writes() => "write",
        _ => "read",
    };
    Operand { access, shape: tensor.shape, stride: tensor.stride, element: tensor.dtype().bytes() }
}

/// The tensors that crops fill: `pictures`, and those that the program copies of them.
fn crops(program: &Program, pictures: [Tensor; 2]) -> Vec<Access> {
    let copies = |picture: Tensor| program.host_copies_of(picture).map(|copy| copy.to);
    let written = pictures.into_iter().flat_map(|picture| [picture].into_iter().chain(copies(picture)));
    written.map(Access::Write).collect()
}

/// The accesses of each step and of the crops, in the order in which the GPU executes them; of steps that share a
/// launch one after the other.
pub fn accesses_in_order(cuda: &Cuda, pictures: [Tensor; 2]) -> Vec<(Unit, Vec<Access>)> {
    let program = cuda.program();
    let of_step = |step: usize| (Unit::Step(step), program.steps()[step].accesses().to_vec());
    let of_unit = |unit: &Unit| match *unit {
        Unit::Crops => vec![(Unit::Crops, crops(program, pictures))],
        unit => unit.steps().into_iter().map(of_step).collect(),
    };
    cuda.units().iter().flat_map(of_unit).collect()
}

/// The row of the launches that fill `pictures` with crops.
fn crops_row(program: &Program, pictures: [Tensor; 2], memory: &HashMap<Unit, u64>) -> Row {
    let samples = |picture: Tensor| {
        let (shape, stride, element) = (picture.shape, picture.channels(), size_of::<u16>());
        Operand { access: "read", shape, stride, element }
    };
    let samples = pictures.map(samples);
    let written = crops(program, pictures);
    let written = written.iter().filter_map(|access| Some(operand(access, access.tensor()?)));
    let bytes = |operand: &Operand| (operand.shape.iter().product::<usize>() * operand.element) as u64;
    let read = samples.iter().map(bytes).sum::<u64>();
    let operands: Vec<Operand> = samples.into_iter().chain(written).collect();
    Row {
        layer: PICTURES.to_owned(),
        distinct_bytes: operands.iter().map(bytes).sum(),
        // Samples of other pairs than those of the step before are not in L2.
        memory_bytes: read + memory.get(&Unit::Crops).copied().unwrap_or(0),
        operands,
        launches: 1,
        ..Row::default()
    }
}

/// The row of a unit on a GPU, without anything that is counted or measured but `memory`, the bytes of the steps and of
/// the crops between L2 and memory.
pub fn row_of(cuda: &Cuda, unit: Unit, pictures: [Tensor; 2], memory: &HashMap<Unit, u64>) -> Row {
    let of_step = |step: usize| Row {
        implementation: Some(cuda.implementations(step).1),
        memory_bytes: memory.get(&Unit::Step(step)).copied().unwrap_or(0),
        ..row(&cuda.program().steps()[step])
    };
    match unit {
        Unit::Crops => crops_row(cuda.program(), pictures, memory),
        Unit::Step(step) => of_step(step),
        Unit::Pair { patch, wgrad } => Row::side_by_side(of_step(patch), of_step(wgrad)),
    }
}

/// `row` for a launch of its step: what the step needs once counts for one of them, the `main` one.
pub fn of_launch(row: Row, main: bool) -> Row {
    if main { row } else { Row { flop: 0, distinct_bytes: 0, memory_bytes: 0, ..row } }
}
