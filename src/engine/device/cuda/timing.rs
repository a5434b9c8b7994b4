//! Timing of steps, by CUDA events between them.

use std::time::Duration;

use anyhow::Result;
use cudarc::driver::sys::CUevent_flags;

use super::Cuda;
use super::errors::explain;
use super::launching::{permit_shared_memory, run};

impl Cuda {
    /// Runs every step of the program's main part (all but its on-demand steps) once, in recorded order and launched
    /// one by one, waits until all have finished, and returns the duration of each on the GPU, in this order. For
    /// measurements.
    ///
    /// # Errors
    /// When a kernel has failed, or the driver refuses the call.
    pub fn execute_timed(&mut self) -> Result<Vec<Duration>> {
        let cannot = |error| explain("cannot time the kernels", error);
        let steps = self.program.main;
        let event = |_| self.stream.context().new_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(cannot);
        let stamps = (0..=steps).map(event).collect::<Result<Vec<_>>>()?;
        let launches: Vec<_> = (0..steps).map(|step| self.launches(step)).collect();
        launches.iter().try_for_each(|launches| permit_shared_memory(&self.gpu, launches))?;
        stamps[0].record(&self.stream).map_err(cannot)?;
        for (launches, ended) in launches.iter().zip(&stamps[1..]) {
            launches.iter().try_for_each(|launch| run(&self.stream, &self.gpu.functions, launch))?;
            ended.record(&self.stream).map_err(cannot)?;
        }
        self.wait()?;
        let spans = stamps.iter().zip(&stamps[1..]);
        let times = spans.map(|(start, end)| {
            let milliseconds = start.elapsed_ms(end).map_err(cannot)?;
            Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
        });
        times.collect()
    }
}
