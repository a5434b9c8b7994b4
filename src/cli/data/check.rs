//! The arguments of `pixtape data check`.

use std::path::PathBuf;

use clap::Args;

use crate::data::{Direction, Preprocess, Size};
use crate::prepare::check::Request;

/// Tell what is found in a folder of pairs, and whether all of it can be used
///
/// Decodes every file of train/, val/ and test/ and says how pairs are laid out, how many there are, of which sizes and
/// kinds, and which files are skipped and why. The exit status is 1 when there are no pairs or `train` or `evaluate`
/// would refuse some of them. The flags mean what they mean to `pixtape train`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Folder of pairs.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// The side of a pair that is the input; the other one is the target [default: a-to-b]
    #[arg(long)]
    pub direction: Option<Direction>,

    /// Size of the images that the networks are to see [default: 256]
    #[arg(long, value_name = "SIZE")]
    pub image_size: Option<Size>,

    /// Preprocessing that brings files to the image size [default: resize-and-crop]
    #[arg(long)]
    pub preprocess: Option<Preprocess>,

    /// Size to scale to before cropping, for --preprocess scale-width-and-crop [default: 286/256 of the image size]
    #[arg(long, value_name = "SIZE")]
    pub load_size: Option<Size>,
}

impl CheckArgs {
    pub fn request(self) -> Request {
        let CheckArgs { dir, direction, image_size, preprocess, load_size } = self;
        Request { dir, direction, image_size, preprocess, load_size }
    }
}
