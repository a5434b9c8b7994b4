//! Helpers of every layer, which know none of them: files, memory, and text for the terminal.

pub mod bytes;
pub mod files;
pub mod memory;
pub mod progress;
pub mod words;
