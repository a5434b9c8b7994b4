//! The measurement of a training step: times on the CPU and on a GPU, counts and modelled times on the simulated GPU.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cache::memory_bytes;
use super::machine_code::MachineCode;
use super::model::{Load, TimeModel};
use super::rows::{Launch, Line, Operand, Profile, Row, Total, joined};
use crate::base::progress::Progress;
use crate::engine::access::{Access, Control};
use crate::engine::device::cuda::counts::{Event, LaunchCounts, LineCounts};
use crate::engine::device::cuda::{Cuda, Pair, TimedLaunch};
use crate::engine::device::{Device, DeviceId, DeviceOptions};
use crate::engine::philox::{Purpose, Stream};
use crate::engine::plan::Dependencies;
use crate::engine::program::{Program, RecordedStep};
use crate::engine::tensor::Tensor;
use crate::gan::{Init, InitKind, Pix2Pix, RecordedNetwork, TrainingStep};

/// Executions before the times count: a GPU replays the second one as a graph for the first time.
const WARM_UP: usize = 2;

/// Executions whose least times count.
const EXECUTIONS: usize = 5;

/// Blocks of a launch that the simulator counts.
const COUNTED_BLOCKS: usize = 32;

/// Bytes of a sector of global memory.
const SECTOR: u64 = 32;

const CONTROL: Control = Control { seed: 1, step: 0, learning_rate: 2e-4 };

/// Profiles the training step of `objective`, which is called `subject`, on `device`; times on the simulated GPU are
/// those of `model`.
///
/// # Errors
/// When the memory does not suffice, or the device cannot be used.
pub fn profile(subject: String, objective: &Pix2Pix, device: DeviceId, model: &TimeModel) -> Result<Profile> {
    let recorded = TrainingStep::record(objective)?;
    let TrainingStep { program, networks, input, target, .. } = recorded;
    let batch = objective.pairs_per_step();
    let mut device = Device::new(program, CONTROL, device, DeviceOptions::default())?;
    let name = match &device {
        Device::Cpu(_) => "the CPU".to_owned(),
        Device::Cuda(cuda) => cuda.info().name.clone(),
    };
    let (mut rows, whole) = match &mut device {
        Device::Cuda(cuda) if cuda.info().is_simulated => (counted(cuda, model)?, None),
        _ => {
            fill(&mut device, &networks, [input, target])?;
            timed(&mut device, model)?
        }
    };
    let pairs = match &device {
        Device::Cpu(_) => &[],
        Device::Cuda(cuda) => cuda.pairs(),
    };
    pairs.iter().for_each(|&pair| run_beside(&mut rows, pair, model));
    let of_steps: Vec<f64> = rows.iter().map(|launches| launches.iter().filter_map(Row::time).sum()).collect();
    let chain = longest_chain(device.program(), &of_steps);
    let critical: Vec<bool> =
        rows.iter().zip(&chain).flat_map(|(launches, &is)| launches.iter().map(move |_| is)).collect();
    let rows = rows.concat();
    let modelled = |us: f64| whole.is_none().then_some(us);
    let step = Total {
        launches: rows.len() - pairs.len(),
        us: whole,
        model_us: modelled(of_steps.iter().sum()),
        critical_us: modelled(of_steps.iter().zip(&chain).map(|(us, &is)| if is { *us } else { 0.0 }).sum()),
        floor_us: modelled(floor(&rows, model)),
    };
    let times: Vec<f64> = rows.iter().map(|row| row.time().unwrap_or(0.0)).collect();
    let (kernels, indices) = joined(rows);
    let launch = |((row, us), critical)| Launch { row, us, critical };
    let timeline = indices.into_iter().zip(times).zip(critical).map(launch).collect();
    Ok(Profile {
        subject,
        device: name,
        batch,
        modelled: modelled(0.0).map(|_| model.name.clone()),
        kernels,
        timeline,
        step,
    })
}

/// Writes values as of an early training to the parameters of `networks` and to `pictures`: a step over zeros would
/// take another time.
///
/// # Errors
/// When the device fails.
pub fn fill(device: &mut Device, networks: &[RecordedNetwork], pictures: [Tensor; 2]) -> Result<()> {
    let init = Init { kind: InitKind::Normal, gain: 0.02 };
    let all = networks.iter().map(|network| &network.parameters);
    let all = all.flat_map(|parameters| (0..parameters.specs.len()).map(move |index| (parameters, index)));
    for (number, (parameters, index)) in all.enumerate() {
        let values = init.values(&parameters.specs[index], 1, number as u64);
        device.write(parameters.part(parameters.values, index), &values)?;
    }
    let mut draws = Stream::new(1, Purpose::Facade, 0);
    for picture in pictures {
        let values: Vec<f32> = (0..picture.count()).map(|_| draws.range(-1.0, 1.0)).collect();
        device.write(picture, &values)?;
    }
    Ok(())
}

