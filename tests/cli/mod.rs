//! The program as its users run it: the real binary, on tiny networks and pictures.
//!
//! Every test works in a temporary folder of its own, which is also the program's current folder, so commands are written
//! here as they would be typed.

mod devices;
mod evaluate;
mod exchange;
mod export;
mod import;
mod inspect;
#[cfg(unix)]
mod interrupt;
mod pairs;
mod prepare;
mod recipes;
mod refusals;
mod resume;
pub mod scene;
mod train;
mod translate;
mod translate_inputs;
mod validation;
