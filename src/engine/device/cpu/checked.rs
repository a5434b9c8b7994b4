//! Checked runs: execution in random orders over guarded buffers that are NaN unless in use, to find wrong accesses and
//! missing dependencies.

use super::Cpu;
use crate::engine::access::Access;
use crate::engine::kernel::cpu::{CpuKernel, Real};
use crate::engine::program::{Lifetime, Step};
use crate::engine::tensor::{BufferId, DType};

impl<T: Real> Cpu<T>
where
    dyn Step: CpuKernel<T>,
{
    /// Runs every step of the program's main part (all but its on-demand steps) once, in a random order that keeps the
    /// dependencies; `seed` determines it. Transient buffers are NaN before their first use and after their last, so a
    /// read at the wrong time shows as NaN in the results. Only for a device of [`Cpu::checked`]: in an arena, filling
    /// a buffer with NaN would overwrite others.
    ///
    /// # Panics
    /// If a step has written to a guard, the 512 bytes before and after each buffer.
    pub fn execute_checked(&mut self, seed: u64) {
        let order = self.dependencies.random_order(self.program.main, seed);
        let transient: Vec<BufferId> =
            self.program.buffers.iter().filter(|(_, b)| b.lifetime == Lifetime::Transient).map(|(id, _)| id).collect();
        for &id in &transient {
            self.poison(id);
        }
        let last_use = |id: BufferId| {
            let uses = |step: usize| {
                self.program.steps[step].accesses.iter().filter_map(Access::tensor).any(|t| t.buffer == id)
            };
            order.iter().rposition(|&step| uses(step))
        };
        let ends: Vec<Option<usize>> = transient.iter().map(|&id| last_use(id)).collect();
        for (position, &step) in order.iter().enumerate() {
            self.run(step);
            let name = self.program.steps[step].step.name();
            assert!(self.memory.guards_intact(), "{name} (step {step}) wrote outside of its buffers");
            for (&id, _) in transient.iter().zip(&ends).filter(|(_, end)| **end == Some(position)) {
                self.poison(id);
            }
        }
    }

    /// Runs every step of the program's main part (all but its on-demand steps) once, in a random order that keeps the
    /// dependencies; `seed` determines it. For tests: the memory plan has to hold for other orders than the recorded
    /// one too.
    pub fn execute_shuffled(&mut self, seed: u64) {
        for step in self.dependencies.random_order(self.program.main, seed) {
            self.run(step);
        }
    }

    /// Fills a buffer with NaN.
    fn poison(&mut self, buffer: BufferId) {
        match self.program.buffers.get(buffer).dtype {
            DType::F32 => self.memory.f32s_mut(buffer).fill(T::nan()),
            DType::Bf16 => self.memory.bf16s_mut::<T>(buffer).fill(T::nan().to_bf16()),
        }
    }
}
