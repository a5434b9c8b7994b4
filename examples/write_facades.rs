//! Writes built-in facades as side-by-side pairs, label map on the left, into `DIR/train` and `DIR/test`.
//!
//!     cargo run --release --example write_facades -- DIR --size 256 --train 8 --test 2

use std::path::PathBuf;

use clap::Parser;
use image::{RgbImage, imageops};
use pixtape::data::{Facades, Pairs, Size, Split, write_png};

#[derive(Parser)]
struct Options {
    dir: PathBuf,
    #[arg(long, default_value_t = 256)]
    size: usize,
    #[arg(long, default_value_t = 8)]
    train: usize,
    #[arg(long, default_value_t = 2)]
    test: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let size = Size::square(options.size);
    for (name, split, count) in [("train", Split::Train, options.train), ("test", Split::HeldOut, options.test)] {
        let folder = options.dir.join(name);
        std::fs::create_dir_all(&folder)?;
        let facades = Facades::new(options.seed, size, count, split)?;
        for index in 0..count {
            let pair = facades.pair(0, index)?;
            let mut sheet = RgbImage::new(2 * size.width as u32, size.height as u32);
            imageops::replace(&mut sheet, &pair.input.to_rgb8(), 0, 0);
            imageops::replace(&mut sheet, &pair.target.to_rgb8(), size.width as i64, 0);
            write_png(&folder.join(format!("{index:03}.png")), &sheet.into())?;
        }
    }
    Ok(())
}
