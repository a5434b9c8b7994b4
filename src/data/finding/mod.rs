//! The pictures of a folder, and which of them are pairs.

pub mod layout;
pub mod listing;

pub use layout::Layout;
pub use listing::list;
