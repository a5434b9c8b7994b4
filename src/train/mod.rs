//! Training: what a step is, and the loop around it.

pub mod step;
