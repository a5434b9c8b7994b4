//! Pairs of images, from a folder or drawn by the program, on their way to the network.
//!
//! A [`Pairs`] answers one question, "which picture is pair `index` of `epoch`", and answers it the same way every
//! time. Everything after it (order, crop, flip, batch) is a function of the seed and the position, so a run that
//! resumes at any step sees exactly the batches that an uninterrupted run would have seen.
//!
//! | module | contents |
//! |---|---|
//! | [`decoding`] | picture files, read and written: PNG, TIFF, JPEG, WebP, BMP |
//! | [`finding`] | the pictures of a folder, and the pairs among them |
//! | [`painting`] | the built-in facades |
//! | [`feeding`] | pairs become batches: sizes, draws, order, and a report on the data |

pub mod decoding;
pub mod feeding;
pub mod finding;
pub mod painting;
mod pairs;
mod size;

#[cfg(test)]
mod fixture;

pub use decoding::{
    CarriedTags, Decoded, Depth, FileFormat, HalfRows, LOOKED_FOR, Picture, PictureFile, RowBuffer, Rows, Shape,
    TiffWriter, Undecoded, picture_size, read_picture, turn, write_png,
};
pub use feeding::{
    Batch, CACHE_BYTES, Dataset, Draw, Draws, Fit, Folder, Loader, LoaderConfig, PairOptions, PictureStack, Pictures,
    Position, Preprocess, Report, ResizeFilter, Window, preparation,
};
pub use finding::{Layout, list};
pub use painting::{Facades, Split};
pub(crate) use pairs::Fnv;
pub use pairs::{Augment, Direction, Pair, Pairs};
pub use size::Size;
