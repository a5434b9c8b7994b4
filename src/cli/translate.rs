//! The arguments of `pixtape translate`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::GeneratorArgs;
use crate::data::{FileFormat, Size};
use crate::translate::Request;

/// Translate images with a trained run
///
/// Images of any size: the sides are padded to what the network needs and the result is cropped back. Each output is
/// DIR/STEM.EXT, STEM being the input's name without its ending, in the format and with the bits of the input. Its
/// channels are those that the generator makes.
#[derive(Debug, Args)]
pub struct TranslateArgs {
    /// A run folder, for its newest checkpoint, a checkpoint file, or a generator alone as `export --safetensors`
    /// writes it.
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    pub model: PathBuf,

    /// Image files, or folders of them.
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,

    /// Folder for the results, made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Inputs are side-by-side pairs: translate the half that the generator takes, by the --direction of `train` or
    /// `import`.
    #[arg(long)]
    pub pairs: bool,

    /// Write this format instead of the input's.
    ///
    /// PNG and TIFF keep 8 or 16 bits, the others have 8. JPEG has a quality of 95, all others lose nothing; it cannot
    /// hold alpha, nor BMP grey with alpha.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<FileFormat>,

    /// Translate large pictures in overlapping tiles of SIZE (N or WIDTHxHEIGHT), and blend them.
    ///
    /// The network's memory is then that of a tile, and PNG and TIFF are read and written by rows: as many are in
    /// memory as a tile has, and of a TIFF a row of its strips or tiles. Inputs that are interlaced or turned by their
    /// orientation tag, and inputs and results in other formats, are in memory as a whole. Without SIZE it is the size
    /// that the run was trained at; stand it then behind the inputs or in front of another flag. The result differs
    /// from that of the whole picture: instance norm takes its statistics from the tile alone, so brightness and
    /// contrast may change from tile to tile.
    #[arg(long, value_name = "SIZE", num_args = 0..=1)]
    pub tile: Option<Option<Size>>,

    /// Pixels by which neighbouring tiles overlap at least [default: a quarter of the tile]
    ///
    /// Over these pixels one tile fades into the next along a raised cosine.
    #[arg(long, value_name = "PIXELS", requires = "tile")]
    pub overlap: Option<usize>,

    /// Draw each picture this many times: DIR/STEM-1.EXT to DIR/STEM-N.EXT.
    ///
    /// Each has a dropout of its own, all of them from the one seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=9999))]
    pub samples: usize,

    /// Batch size on a GPU: pictures or tiles of equal size in one forward pass.
    ///
    /// It changes no result and takes so many times the memory. The CPU runs one after the other whatever is asked for.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub batch: usize,

    #[command(flatten)]
    pub generator: GeneratorArgs,
}

impl TranslateArgs {
    pub fn request(self) -> Request {
        let TranslateArgs { model, inputs, out, pairs, format, tile, overlap, samples, batch, generator } = self;
        Request { model, inputs, out, pairs, format, tile, overlap, samples, batch, generator: generator.options() }
    }
}
