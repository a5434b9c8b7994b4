//! The precision of training and translation.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::engine::tensor::DType;

/// The number format of a network's activations and their gradients, and of the operands of its convolutions. Sums,
/// statistics, losses, weights and Adam's moments are of f32 in any case; so are pictures and the discriminator's map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats throughout.
    #[default]
    F32,
    /// bfloat16, with 8 of f32's 24 bits: activations are rounded where they are written, weights where they are read.
    Bf16,
}

impl Precision {
    /// The number format of the activations.
    pub fn activations(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::Bf16,
        }
    }
}
