//! Pix2Pix: the networks, which only record ops onto a tape, and the training step made of them.
//!
//! A network first lists its parameters by PyTorch name ([`Spec`]), then records its forward pass over them, as often
//! as a step needs it.

mod architecture;
mod init;
mod parameters;
mod patchgan;
pub mod step;
mod unet;

pub use architecture::{BlockOrder, DropoutAt, LastLayer, Norm, ReceptiveField, Recipe, Skips};
pub use init::{Init, InitKind};
pub use parameters::{Parameters, Role, Spec};
pub use patchgan::PatchGan;
pub(crate) use unet::Way;
pub use unet::{Draws, PUBLISHED_SIDE, UNet};
