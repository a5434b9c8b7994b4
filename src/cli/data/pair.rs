//! The arguments of `pixtape data pair`.

use std::path::PathBuf;

use crate::prepare::pair::Request;
use clap::Args;

const EXAMPLE: &str = "\
Example: photos/house.jpg and labels/house.png become pairs/house.png
  pixtape data pair --a photos --b labels --out pairs";

/// Join two folders of pictures into side-by-side pairs
///
/// Pictures of the same name (without its ending; case and Unicode form count only where two names differ in nothing
/// else) become one PNG, A in its left half and B in its right half. Where the folders have train/, val/ and test/,
/// these are kept. A pair is as deep as the deeper of its pictures (8 or 16 bits), in colour when one of them is, and
/// has an alpha channel when one has it. Pictures without a partner and pairs of two sizes are named before anything is
/// written.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLE)]
pub struct PairArgs {
    /// Folder of the pictures for the left halves.
    #[arg(long, value_name = "DIR")]
    pub a: PathBuf,

    /// Folder of the pictures for the right halves.
    #[arg(long, value_name = "DIR")]
    pub b: PathBuf,

    /// Folder for the pairs, a new one.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Resize B where it differs in size from A, but not in shape (bicubic: it mixes the colours of label maps along
    /// their borders).
    #[arg(long)]
    pub resize: bool,
}

impl PairArgs {
    pub fn request(self) -> Request {
        let PairArgs { a, b, out, resize } = self;
        Request { a, b, out, resize }
    }
}
