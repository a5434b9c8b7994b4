//! The pictures of a folder, and the pairs among them.

pub mod layout;
pub mod listing;

pub use layout::Layout;
pub use listing::list;
