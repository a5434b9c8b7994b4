//! The memory plan of a training step: the buffers that keep their contents from one training step to the next, and
//! those that share memory.

use super::{bytes, grid, table};
use crate::engine::access::Access;
use crate::engine::device::DeviceOptions;
use crate::engine::plan::{Dependencies, Plan};
use crate::engine::program::{Buffer, Lifetime, Program};
use crate::engine::tensor::{BufferId, DType};
use crate::gan::{RecordedNetwork, TrainingStep};

/// Number of buffers that are shown, unless all are.
const LARGEST: usize = 10;

struct Row {
    id: BufferId,
    what: String,
    bytes: usize,
    offset: usize,
    first: usize,
    last: usize,
}

pub fn describe(recorded: &TrainingStep, all: bool) -> Vec<String> {
    let program = &recorded.program;
    let plan = Plan::new(program, &Dependencies::new(program), DType::bytes);
    let (persistent, total) = (plan.persistent(), plan.total());
    let alone: usize = buffers(program, Lifetime::Transient).map(bytes_of).sum();
    let mut lines = vec![
        format!("Memory: {} in one arena", bytes(total)),
        format!("  {} stay from step to step (parameters, gradients, moments, pictures)", bytes(persistent)),
        format!(
            "  {} are shared by what does not, which would take {} in buffers of its own",
            bytes(total - persistent),
            bytes(alone)
        ),
    ];
    let rewritten = program.clone().rewritten(DeviceOptions::default().passes());
    let rewritten = Plan::new(&rewritten, &Dependencies::new(&rewritten), DType::bytes).total();
    if rewritten < total {
        lines.push(format!(
            "  {} as a device executes it, where weights are updated as their gradients are computed",
            bytes(rewritten)
        ));
    }
    let mut rows: Vec<Row> = program.buffers().iter().filter_map(|(id, _)| row(recorded, &plan, id)).collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.bytes), row.offset));
    if !all {
        rows.truncate(LARGEST);
        lines.push(format!("The {} largest buffers:", rows.len()));
    } else {
        rows.sort_by_key(|row| (row.offset, row.first));
    }
    let heads = ["buffer", "what", "size", "at", "steps"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let steps = format!("{}-{}", row.first, row.last);
        [row.id.to_string(), row.what.clone(), bytes(row.bytes), bytes(row.offset), steps]
    });
    lines.extend(table(&[heads].into_iter().chain(cells).collect::<Vec<_>>(), 2));
    lines
}

fn buffers(program: &Program, lifetime: Lifetime) -> impl Iterator<Item = &Buffer> {
    program.buffers().iter().map(|(_, buffer)| buffer).filter(move |buffer| buffer.lifetime == lifetime)
}

fn bytes_of(buffer: &Buffer) -> usize {
    buffer.count() * buffer.dtype.bytes()
}

/// The row of a buffer; `None` if no step touches it.
fn row(recorded: &TrainingStep, plan: &Plan, id: BufferId) -> Option<Row> {
    let touches = |index: usize| {
        let tensors = recorded.program.steps()[index].accesses().iter().filter_map(Access::tensor);
        tensors.into_iter().any(|tensor| tensor.buffer() == id)
    };
    let mut users = (0..recorded.program.steps().len()).filter(|&index| touches(index));
    let first = users.next()?;
    let last = users.next_back().unwrap_or(first);
    let buffer = recorded.program.buffers().get(id);
    let what = known(recorded, id).unwrap_or_else(|| {
        let writer = recorded.program.steps()[first].step().name();
        format!("{} of {writer}", grid(buffer.shape))
    });
    Some(Row { id, what, bytes: bytes_of(buffer), offset: plan.offset(id), first, last })
}

/// The name of a buffer that keeps its contents from one training step to the next; `None` for others.
fn known(recorded: &TrainingStep, id: BufferId) -> Option<String> {
    for RecordedNetwork { network, parameters } in &recorded.networks {
        let [first, second] = parameters.moments;
        for (what, tensor) in [
            ("parameters", parameters.values),
            ("gradients", parameters.gradients),
            ("first moments", first),
            ("second moments", second),
        ] {
            if tensor.buffer() == id {
                return Some(format!("{what} of the {}", network.name));
            }
        }
    }
    let pictures = [
        ("inputs", recorded.input),
        ("targets", recorded.target),
        ("losses", recorded.losses),
        ("preview", recorded.preview),
    ];
    pictures.into_iter().find(|(_, tensor)| tensor.buffer() == id).map(|(what, _)| what.to_owned())
}
