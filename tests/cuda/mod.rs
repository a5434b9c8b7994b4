//! The CUDA device: the same modules run on the simulator (in `tests/main.rs`) and on a GPU (in `tests/gpu.rs`).

mod cast;
mod channels;
mod device;
pub mod driver;
mod epilogues;
mod joined;
mod norms;
mod ops;
mod pairs;
mod program;
mod resident;
mod tiles;
mod training;
mod updates;
