//! Pix2Pix: the networks, which only record ops onto a tape, and the training step made of them.
//!
//! A network first lists its parameters by PyTorch name ([`ParameterSpec`]), then records its forward pass over them,
//! as often as a step needs it. An [`Objective`] lists networks and loss terms and records the step; [`Pix2Pix`] is
//! one.

mod architecture;
mod init;
mod objective;
mod parameters;
mod patchgan;
mod pix2pix;
mod precision;
mod recipe;
mod recorder;
mod unet;

pub use architecture::{BlockOrder, DropoutAt, GeneratorKind, LastLayer, Norm, ReceptiveField};
pub use init::{Init, InitKind};
pub use objective::{Architecture, Network, Objective, StepShape, Term, TermValue, term_values};
pub use parameters::{ParameterSpec, Parameters, Role};
pub use patchgan::{PatchGan, PatchGanOutput};
pub use pix2pix::{GanLoss, Pix2Pix, PixelLoss, StepOrder};
pub use precision::Precision;
pub use recipe::{PUBLISHED_CHANNELS, PUBLISHED_SIDE, Recipe};
pub use recorder::{MicroBatch, RecordedNetwork, Recorder, TrainingStep};
pub(crate) use unet::Way;
pub use unet::{Draws, UNet};
