//! The CUDA device: the same modules run on the simulator (in `tests/main.rs`) and on a GPU (in `tests/gpu.rs`).

mod cast;
mod device;
pub mod driver;
mod joined;
mod ops;
mod program;
mod resident;
mod training;
mod updates;
