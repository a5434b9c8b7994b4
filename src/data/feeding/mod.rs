//! Batches from pairs: reading, resizing, augmentation, order, and a report on the data.

pub mod augment;
pub mod dataset;
pub mod draws;
pub mod fit;
pub mod folder;
pub mod halves;
pub mod loader;
pub mod report;
pub mod resize;
mod seam;
mod values;

pub use augment::{PictureStack, Pictures, Window};
pub use dataset::Dataset;
pub use draws::{Draw, Draws, LoaderConfig, Position};
pub use fit::{Fit, Preprocess};
pub use folder::{CACHE_BYTES, Folder, PairOptions};
pub use loader::{Batch, Loader};
pub use report::{Report, preparation};
pub use resize::ResizeFilter;
