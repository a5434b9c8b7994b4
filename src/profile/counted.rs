//! Rows of a training step on the simulated GPU: counts, and the times that a model makes of them.

use std::collections::BTreeMap;

use anyhow::Result;

use super::cache::memory_bytes;
use super::machine_code::{HotLoop, MachineCode};
use super::measure::Rows;
use super::model::{Load, TimeModel};
use super::recorded::{accesses_in_order, of_launch, row_of};
use super::rows::{Line, Row, coalesced, shared_excess};
use crate::base::progress::Progress;
use crate::engine::device::cuda::counts::{Event, LaunchCounts, LineCounts};
use crate::engine::device::cuda::{Cuda, Unit};
use crate::engine::tensor::Tensor;

/// Blocks of a launch that the simulator counts.
const COUNTED_BLOCKS: usize = 32;

/// Bytes of a sector of global memory.
const SECTOR: u64 = 32;

/// Returns the rows of the step that shows `pictures`, with its launches as `cuda`, the simulated GPU, counts them and
/// `model` has them take time.
///
/// # Errors
/// When the GPU is not the simulator's check build, or it refuses a launch.
pub fn counted(cuda: &mut Cuda, pictures: [Tensor; 2], model: &TimeModel) -> Result<Rows> {
    let machine_code = MachineCode::all()?;
    let memory = memory_bytes(&accesses_in_order(cuda, pictures), model.l2_bytes);
    let units = cuda.units().to_vec();
    let progress = Progress::for_jobs("Counting", units.len() as u64);
    let mut rows = Vec::new();
    for &unit in &units {
        rows.push(match unit {
            Unit::Pair { patch, wgrad } => {
                let kernel = cuda.kernels(unit).join(" ");
                let joint = machine_code.get(&kernel);
                let mut of_step = |step: usize| -> Result<Row> {
                    let unit = Unit::Step(step);
                    let launches = cuda.count(unit, COUNTED_BLOCKS)?;
                    let row = row_of(cuda, unit, pictures, &memory);
                    let own = machine_code.get(&launches[0].kernel);
                    // The loop of a part is what the compiler has made of it beside the other.
                    let hot = joint.zip(own).and_then(|(joint, own)| joint.loop_like(own));
                    Ok(with_counts(row, &launches[0], own, hot, model))
                };
                let (patch, wgrad) = (of_step(patch)?, of_step(wgrad)?);
                vec![side_by_side(patch, wgrad, kernel, joint, model)]
            }
            _ => {
                let launches = cuda.count(unit, COUNTED_BLOCKS)?;
                // The needs of the step count for the launch that moves most.
                let l2 = |launch: &LaunchCounts| scaled(launch, |line| line.l2_sectors);
                let main =
                    (0..launches.len()).max_by(|&a, &b| l2(&launches[a]).total_cmp(&l2(&launches[b]))).unwrap_or(0);
                let row = row_of(cuda, unit, pictures, &memory);
                let counted_row = |(number, launch): (usize, &LaunchCounts)| {
                    let code = machine_code.get(&launch.kernel);
                    let hot = code.and_then(|code| code.loops.first());
                    with_counts(of_launch(row.clone(), number == main), launch, code, hot, model)
                };
                launches.iter().enumerate().map(counted_row).collect()
            }
        });
        progress.advance(1);
    }
    Ok(Rows { units, rows, whole: None })
}

/// The sum of a count over the lines of a launch, for all of its blocks.
fn scaled(launch: &LaunchCounts, count: impl Fn(&LineCounts) -> u64) -> f64 {
    launch.lines.iter().map(count).sum::<u64>() as f64 * scale(launch)
}

fn scale(launch: &LaunchCounts) -> f64 {
    launch.blocks as f64 / launch.blocks_counted.max(1) as f64
}

/// `row` with the counts of its launch, whose kernel has this machine code and spends its time in this loop.
fn with_counts(
    row: Row,
    launch: &LaunchCounts,
    code: Option<&MachineCode>,
    hot: Option<&HotLoop>,
    model: &TimeModel,
) -> Row {
    let sum = |count: fn(&LineCounts) -> u64| scaled(launch, count);
    let wavefronts = sum(|line| line.wavefronts);
    let l2_bytes = sum(|line| line.l2_sectors) * SECTOR as f64;
    let requests = scaled(launch, |line| if line.event.is_access() { line.requests } else { 0 });
    let lines: Vec<Line> = launch.lines.iter().map(|line| Line::new(line, scale(launch), launch.threads)).collect();
    let waits = lines.iter().filter(|line| line.event == Event::Wait);
    let of_copies = waits.map(|line| line.bytes_in_flight).max().unwrap_or(0);
    let load = Load {
        blocks: launch.blocks as usize,
        threads: launch.threads as usize,
        registers: code.map_or(0, |code| code.registers),
        shared_bytes: launch.shared_bytes as usize,
        issue_slots: hot.map_or(0.0, |hot| hot.issue_slots(requests)),
        wavefronts,
        lines: sum(|line| line.lines),
        l2_bytes,
        l2_read_bytes: scaled(launch, |line| if line.event.reads_global() { line.l2_sectors * SECTOR } else { 0 }),
        memory_bytes: row.memory_bytes as f64,
        products: sum(|line| line.multiply_adds),
        bytes_in_flight: f64::max(
            of_copies as f64,
            code.map_or(0.0, |code| (launch.threads as usize * code.under_way) as f64),
        ),
    };
    let (us, bound) = model.time(&load);
    // The needs of other launches of the step are not recorded: the counted sectors stand for them.
    let distinct = launch.distinct_sectors as f64 * SECTOR as f64 * scale(launch);
    Row {
        kernel: launch.kernel.clone(),
        blocks: Some(load.blocks),
        waves: Some(load.blocks as f64 / model.multiprocessors as f64),
        distinct_bytes: if row.distinct_bytes > 0 { row.distinct_bytes } else { distinct.round() as u64 },
        l2_bytes: Some(l2_bytes.round() as u64),
        coalesced: coalesced(&lines),
        shared_excess: shared_excess(&lines),
        issue_slots: hot.map(|_| load.issue_slots.round() as u64),
        registers: code.map(|code| code.registers),
        shared_bytes: Some(load.shared_bytes),
        model_us: Some(us),
        load: Some(load),
        resource_us: by_name(model, &load),
        bound: Some(bound.name()),
        lines,
        ..row
    }
}

/// The row of a launch of `kernel`, whose blocks do the work of two rows: they ask for the sum of both, have the
/// registers of the kernel, and take as long as the longer of the two at least.
fn side_by_side(patch: Row, wgrad: Row, kernel: String, code: Option<&MachineCode>, model: &TimeModel) -> Row {
    let row = Row::side_by_side(patch, wgrad);
    let registers = code.map(|code| code.registers);
    let load = row.load.map(|load| Load { registers: registers.unwrap_or(load.registers), ..load });
    let of_sum = load.map(|load| model.time(&load)).map(|(us, bound)| (us, bound.name()));
    let of_parts = row.parts.iter().filter_map(|part| part.model_us.zip(part.bound));
    let (us, bound) = of_parts.chain(of_sum).max_by(|(a, _), (b, _)| a.total_cmp(b)).unzip();
    let resource_us = load.map(|load| by_name(model, &load)).unwrap_or_default();
    Row { kernel, registers, load, model_us: us, resource_us, bound, ..row }
}

/// The modelled microseconds of a launch by the name of each resource.
fn by_name(model: &TimeModel, load: &Load) -> BTreeMap<&'static str, f64> {
    model.times(load).into_iter().map(|(bound, us)| (bound.name(), us)).collect()
}
