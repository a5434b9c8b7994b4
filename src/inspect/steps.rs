//! The recorded operations of a training step: a list in order, or a count for each kernel.

use super::{bytes, grid, table};
use crate::base::words::count;
use crate::engine::access::Access;
use crate::engine::program::{Program, RecordedStep};

pub fn describe(program: &Program, pairs: usize, all: bool) -> Vec<String> {
    let (main, on_demand) = program.steps().split_at(program.main_steps());
    let of_pairs = count(pairs, "pair");
    let mut lines = vec![format!(
        "Recorded: {} steps to learn from {of_pairs}, {} on demand for a sample picture",
        main.len(),
        on_demand.len()
    )];
    lines.extend(if all { list(program) } else { summary(main) });
    lines
}

fn list(program: &Program) -> Vec<String> {
    let mut rows = vec![["step", "kernel", "writes", "reads"].map(str::to_owned)];
    for (index, recorded) in program.steps().iter().enumerate() {
        let tensors = |written: bool| {
            let tensors = recorded.accesses().iter().filter(|access| access.writes() == written);
            let shown = tensors.filter_map(|access| {
                let added = if matches!(access, Access::Update(_)) { "+" } else { "" };
                Some(format!("{added}{}", grid(access.tensor()?.shape)))
            });
            shown.collect::<Vec<_>>().join(", ")
        };
        rows.push([index.to_string(), recorded.step().name().to_owned(), tensors(true), tensors(false)]);
    }
    table(&rows, 4)
}

/// Kernels in the order of the bytes that all their steps together read and write.
fn summary(steps: &[RecordedStep]) -> Vec<String> {
    let mut kernels: Vec<(&str, usize, usize)> = Vec::new();
    for recorded in steps {
        let moved = recorded.accesses().iter().filter_map(Access::tensor).map(|tensor| tensor.bytes()).sum::<usize>();
        let name = recorded.step().name();
        match kernels.iter_mut().find(|kernel| kernel.0 == name) {
            Some((_, steps, bytes)) => (*steps, *bytes) = (*steps + 1, *bytes + moved),
            None => kernels.push((name, 1, moved)),
        }
    }
    kernels.sort_by_key(|kernel| std::cmp::Reverse(kernel.2));
    let mut rows = vec![["kernel", "steps", "reads and writes"].map(str::to_owned)];
    rows.extend(kernels.iter().map(|(name, steps, moved)| [(*name).to_owned(), steps.to_string(), bytes(*moved)]));
    table(&rows, 1)
}
