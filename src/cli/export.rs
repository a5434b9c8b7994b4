//! The arguments of `pixtape export`.

use std::path::PathBuf;

use crate::exchange::export::Request;
use clap::{ArgGroup, Args};

/// Hand a trained network on: to PyTorch, or to any runtime that reads ONNX
///
/// The safetensors file has the names and layouts of a PyTorch state_dict and says in its header which generator it is.
/// The ONNX file (opset 17, f32, dropout off) takes batches of any size, of pictures whose sides are multiples of
/// 2^depth.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["onnx", "safetensors"]).required(true).multiple(true))]
pub struct ExportArgs {
    /// A run folder, for its newest checkpoint, a checkpoint file, an imported file, or weights alone.
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    pub model: PathBuf,

    /// Write a network's weights for PyTorch. Replaced if it is there.
    #[arg(long, value_name = "FILE")]
    pub safetensors: Option<PathBuf>,

    /// Write the generator as an ONNX graph. Replaced if it is there.
    #[arg(long, value_name = "FILE")]
    pub onnx: Option<PathBuf>,

    /// The network whose weights --safetensors writes: generator, discriminator, or another one of the run's.
    #[arg(long, value_name = "NAME", default_value = "generator", requires = "safetensors")]
    pub network: String,
}

impl ExportArgs {
    pub fn request(self) -> Request {
        let ExportArgs { model, safetensors, onnx, network } = self;
        Request { model, safetensors, onnx, network }
    }
}
