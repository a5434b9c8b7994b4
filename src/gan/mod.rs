//! Pix2Pix: the networks, which only record ops onto a tape, and the training step made of them.
//!
//! A network first lists its parameters by PyTorch name ([`Spec`]), then records its forward pass over them, as often
//! as a step needs it. An [`Objective`] lists networks and loss terms and records the step; [`Pix2Pix`] is one.

mod architecture;
mod init;
mod objective;
mod parameters;
mod patchgan;
mod pix2pix;
mod recipe;
mod recorder;
mod unet;

pub use architecture::{BlockOrder, DropoutAt, LastLayer, Norm, ReceptiveField, Skips};
pub use init::{Init, InitKind};
pub use objective::{Architecture, Network, Objective, StepShape, Term, Value, values};
pub use parameters::{Parameters, Role, Spec};
pub use patchgan::{PatchGan, PatchGanOutput};
pub use pix2pix::{GanLoss, Pix2Pix, PixelLoss, StepOrder};
pub use recipe::{PUBLISHED_SIDE, PUBLISHED_WIDTH, Recipe};
pub use recorder::{Batch, Recorder, Trained, TrainingStep};
pub(crate) use unet::Way;
pub use unet::{Draws, UNet};
