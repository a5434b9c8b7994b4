//! The training engine: tensors, the autograd tape, the planner, the ops and the devices. It knows nothing of pictures,
//! networks and settings.

pub mod access;
pub mod device;
pub mod kernel;
pub mod ops;
pub mod philox;
pub mod plan;
pub mod program;
pub mod rewrite;
pub mod samples;
pub mod simd;
pub mod tape;
pub mod tensor;
