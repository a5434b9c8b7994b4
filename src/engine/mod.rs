//! The training engine: tensors, the autograd tape, the planner, the ops and the devices. It knows no pictures, no
//! networks and no settings.

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
