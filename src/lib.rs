//! Pix2Pix (image-to-image translation with conditional adversarial networks) on a small autograd tape of its own.
//!
//! A training step is recorded once on a [`tape`], [planned](plan) into one block of memory and executed again and again by a
//! [`device`]. The [ops] know how to record themselves and their derivatives; the [networks](nn) only record ops.

mod bytes;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod data;
pub mod device;
pub mod evaluate;
pub mod exchange;
mod files;
pub mod inspect;
mod memory;
pub mod metrics;
pub mod nn;
pub mod ops;
pub mod philox;
pub mod plan;
pub mod prepare;
pub mod program;
mod progress;
pub mod report;
pub mod tape;
pub mod tensor;
pub mod train;
pub mod translate;
mod words;
