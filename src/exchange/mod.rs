//! Weights of PyTorch programs, imported and exported, and models for other runtimes.

pub mod export;
pub mod import;
mod weights;

pub use weights::Weights;
