//! Timing of launches and of whole executions, by CUDA events between them.

use std::time::Duration;

use anyhow::{Error, Result};
use cudarc::driver::sys::{CUevent_flags, CUfunction_attribute};
use cudarc::driver::{CudaEvent, DriverError};

use super::errors::explain;
use super::launching::{permit_shared_memory, run};
use super::nvtx::Range;
use super::{Cuda, PICTURES, Unit};
use crate::engine::kernel::cuda::Launch;
use crate::engine::kernel::cuda::kernels::KERNELS;

/// A launch of a kernel, and how long it took on the GPU.
#[derive(Clone, Copy, Debug)]
pub struct TimedLaunch {
    pub kernel: &'static str,
    pub blocks: usize,
    /// Threads of a block.
    pub threads: usize,
    /// Bytes of shared memory of a block, static and dynamic.
    pub shared_bytes: usize,
    /// Registers of a thread.
    pub registers: usize,
    pub time: Duration,
}

impl Cuda {
    /// Runs the program's main part (all but its on-demand steps) once, its units one by one, waits until all have
    /// finished, and returns the launches of each unit, in the order of [`Cuda::units`], with their durations on the
    /// GPU. The launches of a layer are in a range of NVTX with its name. For measurements.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    pub fn execute_timed(&mut self) -> Result<Vec<Vec<TimedLaunch>>> {
        let units: Vec<Vec<Launch>> = self.units.iter().map(|&unit| self.launches_of_unit(unit)).collect();
        units.iter().try_for_each(|launches| permit_shared_memory(&self.gpu, launches))?;
        let stamps = self.events(1 + units.iter().map(Vec::len).sum::<usize>())?;
        let mut later = stamps.iter();
        let mut stamp = || later.next().map_or(Ok(()), |event| event.record(&self.stream)).map_err(cannot);
        stamp()?;
        let indices: Vec<usize> = (0..units.len()).collect();
        let layer = |unit: &usize| match self.units[*unit].steps().first() {
            Some(&step) => self.program.steps[step].layer(),
            None => PICTURES,
        };
        for of_layer in indices.chunk_by(|a, b| layer(a) == layer(b)) {
            let name = layer(&of_layer[0]);
            let _range = Range::new(if name.is_empty() { "no layer" } else { name });
            for launch in of_layer.iter().flat_map(|&unit| &units[unit]) {
                run(&self.stream, &self.gpu.functions, launch)?;
                stamp()?;
            }
        }
        self.wait()?;
        let mut spans = stamps.iter().zip(&stamps[1..]);
        let mut timed = |launch: &Launch| {
            let (start, end) = spans.next().expect("there is a stamp behind every launch");
            self.timed(launch, between(start, end)?)
        };
        units.iter().map(|launches| launches.iter().map(&mut timed).collect()).collect()
    }

    /// Runs the program's main part `executions` times as a training does ([`Cuda::execute`]: from the second time on
    /// as one CUDA graph), one directly behind the other, waits until all have finished, and returns the duration of
    /// each on the GPU. For measurements.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    ///
    /// # Panics
    /// On a device of [`Cuda::checked`].
    pub fn time_executions(&mut self, executions: usize) -> Result<Vec<Duration>> {
        let stamps = self.events(1 + executions)?;
        stamps[0].record(&self.stream).map_err(cannot)?;
        for ended in &stamps[1..] {
            let _range = Range::new("execution");
            self.execute()?;
            ended.record(&self.stream).map_err(cannot)?;
        }
        self.wait()?;
        stamps.iter().zip(&stamps[1..]).map(|(start, end)| between(start, end)).collect()
    }

    /// Runs the launches of `unit` `executions` times by themselves, waits until all have finished, and returns the sum
    /// of their durations on the GPU. For measurements: what they read is what was left in memory.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    pub fn time(&mut self, unit: Unit, executions: usize) -> Result<Duration> {
        let launches = self.launches_of_unit(unit);
        permit_shared_memory(&self.gpu, &launches)?;
        let stamps = self.events(1 + executions)?;
        stamps[0].record(&self.stream).map_err(cannot)?;
        for ended in &stamps[1..] {
            launches.iter().try_for_each(|launch| run(&self.stream, &self.gpu.functions, launch))?;
            ended.record(&self.stream).map_err(cannot)?;
        }
        self.wait()?;
        between(&stamps[0], &stamps[executions])
    }

    fn events(&self, count: usize) -> Result<Vec<CudaEvent>> {
        let event = |_| self.stream.context().new_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(cannot);
        (0..count).map(event).collect()
    }

    fn timed(&self, launch: &Launch, time: Duration) -> Result<TimedLaunch> {
        let function = &self.gpu.functions[launch.kernel];
        let attribute = |which| {
            let value = function.get_attribute(which).map_err(|error| explain("cannot look at the kernels", error))?;
            Ok::<usize, anyhow::Error>(value.max(0) as usize)
        };
        let size = |sizes: [u32; 3]| sizes.iter().map(|&size| size as usize).product();
        Ok(TimedLaunch {
            kernel: KERNELS[launch.kernel].name,
            blocks: size(launch.grid.sizes()),
            threads: size(launch.block.sizes()),
            shared_bytes: launch.shared + attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
            registers: attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            time,
        })
    }
}

/// The time from one event to the next, both of which have happened.
fn between(start: &CudaEvent, end: &CudaEvent) -> Result<Duration> {
    let milliseconds = start.elapsed_ms(end).map_err(cannot)?;
    Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
}

fn cannot(error: DriverError) -> Error {
    explain("cannot time the kernels", error)
}
