//! The arguments of `pixtape data split`.

use std::path::PathBuf;

use clap::Args;

use crate::data::Size;
use crate::prepare::split::Request;

const EXAMPLE: &str = "\
Example: four fifths to train on, a tenth to watch, a tenth to measure with
  pixtape data split pairs --out data --val 0.1 --test 0.1";

/// Divide pairs into train/, val/ and test/
///
/// Copies the pictures of DIR, which stays as it is. DIR holds side-by-side pairs, or pairs of two files of the same
/// name (house.jpg and house.png) or of two suffixes (house_A.png and house_B.png), or two folders of pictures; these
/// become A/train/, B/train/ and so on. Both files of a pair go into the same split. Which split a pair goes into
/// depends on the names of the files and on the seed alone.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLE)]
pub struct SplitArgs {
    /// Folder of the pairs.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Folder for the splits, a new one.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Share of the pairs for val/, to watch the training with; 0 for none.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub val: f64,

    /// Share of the pairs for test/, to measure the result with; 0 for none.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub test: f64,

    /// Size of the images that the pairs are for: side-by-side files whose halves are far from its shape are refused,
    /// as in training.
    #[arg(long, value_name = "SIZE", default_value = "256")]
    pub image_size: Size,

    /// Seed of the random division: another one divides another way.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl SplitArgs {
    pub fn request(self) -> Request {
        let SplitArgs { dir, out, val, test, image_size, seed } = self;
        Request { dir, out, val, test, image_size, seed }
    }
}
