//! The profile of a training step, from the rows of its launches.

use anyhow::Result;

use super::counted::counted;
use super::inputs::{fill, show_pictures};
use super::model::TimeModel;
use super::peaks::Peaks;
use super::rows::{Launch, Profile, Row, Total, joined};
use super::timed::{on_a_gpu, on_the_cpu};
use crate::base::words::count;
use crate::engine::access::Control;
use crate::engine::device::cuda::Unit;
use crate::engine::device::{Device, DeviceId, DeviceOptions};
use crate::engine::plan::Dependencies;
use crate::gan::{Pix2Pix, TrainingStep};

const CONTROL: Control = Control { seed: 1, step: 0, learning_rate: 2e-4 };

/// Profiles the training step of `objective`, which is called `subject`, on `device` with `options`; times on the
/// simulated GPU are those of `model`, and the CPU has the threads of the current rayon pool.
///
/// # Errors
/// When the memory does not suffice, or the device cannot be used.
pub fn profile(
    subject: String,
    objective: &Pix2Pix,
    device: DeviceId,
    options: DeviceOptions,
    model: &TimeModel,
) -> Result<Profile> {
    let peaks = (device == DeviceId::Cpu).then(Peaks::measure).transpose()?;
    let recorded = TrainingStep::record(objective)?;
    let TrainingStep { program, networks, input, target, .. } = recorded;
    let mut device = Device::new(program, CONTROL, device, options)?;
    show_pictures(&mut device, [input, target])?;
    let (name, is_simulated) = match &device {
        Device::Cpu(_) => (format!("the CPU with {}", count(rayon::current_num_threads(), "thread")), false),
        Device::Cuda(cuda) => (cuda.info().name.clone(), cuda.info().is_simulated),
    };
    if !is_simulated {
        fill(&mut device, &networks)?;
    }
    let Rows { units, rows, whole } = match &mut device {
        Device::Cpu(cpu) => on_the_cpu(cpu),
        Device::Cuda(cuda) if is_simulated => counted(cuda, [input, target], model)?,
        Device::Cuda(cuda) => on_a_gpu(cuda, [input, target])?,
    };
    let of_units: Vec<f64> = rows.iter().map(|launches| launches.iter().filter_map(Row::time).sum()).collect();
    let chain = longest_chain(&units, &of_units, &Dependencies::new(device.program()));
    let critical: Vec<bool> =
        rows.iter().zip(&chain).flat_map(|(launches, &is)| launches.iter().map(move |_| is)).collect();
    let rows = rows.concat();
    let modelled = |us: f64| whole.is_none().then_some(us);
    let step = Total {
        launches: rows.len(),
        us: whole,
        model_us: modelled(of_units.iter().sum()),
        critical_us: modelled(of_units.iter().zip(&chain).map(|(us, &is)| if is { *us } else { 0.0 }).sum()),
        floor_us: modelled(floor(&rows, model)),
    };
    let times: Vec<f64> = rows.iter().map(|row| row.time().unwrap_or(0.0)).collect();
    let (mut kernels, indices) = joined(rows);
    if let Some(peaks) = peaks {
        kernels = kernels.into_iter().map(|row| peaks.rated(row)).collect();
    }
    let launch = |((row, us), critical)| Launch { row, us, critical };
    let timeline = indices.into_iter().zip(times).zip(critical).map(launch).collect();
    Ok(Profile {
        subject,
        device: name,
        batch: objective.pairs_per_step(),
        modelled: modelled(0.0).map(|_| model.name.clone()),
        peaks,
        kernels,
        timeline,
        step,
    })
}

/// The rows of an execution.
pub struct Rows {
    /// The units of the execution, in their order.
    pub units: Vec<Unit>,
    /// The rows of each unit, one for each launch; on the CPU one.
    pub rows: Vec<Vec<Row>>,
    /// Microseconds of the whole, where they were measured.
    pub whole: Option<f64>,
}

/// True for the units of the longest chain of which each waits for the one before, by the microseconds of each unit.
fn longest_chain(units: &[Unit], of_units: &[f64], dependencies: &Dependencies) -> Vec<bool> {
    let steps: Vec<Vec<usize>> = units.iter().map(|unit| unit.steps()).collect();
    let waits = |earlier: usize, later: usize| {
        // Crops come first, and every launch is taken to wait for them.
        let ordered = |&a: &usize| steps[later].iter().any(|&b| a < b && dependencies.ordered(a, b));
        units[earlier] == Unit::Crops || steps[earlier].iter().any(ordered)
    };
    // The earliest end of each unit, and the one that it waits for longest.
    let mut ends: Vec<(f64, Option<usize>)> = Vec::new();
    for (unit, us) in of_units.iter().enumerate() {
        let latest = (0..unit).filter(|&earlier| waits(earlier, unit)).max_by(|&a, &b| ends[a].0.total_cmp(&ends[b].0));
        ends.push((latest.map_or(0.0, |latest| ends[latest].0) + us, latest));
    }
    let mut chain = vec![false; ends.len()];
    let mut next = (0..ends.len()).max_by(|&a, &b| ends[a].0.total_cmp(&ends[b].0));
    while let Some(unit) = next {
        chain[unit] = true;
        next = ends[unit].1;
    }
    chain
}

fn floor(rows: &[Row], model: &TimeModel) -> f64 {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>() as f64;
    model.floor(sum(|row| row.flop) / 2.0, sum(|row| row.memory_bytes))
}
