//! Checked runs: execution in random orders over separate allocations, to find missing dependencies and, with the
//! simulator or compute-sanitizer, wrong accesses.

use anyhow::Result;

use super::Cuda;
use super::launching::{permit_shared_memory, run};
use super::memory::bytes_of;
use crate::engine::access::Access;
use crate::engine::program::Lifetime;
use crate::engine::tensor::BufferId;

impl Cuda {
    /// Runs every step of the program's main part (all but its on-demand steps) once, in a random order that keeps the
    /// dependencies (`seed` determines it), and waits for the end. On a device of [`Cuda::checked`] a transient buffer
    /// is allocated before its first use and freed after its last.
    ///
    /// # Errors
    /// When there is not enough memory, the driver refuses, a kernel has failed, or the simulator has found a wrong
    /// access.
    pub fn execute_shuffled(&mut self, seed: u64) -> Result<()> {
        let order = self.dependencies.random_order(self.program.main, seed);
        let uses = |step: usize| {
            let tensors = self.program.steps[step].accesses.iter().filter_map(Access::tensor);
            tensors.map(|tensor| tensor.buffer).filter(|&id| self.is_transient(id)).collect::<Vec<_>>()
        };
        let uses: Vec<Vec<BufferId>> = order.iter().map(|&step| uses(step)).collect();
        for (position, &step) in order.iter().enumerate() {
            for &id in &uses[position] {
                let bytes = bytes_of(self.program.buffers.get(id));
                self.memory.allocate(&self.stream, id, bytes)?;
            }
            let launches = self.launches(step);
            permit_shared_memory(&self.gpu, &launches)?;
            launches.iter().try_for_each(|launch| run(&self.stream, &self.gpu.functions, launch))?;
            for id in uses[position].iter().filter(|id| !uses[position + 1..].iter().any(|later| later.contains(id))) {
                self.memory.free(*id);
            }
        }
        self.wait()
    }

    fn is_transient(&self, id: BufferId) -> bool {
        self.program.buffers.get(id).lifetime == Lifetime::Transient
    }
}
