//! Decoding of picture files, and encoding.

pub mod file;
pub mod format;
mod jpeg;
pub(super) mod limit;
pub mod picture;
mod png;
mod raster;
pub mod rows;
mod tiff;

pub use file::{Decoded, LOOKED_FOR, PictureFile, Undecoded, picture_size, read_picture, turn, write_png};
pub use format::FileFormat;
pub use picture::{Depth, Picture};
pub use rows::{HalfRows, RowBuffer, Rows, Shape};
pub use tiff::{CarriedTags, TiffWriter};
