//! The program as its users run it: the real binary, on tiny networks and pictures.
//!
//! Every test works in a temporary folder of its own, which is also the program's current folder, so commands are
//! written here as they would be typed.

mod broken_driver;
mod compat;
mod corpus;
mod devices;
mod evaluate;
mod exchange;
mod export;
mod feed;
mod formats;
mod guide;
mod import;
mod inspect;
#[cfg(unix)]
mod interrupt;
mod layouts;
#[cfg(target_os = "linux")]
mod memory;
mod pairs;
mod prepare;
mod profile;
mod recipes;
mod refusals;
mod resume;
mod run_folder;
pub mod scene;
mod tables;
#[cfg(unix)]
mod targets;
mod tiff;
mod train;
mod translate;
mod translate_inputs;
mod validation;
