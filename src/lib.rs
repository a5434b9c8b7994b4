//! Pix2Pix (image-to-image translation with conditional adversarial networks) on a small autograd tape of its own.
//!
//! Three layers, each of which imports only those before it in this list:
//!
//! 1. The [`engine`]: a training step is recorded once on a [`tape`](engine::tape), [planned](engine::plan) into one
//!    block of memory and executed again and again by a [`device`](engine::device).
//! 2. The [`gan`]: networks and the training step, which only record [ops](engine::ops).
//! 3. The program around them: pictures, settings, commands.

mod base;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod data;
pub mod engine;
pub mod evaluate;
pub mod exchange;
pub mod gan;
pub mod inspect;
pub mod metrics;
pub mod prepare;
pub mod profile;
pub mod report;
pub mod train;
pub mod translate;
