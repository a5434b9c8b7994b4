//! The kernels' side of the devices: what the body of a step is handed on the CPU, and how it says what to launch on
//! CUDA. The devices, which execute whole programs, are in [`device`](super::device).

pub mod cpu;
pub mod cuda;
