//! The arguments of `pixtape data make`.

use std::path::PathBuf;

use clap::Args;

use crate::data::Size;
use crate::prepare::make::{Kind, Request};

const EXAMPLE: &str = "\
Example: learn to colour pictures from one's own photographs
  pixtape data make colorize photos --out pairs
  pixtape data split pairs --out data
  pixtape train --data data";

/// Make pairs out of photographs: A is derived from the photo, B is the photo
///
/// Each photograph is cut to the shape of --size around its middle, resized, and written as a side-by-side PNG (8-bit
/// RGB), so that the default direction, a-to-b, learns to restore it. Where the folder has train/, val/ and test/,
/// these are kept. Photographs smaller than --size are left out and named: an enlarged target would teach blur.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLE)]
pub struct MakeArgs {
    /// Picture to derive from the photo, as A.
    #[arg(value_enum)]
    pub kind: Kind,

    /// Folder of the photographs.
    #[arg(value_name = "FOLDER")]
    pub photos: PathBuf,

    /// Folder for the pairs, a new one.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Size of A and of B: a side such as 256, or WIDTHxHEIGHT.
    #[arg(long, default_value = "256")]
    pub size: Size,

    /// Factor by which the low resolution is smaller, for `upscale` [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub factor: Option<u32>,

    /// Seed of the holes of `inpaint`, which are drawn anew for each picture and are all that is random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl MakeArgs {
    pub fn request(self) -> Request {
        let MakeArgs { kind, photos, out, size, factor, seed } = self;
        Request { kind, photos, out, size, factor, seed }
    }
}
