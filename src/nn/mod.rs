//! The networks: modules that only record ops onto a tape.
//!
//! A network first lists its parameters by PyTorch name ([`Spec`]), then records its forward pass over them, as often as a
//! step needs it.

mod architecture;
mod init;
mod parameters;
mod patchgan;
mod state;
mod unet;

pub use architecture::{BlockOrder, DropoutAt, LastLayer, Norm, ReceptiveField, Recipe, Skips};
pub use init::{Init, InitKind};
pub use parameters::{Parameters, Role, Spec};
pub use patchgan::PatchGan;
pub use state::State;
pub(crate) use unet::Way;
pub use unet::{Draws, PUBLISHED_SIDE, UNet};
