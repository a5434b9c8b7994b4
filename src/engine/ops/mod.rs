//! The ops, a module each: shape rule, derivative and kernels.
//!
//! A function named after the op (`conv`, `norm_act`, `tanh`, …) checks shapes and records a step; the step's
//! [`Rule`](crate::engine::program::Rule) records the steps of the derivative. To add an op: a module here, one `mod`
//! line, and one file of its rows and shapes in `tests/ops/kinds`.

pub mod activation;
pub mod adam;
pub mod cast;
pub mod conv;
pub mod copy;
pub mod detach;
pub mod loss;
pub mod norm_act;
pub mod pool;
pub mod upsample;
