//! Coming and going: weights of PyTorch programs, and models for them and for other runtimes.

pub mod export;
pub mod import;
mod weights;

pub use weights::Weights;
