//! Pix2Pix (image-to-image translation with conditional adversarial networks) on a small autograd tape of its own.

pub mod data;
pub mod philox;
