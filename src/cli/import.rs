//! The arguments of `pixtape import`.

use std::path::PathBuf;

use clap::Args;

use crate::data::Direction;
use crate::exchange::import::Request;

/// Bring in the generator of a PyTorch program
///
/// Takes a file of torch.save or of safetensors: the state_dict of the authors' generator (*_net_G.pth of unet_256 or
/// unet_128, batch or instance norm), of GeneratorUNet, or of the generator with BlockCK blocks; alone, or in a
/// checkpoint beside other things. Recipe, width, depth and channels are read off the tensors. Nothing in the file is
/// executed: one that asks for anything but tensors is refused.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file of torch.save, usually .pth or .pt, or a .safetensors file; also one that `export` has written.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The file to write, which translate takes like a checkpoint. Replaced if it is there.
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,

    /// Direction of the generator, the side of a pair that it takes and the one that it makes, for `evaluate` and
    /// `translate --pairs` [default: a-to-b]
    ///
    /// The tensors do not say; what `export` has written says it in its header. Of the authors' networks those from
    /// labels or maps to photographs are b-to-a, as in training.
    #[arg(long)]
    pub direction: Option<Direction>,

    /// Use the statistics that the batch norms have stored, as model.eval() does (the authors' --eval).
    ///
    /// Without it they use those of the image at hand, which is what the authors' test.py does unless told otherwise.
    #[arg(long)]
    pub running_stats: bool,
}

impl ImportArgs {
    pub fn request(self) -> Request {
        let ImportArgs { file, out, direction, running_stats } = self;
        Request { file, out, direction, running_stats }
    }
}
