//! The interface between steps and devices: the tensors that a step's body gets on the CPU, and the description of its
//! launches on CUDA. The devices, which execute whole programs, are in [`device`](super::device).

pub mod cpu;
pub mod cuda;
