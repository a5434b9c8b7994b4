//! Rows of a training step on the CPU or a real GPU: times, the least of several executions.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::measure::Rows;
use super::recorded::{of_launch, row, row_of};
use super::rows::Row;
use crate::base::progress::Progress;
use crate::engine::device::cpu::Cpu;
use crate::engine::device::cuda::{Cuda, TimedLaunch, Unit};
use crate::engine::tensor::Tensor;

/// Executions before the times count: a GPU replays the second one as a graph for the first time.
const WARM_UP: usize = 2;

/// Executions whose least times count.
const EXECUTIONS: usize = 5;

/// Returns the rows of the step on the CPU, one for each step of the program.
pub fn on_the_cpu(cpu: &mut Cpu<f32>) -> Rows {
    let progress = Progress::for_jobs("Measuring", (WARM_UP + 2 * EXECUTIONS) as u64);
    for _ in 0..WARM_UP {
        cpu.execute();
        progress.advance(1);
    }
    let whole = (0..EXECUTIONS).map(|_| {
        let start = Instant::now();
        cpu.execute();
        progress.advance(1);
        start.elapsed()
    });
    let whole = whole.map(microseconds).fold(f64::INFINITY, f64::min);
    let mut rows = Vec::new();
    for _ in 0..EXECUTIONS {
        let times = cpu.execute_timed();
        let steps = cpu.program().steps().iter().zip(times);
        let of_step = |(recorded, time)| vec![Row { us: Some(microseconds(time)), ..row(recorded) }];
        keep_least(&mut rows, steps.map(of_step).collect());
        progress.advance(1);
    }
    let units = (0..rows.len()).map(Unit::Step).collect();
    Rows { units, rows, whole: Some(whole) }
}

/// Returns the rows of the step that shows `pictures` on a real GPU, one for each launch.
///
/// # Errors
/// When the GPU fails.
pub fn on_a_gpu(cuda: &mut Cuda, pictures: [Tensor; 2]) -> Result<Rows> {
    let progress = Progress::for_jobs("Measuring", (WARM_UP + 2 * EXECUTIONS) as u64);
    for _ in 0..WARM_UP {
        cuda.execute()?;
        cuda.wait()?;
        progress.advance(1);
    }
    let whole = cuda.time_executions(EXECUTIONS)?.into_iter().map(microseconds).fold(f64::INFINITY, f64::min);
    progress.advance(EXECUTIONS as u64);
    let units = cuda.units().to_vec();
    let mut rows = Vec::new();
    for _ in 0..EXECUTIONS {
        let timed = cuda.execute_timed()?;
        let of_unit = |(&unit, launches): (&Unit, &Vec<TimedLaunch>)| -> Vec<Row> {
            let row = row_of(cuda, unit, pictures, &HashMap::new());
            let timed_row = |(number, launch): (usize, &TimedLaunch)| Row {
                kernel: launch.kernel.to_owned(),
                blocks: Some(launch.blocks),
                waves: Some(launch.blocks as f64 / cuda.info().facts.multiprocessors as f64),
                registers: Some(launch.registers),
                shared_bytes: Some(launch.shared_bytes),
                us: Some(microseconds(launch.time)),
                ..of_launch(row.clone(), number == 0)
            };
            launches.iter().enumerate().map(timed_row).collect()
        };
        let next = units.iter().zip(&timed).map(of_unit).collect();
        keep_least(&mut rows, next);
        progress.advance(1);
    }
    Ok(Rows { units, rows, whole: Some(whole) })
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Keeps the lesser time of each launch in `rows`, out of this execution and those before.
fn keep_least(rows: &mut Vec<Vec<Row>>, next: Vec<Vec<Row>>) {
    if rows.is_empty() {
        *rows = next;
        return;
    }
    let pairs = rows.iter_mut().flatten().zip(next.into_iter().flatten());
    pairs.for_each(|(row, next)| row.us = row.us.zip(next.us).map(|(a, b)| a.min(b)));
}
