//! What a step's body works with on CUDA: the addresses of its tensors, and launches as plain data.

mod context;
mod control;
pub mod kernels;
mod launch;

pub use context::Context;
pub use control::DeviceControl;
pub use launch::{Argument, Grid, Launch, Ptr, PtrMut, blocks, int};

/// What a step does on CUDA.
pub trait CudaKernel {
    /// The launches that do it, in order.
    fn launches(&self, context: &Context<'_>) -> Vec<Launch>;

    /// Elements of scratch memory that [`Context::workspace`] hands to this step.
    fn workspace(&self) -> usize {
        0
    }
}
