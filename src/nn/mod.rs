//! The networks: modules that only record ops onto a tape.
//!
//! A network first lists its parameters by PyTorch name ([`Spec`]), then records its forward pass over them, as often as a
//! step needs it.

mod parameters;
mod patchgan;
mod state;
mod unet;

pub use parameters::{Parameters, Spec};
pub use patchgan::PatchGan;
pub use state::State;
pub use unet::UNet;
