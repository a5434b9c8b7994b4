//! What every layer may use and what knows none of them: files, memory, and text for the terminal.

pub mod bytes;
pub mod files;
pub mod memory;
pub mod progress;
pub mod words;