/// The row of a step, without anything that is counted or measured.
fn row(recorded: &RecordedStep) -> Row {
    let tensors = || recorded.accesses().iter().filter_map(|access| Some((access, access.tensor()?)));
    let bytes = |(access, tensor): (&Access, Tensor)| match access {
        Access::Update(_) => 2 * tensor.bytes(),
        _ => tensor.bytes(),
    };
    Row {
        layer: recorded.layer().to_owned(),
        kernel: recorded.step().name().to_owned(),
        launches: 1,
        blocks: None,
        waves: None,
        flop: 2 * recorded.step().multiply_adds() as u64,
        distinct_bytes: tensors().map(bytes).sum::<usize>() as u64,
        l2_bytes: None,
        coalesced: None,
        shared_excess: None,
        issue_slots: None,
        registers: None,
        shared_bytes: None,
        us: None,
        model_us: None,
        beside: None,
        load: None,
        bound: None,
        memory_bytes: 0,
        operands: tensors().map(|(access, tensor)| operand(access, tensor)).collect(),
        implementation: None,
        lines: Vec::new(),
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

/// The rows of each step, and the microseconds of the whole, on the CPU or a real GPU: the least of several executions.
fn timed(device: &mut Device, model: &TimeModel) -> Result<(Vec<Vec<Row>>, Option<f64>)> {
    let microseconds = |time: &Duration| time.as_secs_f64() * 1e6;
    let progress = Progress::for_jobs("Measuring", (WARM_UP + 2 * EXECUTIONS) as u64);
    for _ in 0..WARM_UP {
        device.execute()?;
        device.wait()?;
        progress.advance(1);
    }
    let whole = match device {
        Device::Cpu(cpu) => (0..EXECUTIONS)
            .map(|_| {
                let start = Instant::now();
                cpu.execute();
                start.elapsed()
            })
            .collect(),
        Device::Cuda(cuda) => cuda.time_executions(EXECUTIONS)?,
    };
    progress.advance(EXECUTIONS as u64);
    let whole = whole.iter().map(microseconds).fold(f64::INFINITY, f64::min);
    let mut rows: Vec<Vec<Row>> = Vec::new();
    for _ in 0..EXECUTIONS {
        let next: Vec<Vec<Row>> = match device {
            Device::Cpu(_) => {
                let times = device.execute_timed()?;
                let steps = device.program().steps().iter().zip(&times);
                steps.map(|(recorded, time)| vec![Row { us: Some(microseconds(time)), ..row(recorded) }]).collect()
            }
            Device::Cuda(cuda) => launches(cuda, model)?,
        };
        match rows.is_empty() {
            true => rows = next,
            false => {
                let pairs = rows.iter_mut().flatten().zip(next.into_iter().flatten());
                pairs.for_each(|(row, next)| row.us = row.us.zip(next.us).map(|(a, b)| a.min(b)));
            }
        }
        progress.advance(1);
    }
    Ok((rows, Some(whole)))
}

/// The rows of each step on a real GPU, one for each launch.
fn launches(cuda: &mut Cuda, model: &TimeModel) -> Result<Vec<Vec<Row>>> {
    let timed = cuda.execute_timed()?;
    let steps = cuda.program().steps().iter().zip(&timed).enumerate();
    let rows = steps.map(|(index, (recorded, launches))| {
        let implementation = cuda.implementations(index).1;
        let of_launch = move |(number, launch): (usize, &TimedLaunch)| Row {
            kernel: launch.kernel.to_owned(),
            blocks: Some(launch.blocks),
            waves: Some(launch.blocks as f64 / model.multiprocessors as f64),
            registers: Some(launch.registers),
            shared_bytes: Some(launch.shared_bytes),
            us: Some(launch.time.as_secs_f64() * 1e6),
            implementation: Some(implementation),
            ..of_number(row(recorded), number)
        };
        launches.iter().enumerate().map(of_launch).collect()
    });
    Ok(rows.collect())
}

/// `row` for launch `number` of its step: what the step needs once counts for the first alone.
fn of_number(row: Row, number: usize) -> Row {
    match number {
        0 => row,
        _ => Row { flop: 0, distinct_bytes: 0, memory_bytes: 0, ..row },
    }
}

/// The rows of each step on the simulated GPU, one for each launch.
fn counted(cuda: &mut Cuda, model: &TimeModel) -> Result<Vec<Vec<Row>>> {
    let machine_code = MachineCode::all()?;
    let progress = Progress::for_jobs("Counting", cuda.program().main_steps() as u64);
    let counts = cuda.execute_counted(COUNTED_BLOCKS, || progress.advance(1))?;
    let program = cuda.program();
    let memory = memory_bytes(program, model.l2_bytes);
    let steps = program.steps().iter().zip(&counts).enumerate();
    let rows = steps.map(|(index, (recorded, launches))| {
        let implementation = cuda.implementations(index).1;
        // What a step needs once counts for the launch that moves most.
        let l2 = |launch: &LaunchCounts| scaled(launch, |line| line.l2_sectors);
        let main = (0..launches.len()).max_by(|&a, &b| l2(&launches[a]).total_cmp(&l2(&launches[b]))).unwrap_or(0);
        let of_launch = |(number, launch): (usize, &LaunchCounts)| {
            let row = Row { memory_bytes: memory[index], implementation: Some(implementation), ..row(recorded) };
            with_counts(of_number(row, usize::from(number != main)), launch, &machine_code, model)
        };
        launches.iter().enumerate().map(of_launch).collect()
    });
    Ok(rows.collect())
}

/// The sum of a count over the lines of a launch, for all of its blocks.
fn scaled(launch: &LaunchCounts, count: impl Fn(&LineCounts) -> u64) -> f64 {
    launch.lines.iter().map(count).sum::<u64>() as f64 * scale(launch)
}

fn scale(launch: &LaunchCounts) -> f64 {
    launch.blocks as f64 / launch.blocks_counted.max(1) as f64
}

fn with_counts(row: Row, launch: &LaunchCounts, machine_code: &HashMap<String, MachineCode>, model: &TimeModel) -> Row {
    let sum = |count: fn(&LineCounts) -> u64| scaled(launch, count);
    let [sectors, least] = [sum(|line| line.sectors), sum(|line| line.least_sectors)];
    let [wavefronts, least_wavefronts] = [sum(|line| line.wavefronts), sum(|line| line.least_wavefronts)];
    let l2_bytes = sum(|line| line.l2_sectors) * SECTOR as f64;
    let requests = scaled(launch, |line| if line.event.is_access() { line.requests } else { 0 });
    let code = machine_code.get(&launch.kernel);
    let lines: Vec<Line> = launch.lines.iter().map(|line| Line::new(line, scale(launch), launch.threads)).collect();
    let waits = lines.iter().filter(|line| line.event == Event::Wait);
    let of_copies = waits.map(|line| line.bytes_in_flight).max().unwrap_or(0);
    let load = Load {
        blocks: launch.blocks as usize,
        threads: launch.threads as usize,
        registers: code.map_or(0, |code| code.registers),
        shared_bytes: launch.shared_bytes as usize,
        issue_slots: code.map_or(0.0, |code| code.issue_slots(requests)),
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
    let all_counted = launch.blocks_counted == launch.blocks;
    Row {
        kernel: launch.kernel.clone(),
        blocks: Some(load.blocks),
        waves: Some(load.blocks as f64 / model.multiprocessors as f64),
        distinct_bytes: if all_counted { launch.distinct_sectors * SECTOR } else { row.distinct_bytes },
        l2_bytes: Some(l2_bytes.round() as u64),
        coalesced: (sectors > 0.0).then_some(least / sectors),
        shared_excess: (least_wavefronts > 0.0).then_some(wavefronts / least_wavefronts),
        issue_slots: code.map(|_| load.issue_slots.round() as u64),
        registers: code.map(|code| code.registers),
        shared_bytes: Some(load.shared_bytes),
        model_us: Some(us),
        load: Some(load),
        bound: Some(bound.name()),
        lines,
        ..row
    }
}

/// Enters into the rows of two steps that they share a launch. Its modelled time is that of the sum of what both ask of
/// the GPU, and the second adds what is behind the time of the first.
fn run_beside(rows: &mut [Vec<Row>], Pair { patch, wgrad }: Pair, model: &TimeModel) {
    let [first] = &rows[patch][..] else { return };
    let (layer, load, us) = (first.layer.clone(), first.load, first.model_us);
    let [second] = &mut rows[wgrad][..] else { return };
    second.beside = Some(layer);
    if let (Some(one), Some(other), Some(us)) = (load, second.load, us) {
        let (both, bound) = model.time(&one.and(&other));
        (second.model_us, second.bound) = (Some((both - us).max(0.0)), Some(bound.name()));
    }
}

/// True for the steps of the longest chain of which each waits for the one before, by the microseconds of each step.
fn longest_chain(program: &Program, of_steps: &[f64]) -> Vec<bool> {
    let dependencies = Dependencies::new(program);
    // The earliest end of each step, and the step that it waits for longest.
    let mut ends: Vec<(f64, Option<usize>)> = Vec::new();
    for (step, us) in of_steps.iter().enumerate() {
        let waits_for = (0..step).filter(|&earlier| dependencies.ordered(earlier, step));
        let latest = waits_for.max_by(|&a, &b| ends[a].0.total_cmp(&ends[b].0));
        ends.push((latest.map_or(0.0, |latest| ends[latest].0) + us, latest));
    }
    let mut chain = vec![false; ends.len()];
    let mut next = (0..ends.len()).max_by(|&a, &b| ends[a].0.total_cmp(&ends[b].0));
    while let Some(step) = next {
        chain[step] = true;
        next = ends[step].1;
    }
    chain
}

fn floor(rows: &[Row], model: &TimeModel) -> f64 {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>() as f64;
    model.floor(sum(|row| row.flop) / 2.0, sum(|row| row.memory_bytes))
}
