//! Pix2Pix (image-to-image translation with conditional adversarial networks) on a small autograd tape of its own.

pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod philox;
